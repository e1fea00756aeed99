package io.brazier.tests.bench;

import io.brazier.cuda.CudaLibraries;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * What the CUDA kernels take of an H100, by NVIDIA's compiler, and what the ops of training ask of it. {@code bin/bench kernels
 * --write} writes docs/bench/kernels.md. Needs no GPU and times nothing.
 */
public final class KernelsBench {
    private KernelsBench() {}

    /** Prints the page; ends with status 1 when a kernel spills, or multiplies without tensor cores. */
    public static void main(String[] arguments) throws IOException {
        Flags flags = Flags.parse(arguments, "write");
        Path root = Path.of(System.getProperty("brazier.root"));
        List<KernelResources> kernels = compile(root);
        List<String> page = page(kernels);
        if (flags.has("write")) {
            Files.write(root.resolve("docs/bench/kernels.md"), page);
        }
        page.forEach(System.out::println);
        List<String> bad = kernels.stream()
                .filter(k -> k.spillBytes() > 0 || k.multiplies() && k.tensorInstructions() == 0)
                .map(KernelResources::name)
                .toList();
        if (!bad.isEmpty()) {
            System.err.println("These kernels spill registers or do not use tensor cores: " + bad);
            System.exit(1);
        }
    }

    /** With NVIDIA's compiler; what else the presets load comes from the simulated CUDA, as no driver is here. */
    private static List<KernelResources> compile(Path root) throws IOException {
        KernelResources.Tools tools = KernelResources.Tools.in(root);
        System.setProperty(
                CudaLibraries.PROPERTY,
                tools.compiler().getParent() + File.pathSeparator + root.resolve("tests/target/cudasim/lib"));
        System.setProperty(
                "org.bytedeco.javacpp.cachedir",
                root.resolve("tests/target/cudasim/javacpp").toString());
        return KernelResources.compileAll(root, tools);
    }

    private static List<String> page(List<KernelResources> kernels) {
        List<String> lines = new ArrayList<>(
                List.of(
                        "# What the CUDA kernels take, and what an H100 lets them reach",
                        "",
                        "`bin/bench kernels --write`: no GPU ran for this page. The first table is what NVIDIA's NVRTC and ptxas say of the code",
                        "that they make for an H100 (sm_90) from `native/cuda`, with the product's options; the others are counts."));
        lines.addAll(List.of("", "## Registers, shared memory, tensor cores", ""));
        lines.addAll(List.of(
                "Shared memory is static plus dynamic, the latter for heads as wide as the kernel was compiled for (128 for rotary).",
                "Blocks and warps are those that a multiprocessor holds at once (65,536 registers, 228 KiB, 64 warps). HMMA counts the",
                "instructions for tensor cores in the machine code. Products are cuBLASLt's, in bf16 with f32 sums: which instructions it",
                "takes is NVIDIA's choice and has not been seen here.",
                "",
                "| file | kernel | threads | registers | spilled bytes | stack | shared memory | blocks | warps | HMMA |",
                "|---|---|---|---|---|---|---|---|---|---|"));
        for (KernelResources k : kernels) {
            lines.add("| %s | %s | %d | %d | %d | %d | %d + %d | %d | %d | %d |"
                    .formatted(
                            k.file(),
                            k.name(),
                            k.threads(),
                            k.registers(),
                            k.spillBytes(),
                            k.stackBytes(),
                            k.staticShared(),
                            k.dynamicShared(),
                            k.blocks(),
                            k.warps(),
                            k.tensorInstructions()));
        }
        lines.addAll(KernelWork.tables(kernels));
        lines.addAll(List.of("", result(kernels)));
        return lines;
    }

    private static String result(List<KernelResources> kernels) {
        return String.format(
                Locale.ROOT,
                "RESULT kernels spills=%d maxRegisters=%d kernels=%d tensorCoreKernels=%d",
                kernels.stream().filter(k -> k.spillBytes() > 0).count(),
                kernels.stream().mapToInt(KernelResources::registers).max().orElseThrow(),
                kernels.size(),
                kernels.stream().filter(k -> k.tensorInstructions() > 0).count());
    }
}
