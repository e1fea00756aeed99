package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.Brazier;
import io.brazier.cuda.GpuAddresses;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** What processes with environments of their own find on the simulated machine, whole GPUs and MIG instances. */
class GpuDiscoveryTest {
    private static final String BUS = "00000000:0";

    private static String gpu(int index) {
        return "GPU-51a7ed0" + index + "-c0da-51b0-8000-00000000000" + index;
    }

    private static String instance(int number) {
        return "MIG-3163ed0" + number + "-c0da-51b0-8000-00000000000" + number;
    }

    /** Names and values in turn, beside the number of GPUs. */
    private static Map<String, String> machine(int numGpus, String... settings) {
        Map<String, String> environment = new TreeMap<>(Map.of("CUDASIM_DEVICES", "" + numGpus));
        for (int x = 0; x < settings.length; x += 2) {
            environment.put(settings[x], settings[x + 1]);
        }
        return environment;
    }

    private static List<String> probe(Map<String, String> environment, String... arguments)
            throws IOException, InterruptedException {
        GpuProcess process = GpuProcess.java(environment, GpuProbe.class, arguments);
        assertEquals(0, process.status(), process.err());
        return process.lines();
    }

    private static String announced(Map<String, String> environment) throws IOException, InterruptedException {
        GpuProcess process = GpuProcess.java(environment, GpuAddresses.class);
        assertEquals(0, process.status(), process.err());
        return process.out().strip();
    }

    private static String json(String... addresses) {
        return "{\"name\": \"gpu\", \"addresses\": [\"" + String.join("\", \"", addresses) + "\"]}";
    }

    @Test
    void nvmlTellsOfGpusAndLinks() throws Exception {
        List<String> lines = probe(machine(4, "CUDASIM_NVLINKS", "2"), "inventory");
        assertEquals("590.00.00 13010", lines.get(0));
        assertEquals(
                "Gpu[index=1, uuid=" + gpu(1) + ", name=Simulated H100 (brazier cudasim), memoryBytes=" + (2048L << 20)
                        + ", computeCapability=90, pciBusId=" + BUS
                        + "2:00.0, powerLimitWatts=700, mig=false,"
                        + " instances=[]]",
                lines.get(2));
        List<String> links = lines.subList(5, lines.size());
        assertEquals(6, links.size(), links.toString());
        assertEquals("Link[from=0, to=1, numNvLinks=2, path=on different NUMA nodes]", links.get(0));
        assertEquals("Link[from=0, to=2, numNvLinks=0, path=on different NUMA nodes]", links.get(1));
        assertTrue(links.contains("Link[from=2, to=3, numNvLinks=2, path=on different NUMA nodes]"), links.toString());
    }

    @Test
    void nvmlTellsOfInstancesAndSwitches() throws Exception {
        List<String> lines = probe(machine(2, "CUDASIM_MIG", "2"), "inventory");
        String part = "name=Simulated H100 (brazier cudasim) MIG 1g.1024mb, memoryBytes=" + (1024L << 20) + "]";
        assertTrue(
                lines.get(2)
                        .endsWith("mig=true, instances=[MigInstance[uuid=" + instance(2) + ", " + part
                                + ", MigInstance[uuid=" + instance(3) + ", " + part + "]]"),
                lines.get(2));
        assertEquals("Link[from=0, to=1, numNvLinks=18, path=on different NUMA nodes]", lines.get(3));
    }

    @Test
    void whatIsAnnounced() throws Exception {
        assertEquals(json(gpu(0), gpu(1), gpu(2)), announced(machine(3)));
        assertEquals(json(gpu(2), gpu(0)), announced(machine(3, "CUDA_VISIBLE_DEVICES", "2,GPU-51a7ed00")));
        Map<String, String> split = machine(2, "CUDASIM_MIG", "2");
        assertEquals(json(instance(0), instance(1), instance(2), instance(3)), announced(split));
        split.put("CUDA_VISIBLE_DEVICES", "1");
        assertEquals(json(instance(2), instance(3)), announced(split));
        split.put("CUDA_VISIBLE_DEVICES", instance(1));
        assertEquals(json(instance(1)), announced(split));
    }

    @Test
    void withoutGpusThereIsOneSentence() throws Exception {
        GpuProcess none = GpuProcess.java(machine(0), GpuAddresses.class);
        assertEquals(
                new GpuProcess(1, "", "gpu-discovery: an NVIDIA driver, but no GPU" + System.lineSeparator()), none);
        GpuProcess hidden = GpuProcess.java(machine(2, "CUDA_VISIBLE_DEVICES", ""), GpuAddresses.class);
        assertEquals(1, hidden.status());
        assertEquals(
                "gpu-discovery: CUDA_VISIBLE_DEVICES= leaves none of this machine's GPUs",
                hidden.err().strip());
    }

    /** Native libraries belong to the class loader that loaded them: Spark drops the one of its discovery, and tasks have another. */
    @Test
    void thePluginAnnouncesGpusAloneAndLeavesNoLibraryBehind() throws Exception {
        assertEquals(
                List.of("not mine", "gpu [" + gpu(0) + ", " + gpu(1) + "]", gpu(1) + " 1 of 2, 2048 MiB"),
                probe(machine(2), "announce", "fpga", "gpu"));
        GpuProcess none = GpuProcess.java(machine(0), GpuProbe.class, "announce", "gpu");
        assertEquals(1, none.status());
        assertTrue(none.err().contains("no GPU was found: gpu-discovery: an NVIDIA driver, but no GPU"), none.err());
    }

    @Test
    void anIndexIsTheMachinesWhateverTheProcessSees() throws Exception {
        List<String> lines = probe(machine(3, "CUDA_VISIBLE_DEVICES", "2,1"), "open", "1", gpu(2), "0", "7");
        assertEquals(gpu(1) + " 1 of 2, 2048 MiB", lines.get(0));
        assertEquals(gpu(2) + " 0 of 2, 2048 MiB", lines.get(1));
        assertTrue(
                lines.get(2)
                        .startsWith("refused: GPU 0 is none of those that this process sees with"
                                + " CUDA_VISIBLE_DEVICES=2,1: [GPU 0 (Simulated H100 (brazier cudasim), " + gpu(2)
                                + "), GPU 1"),
                lines.get(2));
        assertTrue(lines.get(3).startsWith("refused: GPU 7 does not exist: this machine has 3 GPUs"), lines.get(3));
    }

    @Test
    void anyInstanceCanBeOpenedButOneAlone() throws Exception {
        Map<String, String> split = machine(2, "CUDASIM_MIG", "2");
        List<String> lines = probe(split, "open", "0", "MIG-7", instance(3), instance(3), instance(0));
        assertEquals(
                "refused: GPU 0, " + gpu(0) + ", is in MIG mode, which gives it out in parts: name one of ["
                        + instance(0) + ", " + instance(1) + "]",
                lines.get(0));
        assertTrue(lines.get(1).startsWith("refused: GPU MIG-7 is none of those"), lines.get(1));
        assertEquals(instance(3) + " 0 of 1, 1024 MiB", lines.get(2));
        assertEquals(lines.get(2), lines.get(3));
        assertTrue(
                lines.get(4).startsWith("refused: GPU " + instance(0) + " is none of those")
                        && lines.get(4).endsWith("one MIG instance or whole GPUs, as it first used"),
                lines.get(4));
        split.put("CUDA_VISIBLE_DEVICES", instance(2) + "," + instance(3));
        lines = probe(split, "open", instance(0), instance(3));
        assertTrue(lines.get(0).contains("may use with CUDA_VISIBLE_DEVICES=" + instance(2)), lines.get(0));
        assertEquals(instance(3) + " 0 of 1, 1024 MiB", lines.get(1));
    }

    /** CUDA shows a process no whole GPU beside an instance. */
    @Test
    void wholeGpusCanBeOpenedOnAMachineWithInstances() throws Exception {
        Map<String, String> mixed = machine(3, "CUDASIM_MIG", "2:1");
        assertEquals(json(instance(0), instance(1), gpu(1), gpu(2)), announced(mixed));
        List<String> lines = probe(mixed, "open", gpu(2), "1", instance(0));
        assertEquals(gpu(2) + " 1 of 2, 2048 MiB", lines.get(0));
        assertEquals(gpu(1) + " 0 of 2, 2048 MiB", lines.get(1));
        assertTrue(lines.get(2).startsWith("refused: GPU " + instance(0) + " is none of those"), lines.get(2));
        assertEquals(List.of(instance(1) + " 0 of 1, 1024 MiB"), probe(mixed, "open", instance(1)));
    }

    private static String doctor(Map<String, String> environment) throws IOException, InterruptedException {
        return GpuProcess.java(environment, Brazier.class, "doctor").out();
    }

    @Test
    void doctorShowsWhatItFinds() throws Exception {
        String text = doctor(machine(2));
        for (String part : List.of(
                "ok    NVIDIA driver: 590.00.00, serves CUDA 13.1",
                "ok    gpu 1: Simulated H100 (brazier cudasim), " + gpu(1) + ", 2.0 GiB, compute capability 9.0, PCI "
                        + BUS + "2:00.0, limit 700 W",
                "ok    links: 18 NVLinks between all GPUs",
                "ok    libcuda.so.1: ",
                "ok    device: auto is CUDA here, one GPU for each rank")) {
            assertTrue(text.contains(part), part + " is not in " + text);
        }
        String versions = Arrays.stream(text.split("\n"))
                .filter(line -> line.matches("ok    lib(nvrtc|cublasLt|nccl)\\.so\\.\\d+: .*, \\d+\\.\\d+(\\.\\d+)?"))
                .reduce("", (one, other) -> one + other + "\n");
        assertEquals(3, versions.lines().count(), text);
    }

    @Test
    void doctorWarnsOfInstancesAndOfHiddenGpus() throws Exception {
        String text = doctor(machine(1, "CUDASIM_MIG", "2"));
        assertTrue(text.contains("MIG mode: " + instance(0) + " (Simulated H100"), text);
        assertTrue(text.contains("-> NCCL refuses two ranks on one GPU"), text);
        text = doctor(machine(1, "CUDA_VISIBLE_DEVICES", "4"));
        assertTrue(text.contains("warn  visible GPUs: CUDA_VISIBLE_DEVICES=4 leaves none"), text);
        assertTrue(text.contains("ok    device: auto is the CPU here: no GPU that this process may use"), text);
    }
}
