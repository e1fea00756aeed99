package io.brazier.spark.cli;

import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaException;
import io.brazier.cuda.CudaLibraries;
import io.brazier.cuda.CudaVersions;
import io.brazier.cuda.GpuInventory;
import io.brazier.cuda.GpuInventory.Gpu;
import io.brazier.cuda.GpuInventory.Link;
import io.brazier.cuda.Nvml;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** The GPUs of the machine, NVIDIA's libraries, and what device=auto makes of them. */
final class GpuCheck {
    private static final double GIB = 1L << 30;
    private static final String DRIVER = "NVIDIA's driver, 580 or later";

    /** Packages that bring a library, of NVIDIA's apt repository and of PyPI. */
    private static final Map<String, String> SOURCES = Map.of(
            "libcuda.so.1", DRIVER,
            "libnvidia-ml.so.1", DRIVER + "; in a container NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            "libcudart.so.13", "cuda-cudart-13-1, or nvidia-cuda-runtime of PyPI",
            "libnvrtc.so.13", "cuda-nvrtc-13-1, or nvidia-cuda-nvrtc of PyPI",
            "libcublasLt.so.13", "libcublas-13-1, or nvidia-cublas of PyPI",
            "libcublas.so.13", "libcublas-13-1, or nvidia-cublas of PyPI",
            "libnccl.so.2", "libnccl2, or nvidia-nccl-cu13 of PyPI");

    private final List<Finding> findings = new ArrayList<>();
    private final Map<String, String> environment;

    private GpuCheck(Map<String, String> environment) {
        this.environment = environment;
    }

    /** On a machine without a driver one sentence, which is all well. */
    static List<Finding> run() {
        GpuCheck check = new GpuCheck(System.getenv());
        Optional<String> unusable =
                CudaLibraries.found().containsKey("libcuda.so.1") ? check.present() : check.absent();
        check.findings.add(unusable.map(reason -> Finding.ok("device", "auto is the CPU here: " + reason))
                .orElseGet(() -> Finding.ok("device", "auto is CUDA here, one GPU for each rank")));
        return check.findings;
    }

    /** What an inventory says, for a process of the given environment. */
    static List<Finding> of(GpuInventory inventory, Map<String, String> environment) {
        GpuCheck check = new GpuCheck(environment);
        check.inventory(inventory);
        return check.findings;
    }

    private Optional<String> absent() {
        Optional<String> reason = CudaLibraries.unavailable();
        if (Files.exists(Path.of("/dev/nvidia0"))) {
            findings.add(Finding.warn(
                    "gpu",
                    "/dev/nvidia0 is there, but " + reason.orElseThrow(),
                    "give the container the driver's libraries (NVIDIA's container toolkit), or name their folder in -D"
                            + CudaLibraries.PROPERTY));
        }
        return reason;
    }

    private Optional<String> present() {
        Optional<String> unusable = machine();
        return libraries().or(() -> unusable);
    }

    /** Driver, GPUs and links; says why none of them is of use, if so. */
    private Optional<String> machine() {
        Optional<String> unavailable = Nvml.unavailable();
        if (unavailable.isPresent()) {
            findings.add(Finding.warn("gpu", unavailable.get(), "without it discovery finds no GPU"));
            return unavailable;
        }
        try {
            return inventory(Nvml.inventory());
        } catch (CudaException e) {
            findings.add(Finding.warn("gpu", e.getMessage(), "see what nvidia-smi says"));
            return Optional.of(e.getMessage());
        }
    }

    private Optional<String> inventory(GpuInventory inventory) {
        String cuda = CudaVersions.cuda(inventory.cudaVersion());
        boolean recent = inventory.cudaVersion() >= CudaDevice.LEAST_CUDA;
        String least = CudaVersions.cuda(CudaDevice.LEAST_CUDA);
        String driver = inventory.driverVersion() + ", serves CUDA " + cuda;
        findings.add(
                recent
                        ? Finding.ok("NVIDIA driver", driver)
                        : Finding.warn(
                                "NVIDIA driver", driver, "CUDA " + least + " is needed: install driver 580 or later"));
        inventory.gpus().forEach(this::gpu);
        links(inventory);
        Optional<String> none = visible(inventory);
        if (none.isPresent()) {
            return none;
        }
        if (!recent) {
            return Optional.of("the driver serves CUDA " + cuda + ", not " + least);
        }
        boolean capable = inventory.gpus().stream().anyMatch(GpuCheck::capable);
        return capable ? Optional.empty() : Optional.of("no GPU has compute capability " + least());
    }

    private void gpu(Gpu gpu) {
        String subject = "gpu " + gpu.index();
        String text = String.format(
                Locale.ROOT,
                "%s, %s, %.1f GiB, compute capability %.1f, PCI %s",
                gpu.name(),
                gpu.uuid(),
                gpu.memoryBytes() / GIB,
                gpu.computeCapability() / 10.0,
                gpu.pciBusId());
        if (gpu.powerLimitWatts() > 0) {
            text += ", limit " + gpu.powerLimitWatts() + " W";
        }
        if (!capable(gpu)) {
            findings.add(Finding.warn(
                    subject,
                    text,
                    "compute capability " + least() + " is needed: kernels use its tensor cores on bf16"));
        } else if (!gpu.mig()) {
            findings.add(Finding.ok(subject, text));
        } else if (gpu.instances().isEmpty()) {
            findings.add(Finding.warn(
                    subject,
                    text + ", MIG mode without instances",
                    "make instances with nvidia-smi mig -cgi PROFILE -C, or leave the mode with nvidia-smi -mig 0"));
        } else {
            mig(gpu, subject, text);
        }
    }

    private void mig(Gpu gpu, String subject, String text) {
        String instances = gpu.instances().stream()
                .map(part -> String.format(
                        Locale.ROOT, "%s (%s, %.1f GiB)", part.uuid(), part.name(), part.memoryBytes() / GIB))
                .collect(Collectors.joining(", "));
        text += ", MIG mode: " + instances;
        findings.add(
                gpu.instances().size() == 1
                        ? Finding.ok(subject, text)
                        : Finding.warn(
                                subject,
                                text,
                                "NCCL refuses two ranks on one GPU: let one training take one instance of it, or leave the"
                                        + " mode with nvidia-smi -mig 0"));
    }

    /** One finding for each way in which GPUs are joined. */
    private void links(GpuInventory inventory) {
        Map<String, List<Link>> alike = inventory.links().stream()
                .collect(Collectors.groupingBy(
                        link -> link.numNvLinks() > 0
                                ? link.numNvLinks() + " NVLinks"
                                : "no NVLink (" + link.path() + ")",
                        LinkedHashMap::new,
                        Collectors.toList()));
        alike.forEach((how, links) -> {
            String pairs = links.size() == inventory.links().size()
                    ? "between all GPUs"
                    : "between GPUs "
                            + links.stream()
                                    .map(link -> link.from() + " and " + link.to())
                                    .collect(Collectors.joining(", "));
            findings.add(
                    links.get(0).numNvLinks() > 0
                            ? Finding.ok("links", how + " " + pairs)
                            : Finding.warn(
                                    "links",
                                    how + " " + pairs,
                                    "tensor parallelism over PCI is slow: let data or pipeline parallelism cross there"));
        });
    }

    /** Why this environment leaves no GPU, if it does. */
    private Optional<String> visible(GpuInventory inventory) {
        String visible = GpuInventory.VISIBLE + "=" + environment.get(GpuInventory.VISIBLE);
        try {
            List<String> addresses = inventory.addresses(environment);
            if (environment.containsKey(GpuInventory.VISIBLE)) {
                findings.add(
                        addresses.isEmpty()
                                ? Finding.warn(
                                        "visible GPUs", visible + " leaves none", "unset it, or name GPUs by UUID")
                                : Finding.ok("visible GPUs", visible + " leaves " + addresses));
            }
            return addresses.isEmpty() ? Optional.of("no GPU that this process may use") : Optional.empty();
        } catch (IllegalArgumentException e) {
            findings.add(Finding.warn("visible GPUs", e.getMessage(), "discovery announces none until then"));
            return Optional.of(e.getMessage());
        }
    }

    /** Where each library is and which it is, or where to get it; says why training cannot load them, if so. */
    private Optional<String> libraries() {
        for (String soname : CudaLibraries.TRAINING) {
            Path path = CudaLibraries.found().get(soname);
            findings.add(
                    path == null
                            ? Finding.warn(
                                    soname,
                                    "not found",
                                    "install " + SOURCES.get(soname) + ", or name its folder in -D"
                                            + CudaLibraries.PROPERTY)
                            : Finding.ok(
                                    soname,
                                    path
                                            + CudaVersions.of(soname)
                                                    .map(text -> ", " + text)
                                                    .orElse("")));
        }
        return CudaLibraries.unavailable();
    }

    private static boolean capable(Gpu gpu) {
        return gpu.computeCapability() >= CudaDevice.LEAST_CAPABILITY;
    }

    private static String least() {
        return String.format(Locale.ROOT, "%.1f", CudaDevice.LEAST_CAPABILITY / 10.0);
    }
}
