package io.brazier.tests.bench;

import io.brazier.cuda.AttentionTiles;
import io.brazier.cuda.KernelCache;
import io.brazier.cuda.KernelCompiler;
import io.brazier.cuda.KernelCompiler.Compiled;
import io.brazier.program.Attention.Heads;
import io.brazier.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What a kernel takes of an H100 (sm_90), as NVIDIA's compiler reports it.
 *
 * @param registers of a thread
 * @param spillBytes that a thread stores and loads because its registers do not suffice
 * @param stackBytes of local memory of a thread
 * @param staticShared bytes of shared memory of a block that the kernel declares
 * @param threads most threads of a block
 * @param tensorInstructions HMMA, products on tensor cores, in the machine code
 */
record KernelResources(
        String file,
        String name,
        int registers,
        int spillBytes,
        int stackBytes,
        int staticShared,
        int threads,
        int tensorInstructions) {

    /** Of a multiprocessor with compute capability 9.0 (CUDA C++ Programming Guide, "Compute Capabilities"). */
    private static final int REGISTERS = 64 << 10;

    private static final int SHARED_BYTES = 228 << 10;
    private static final int WARPS = 64;
    private static final int BLOCKS = 32;

    /** A warp's registers come in pieces of 256, warps in fours, and the system takes 1 KiB of shared memory a block. */
    private static final int REGISTER_PIECE = 256;

    private static final int WARP_PIECE = 4;
    private static final int SYSTEM_SHARED = 1 << 10;

    private static final int CAPABILITY = 90;
    private static final Pattern ENTRY = Pattern.compile("Compiling entry function '(\\w+)'");
    private static final Pattern MEMORY =
            Pattern.compile("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
    private static final Pattern REGISTERS_USED = Pattern.compile("Used (\\d+) registers");
    private static final Pattern SHARED_USED = Pattern.compile("(\\d+) bytes smem");
    private static final Pattern SECTION = Pattern.compile("\\s*\\.section\\s+\\.(text|nv\\.info)\\.(\\w+),.*");
    private static final Pattern WORD = Pattern.compile(".*\\.word\\s+0x([0-9a-f]+).*");
    private static final Pattern ATTENTION = Pattern.compile("attention_(dq_|dkv_|)(\\d+)_(f32|bf16)");

    /** Where NVIDIA's compiler and disassembler are, which the commands in bin fetch. */
    record Tools(Path compiler, Path disassembler) {
        static Tools in(Path root) throws IOException {
            Path folder = root.resolve("target/cuda-tools");
            return new Tools(find(folder, "libnvrtc.so.13"), find(folder, "nvdisasm"));
        }

        private static Path find(Path folder, String name) throws IOException {
            if (Files.isDirectory(folder)) {
                try (Stream<Path> found = Files.find(
                        folder, 8, (path, a) -> path.getFileName().toString().equals(name))) {
                    var first = found.filter(Files::isRegularFile).findFirst();
                    if (first.isPresent()) {
                        return first.get();
                    }
                }
            }
            throw new IllegalStateException(
                    "NVIDIA's " + name + " is not in " + folder + ": run bin/bench kernels once, which fetches it");
        }
    }

    /** Compiles every kernel of native/cuda as the product does, afresh, in the order of their files. */
    static List<KernelResources> compileAll(Path root, Tools tools) throws IOException {
        KernelCompiler compiler =
                new KernelCompiler(CAPABILITY, new KernelCache(root.resolve("tests/target/cudasim/kernels")));
        List<Path> files;
        try (Stream<Path> listed = Files.list(root.resolve("native/cuda"))) {
            files = listed.filter(path -> path.toString().endsWith(".cu"))
                    .sorted()
                    .toList();
        }
        return files.parallelStream()
                .flatMap(path -> {
                    String file = path.getFileName().toString();
                    return read(file, compiler.compileVerbosely(file), tools).stream();
                })
                .toList();
    }

    private static List<KernelResources> read(String file, Compiled compiled, Tools tools) {
        Map<String, Integer> threads = new HashMap<>();
        Map<String, Integer> tensor = new HashMap<>();
        readCode(disassemble(compiled.code(), tools), threads, tensor);
        List<KernelResources> kernels = new ArrayList<>();
        String name = null;
        int spills = 0;
        int stack = 0;
        for (String line : compiled.log().lines().toList()) {
            Matcher entry = ENTRY.matcher(line);
            Matcher memory = MEMORY.matcher(line);
            Matcher registers = REGISTERS_USED.matcher(line);
            if (entry.find()) {
                name = entry.group(1);
                spills = 0;
                stack = 0;
            } else if (memory.find()) {
                stack += number(memory, 1);
                spills += number(memory, 2) + number(memory, 3);
            } else if (registers.find()) {
                Matcher shared = SHARED_USED.matcher(line);
                int bytes = shared.find() ? number(shared, 1) : 0;
                int used = number(registers, 1);
                kernels.add(new KernelResources(
                        file, name, used, spills, stack, bytes, threads.get(name), tensor.getOrDefault(name, 0)));
            }
        }
        if (kernels.size() != threads.size()) {
            throw new AssertionError(file + ": the compiler reports " + kernels.size() + " kernels, its code has "
                    + threads.size() + "\n" + compiled.log());
        }
        java.util.Collections.reverse(kernels); // reported from the last in the file to the first
        return kernels;
    }

    private static int number(Matcher matcher, int group) {
        return Integer.parseInt(matcher.group(group));
    }

    /** Launch bounds and products on tensor cores by kernel. */
    private static void readCode(Stream<String> lines, Map<String, Integer> threads, Map<String, Integer> tensor) {
        String kernel = null;
        boolean bounds = false;
        for (String line : (Iterable<String>) lines::iterator) {
            Matcher section = SECTION.matcher(line);
            Matcher word = WORD.matcher(line);
            if (section.matches()) {
                kernel = section.group(2);
            } else if (line.contains("EIATTR_MAX_THREADS")) {
                bounds = true;
            } else if (bounds && word.matches()) {
                threads.put(kernel, Integer.parseInt(word.group(1), 16));
                bounds = false;
            } else if (line.contains(" HMMA.")) {
                tensor.merge(kernel, 1, Integer::sum);
            }
        }
    }

    private static Stream<String> disassemble(byte[] code, Tools tools) {
        try {
            Path file = Files.createTempFile("brazier", ".cubin");
            try {
                Files.write(file, code);
                Process process = new ProcessBuilder(tools.disassembler().toString(), file.toString())
                        .redirectErrorStream(true)
                        .start();
                String text =
                        new String(process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
                if (process.waitFor() != 0) {
                    throw new IOException(
                            "nvdisasm failed: " + text.lines().limit(3).toList());
                }
                return text.lines();
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Bytes of shared memory that a launch adds, for heads as wide as the kernel was compiled for. */
    int dynamicShared() {
        if (name.startsWith("rotary")) {
            return 4 * 128;
        }
        Matcher attention = ATTENTION.matcher(name);
        if (!attention.matches()) {
            return 0;
        }
        DType type = attention.group(3).equals("f32") ? DType.F32 : DType.BF16;
        Heads heads = new Heads(1, 1, number(attention, 2), 1);
        return switch (attention.group(1)) {
            case "dq_" -> AttentionTiles.queryGradient(type, heads).sharedBytes();
            case "dkv_" -> AttentionTiles.keyGradients(type, heads).sharedBytes();
            default -> AttentionTiles.forward(type, heads).sharedBytes();
        };
    }

    /** Blocks of the largest size that a multiprocessor holds at once. */
    int blocks() {
        int warpsOfBlock = (threads + 31) / 32;
        int registersOfWarp = (32 * registers + REGISTER_PIECE - 1) / REGISTER_PIECE * REGISTER_PIECE;
        int byRegisters = REGISTERS / registersOfWarp / WARP_PIECE * WARP_PIECE / warpsOfBlock;
        int byShared = SHARED_BYTES / (staticShared + dynamicShared() + SYSTEM_SHARED);
        return Math.min(Math.min(byRegisters, byShared), Math.min(WARPS / warpsOfBlock, BLOCKS));
    }

    int warps() {
        return blocks() * ((threads + 31) / 32);
    }

    /** Whether the kernel multiplies matrices in bf16. */
    boolean multiplies() {
        return name.startsWith("attention_") && name.endsWith("_bf16");
    }
}
