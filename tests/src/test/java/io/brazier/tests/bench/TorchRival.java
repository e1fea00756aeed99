package io.brazier.tests.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * PyTorch on the same case, at its best: tests/bench/torch_training.py and torch_layouts.py, with a tuned allocator and AVX-512 kernels whoever made the
 * processor, in an environment of its own under target/.
 */
final class TorchRival {
    private final Path root;
    private final Path python;

    private TorchRival(Path root, Path python) {
        this.root = root;
        this.python = python;
    }

    /** Installs PyTorch by name when that has not been done yet. */
    static TorchRival install() throws IOException, InterruptedException {
        Path root = Path.of(System.getProperty("brazier.root", "."));
        Path environment = root.resolve("target/torch-venv");
        Path python = environment.resolve("bin/python");
        Path done = environment.resolve("installed");
        if (!Files.exists(done)) {
            System.err.println("Installing torch and numpy into " + environment);
            run(600, List.of("python3", "-m", "venv", environment.toString()));
            run(1800, List.of(python.toString(), "-m", "pip", "install", "--quiet", "torch==2.13.0", "numpy"));
            Files.createFile(done);
        }
        return new TorchRival(root, python);
    }

    /** Tokens per second of the median step; numProcesses above 1 train data-parallel. */
    double tokensPerSecond(BenchCase bench, int numThreads, int numProcesses, int numSteps)
            throws IOException, InterruptedException {
        return tokensPerSecond(
                "torch_training.py",
                bench,
                numSteps,
                List.of("--threads", "" + numThreads, "--ddp", "" + numProcesses, "--mkl-avx512"));
    }

    /** The same of two processes of one thread that share one batch: dp2, tp2, pp2 or zero3. */
    double tokensPerSecond(BenchCase bench, String layout, int numSteps) throws IOException, InterruptedException {
        return tokensPerSecond("torch_layouts.py", bench, numSteps, List.of("--layout", layout));
    }

    private double tokensPerSecond(String script, BenchCase bench, int numSteps, List<String> flags)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                python.toString(),
                root.resolve("tests/bench").resolve(script).toString(),
                "--shape",
                bench.name(),
                "--steps",
                "" + numSteps));
        command.addAll(flags);
        String line = run(900, command);
        Matcher value = Pattern.compile("\"tokensPerSecond\": *([0-9.eE+]+)").matcher(line);
        if (!value.find()) {
            throw new IOException(script + " printed no tokensPerSecond: " + line);
        }
        return Double.parseDouble(value.group(1));
    }

    private static String run(int seconds, List<String> command) throws IOException, InterruptedException {
        Path output = Files.createTempFile("brazier-torch", ".out");
        try {
            Process process = new ProcessBuilder(command)
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .redirectOutput(output.toFile())
                    .start();
            boolean ended = process.waitFor(seconds, TimeUnit.SECONDS);
            if (!ended) {
                process.destroyForcibly();
            }
            if (!ended || process.exitValue() != 0) {
                throw new IOException(String.join(" ", command) + (ended ? " failed" : " took over " + seconds + " s"));
            }
            return Files.readString(output, StandardCharsets.UTF_8);
        } finally {
            Files.delete(output);
        }
    }
}
