package io.brazier.spark.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.cuda.GpuInventory;
import io.brazier.cuda.GpuInventory.Gpu;
import io.brazier.cuda.GpuInventory.Link;
import io.brazier.cuda.GpuInventory.MigInstance;
import io.brazier.cuda.GpuInventory.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class GpuCheckTest {
    private static final int CUDA_13 = 13_000;

    private static Gpu gpu(int index, int capability) {
        return new Gpu(index, "GPU-" + index, "a GPU", 80L << 30, capability, "0:" + index, 0, false, List.of());
    }

    private static Gpu split(int index, String... uuids) {
        List<MigInstance> instances = Stream.of(uuids)
                .map(uuid -> new MigInstance(uuid, "a part", 40L << 30))
                .toList();
        return new Gpu(index, "GPU-" + index, "a GPU", 80L << 30, 90, "0:" + index, 0, true, instances);
    }

    private static List<String> found(int cudaVersion, List<Gpu> gpus, Link... links) {
        GpuInventory inventory = new GpuInventory("590", cudaVersion, gpus, List.of(links));
        return GpuCheck.of(inventory, Map.of()).stream()
                .map(finding -> finding.level() + " " + finding.subject())
                .toList();
    }

    private static Link link(int from, int to, int numNvLinks) {
        return new Link(from, to, numNvLinks, Path.SYSTEM);
    }

    @Test
    void goodGpusThatAreAllLinkedAlike() {
        assertEquals(
                List.of("OK NVIDIA driver", "OK gpu 0", "OK gpu 1", "OK gpu 2", "OK links"),
                found(
                        CUDA_13,
                        List.of(gpu(0, 80), gpu(1, 90), gpu(2, 100)),
                        link(0, 1, 18),
                        link(0, 2, 18),
                        link(1, 2, 18)));
    }

    @Test
    void oldDriversAndOldGpusAreWarnedOf() {
        assertEquals(List.of("WARN NVIDIA driver", "WARN gpu 0"), found(12_090, List.of(gpu(0, 75))));
    }

    @Test
    void pairsWithoutNvLinkAreNamedTogether() {
        List<Gpu> gpus = List.of(gpu(0, 90), gpu(1, 90), gpu(2, 90));
        List<Link> links = List.of(link(0, 1, 4), link(0, 2, 0), link(1, 2, 0));
        List<Finding> findings = GpuCheck.of(new GpuInventory("590", CUDA_13, gpus, links), Map.of());
        assertEquals(6, findings.size());
        assertEquals(Finding.ok("links", "4 NVLinks between GPUs 0 and 1"), findings.get(4));
        assertEquals(Finding.Level.WARN, findings.get(5).level());
        assertEquals(
                "no NVLink (on different NUMA nodes) between GPUs 0 and 2, 1 and 2",
                findings.get(5).text());
    }

    @Test
    void aGpuInMigModeIsGoodWithOneInstance() {
        assertEquals(
                List.of("OK NVIDIA driver", "OK gpu 0", "WARN gpu 1", "WARN gpu 2"),
                found(CUDA_13, List.of(split(0, "MIG-a"), split(1, "MIG-b", "MIG-c"), split(2))));
    }

    @Test
    void whatTheEnvironmentLeaves() {
        GpuInventory inventory = new GpuInventory("590", CUDA_13, List.of(gpu(0, 90), gpu(1, 90)), List.of());
        List<Finding> findings = GpuCheck.of(inventory, Map.of(GpuInventory.VISIBLE, "1"));
        assertEquals(
                Finding.ok("visible GPUs", "CUDA_VISIBLE_DEVICES=1 leaves [GPU-1]"), findings.get(findings.size() - 1));
    }
}
