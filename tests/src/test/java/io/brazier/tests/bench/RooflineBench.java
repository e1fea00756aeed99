package io.brazier.tests.bench;

import static org.bytedeco.cuda.global.cublas.cublasLtGetVersion;
import static org.bytedeco.cuda.global.nccl.ncclGetVersion;
import static org.bytedeco.cuda.global.nvml.nvmlInit_v2;
import static org.bytedeco.cuda.global.nvml.nvmlShutdown;
import static org.bytedeco.cuda.global.nvml.nvmlSystemGetDriverVersion;
import static org.bytedeco.cuda.global.nvrtc.nvrtcVersion;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cuda.CudaBackend;
import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaEngines;
import io.brazier.cuda.CudaException;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.program.Instruction;
import io.brazier.sim.Hardware;
import io.brazier.sim.OpCost;
import io.brazier.tensor.DType;
import io.brazier.tests.bench.OpTimer.Effort;
import io.brazier.tests.bench.RooflineCase.Kernel;
import io.brazier.tests.cuda.TestGpu;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * Every kernel of a training step on a GPU beside the bound that the clock gives for it, and the step as a whole. {@code bin/bench
 * roofline [--case all|gpt2|llama3|tiny] [--hardware h100] [--simulated] [--tests DIRECTORY] [--report FILE]}; the Maven profile gpu runs it
 * behind the tests, whose results the report then begins with.
 */
public final class RooflineBench {
    private static final int STEPS = 20;
    private static final String ALL = "all";

    private final Hardware hardware;
    private final OpCost cost;
    private final CudaDevice device;
    private final List<String> lines;
    private final boolean simulated;
    private double boundSeconds;
    private double seconds;
    private double worst = Double.POSITIVE_INFINITY;
    private String worstKernel = "none";
    private int numKernels;
    private int numFailed;
    private String step = "";

    private RooflineBench(Hardware hardware, CudaDevice device, List<String> lines) {
        this.hardware = hardware;
        this.cost = new OpCost(hardware, 1);
        this.device = device;
        this.lines = lines;
        this.simulated = device.name().startsWith("Simulated");
    }

    public static void main(String[] arguments) throws IOException {
        Flags flags = Flags.parse(arguments, "case", "hardware", "simulated", "tests", "report");
        if (flags.has("simulated")) {
            TestGpu.simulate();
        }
        List<String> lines = new ArrayList<>(List.of("# Brazier on a GPU", ""));
        int failed = 0;
        try {
            if (flags.has("tests")) {
                failed = SuiteResults.read(Path.of(flags.text("tests", "")), lines);
            }
            failed += report(flags.text("case", ALL), flags.text("hardware", "h100"), lines);
        } finally {
            lines.forEach(System.out::println);
            if (flags.has("report")) {
                Files.write(Path.of(flags.text("report", "")), lines);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    /**
     * Adds the timings to a report, as far as they get.
     *
     * @param name of the cases, or all of those of a real GPU
     * @return kernels that failed
     */
    static int report(String name, String hardware, List<String> lines) {
        TestGpu.load();
        try (CudaDevice device = CudaDevice.open(0)) {
            RooflineBench bench = new RooflineBench(Hardware.named(hardware), device, lines);
            bench.head();
            List<RooflineCase> cases = RooflineCase.ALL.stream()
                    .filter(c -> name.equals(ALL)
                            ? !c.name().equals("tiny")
                            : c.name().equals(name))
                    .toList();
            if (cases.isEmpty()) {
                throw new IllegalArgumentException("--case " + name + ": name all, gpt2, llama3 or tiny");
            }
            cases.forEach(bench::kernels);
            BenchCase whole = name.equals("tiny") ? RooflineCase.TINY_STEP : RooflineCase.GPT2_STEP;
            if (name.equals(ALL) || name.equals(whole.name())) {
                bench.step(whole);
            }
            bench.result();
            return bench.numFailed;
        }
    }

    private void head() {
        if (simulated) {
            add("**simulated: times mean nothing.** The kernels ran on a processor.");
            add("");
        }
        int[] nccl = new int[1];
        ncclGetVersion(nccl);
        int[] major = new int[1];
        int[] minor = new int[1];
        nvrtcVersion(major, minor);
        add(
                "- device: %s, %,d MiB, compute capability %.1f, driver %s (CUDA %s)",
                device,
                device.totalBytes() >> 20,
                device.computeCapability() / 10.0,
                driver(),
                version(CudaDevice.driverVersion(), 1000, 10));
        add(
                "- libraries: NVRTC %d.%d, cuBLASLt %s, NCCL %s; Java %s",
                major[0],
                minor[0],
                version((int) cublasLtGetVersion(), 10_000, 100),
                version(nccl[0], 10_000, 100),
                System.getProperty("java.version"));
        add("- date: %s", LocalDate.now());
        add(
                "- bounds: those of `io.brazier.sim.OpCost` for %s: FLOPs at the peak of their kind, bytes at the memory's bandwidth. The"
                        + " clock is what the simulator takes.",
                hardware.name());
        add(
                "- times: device time between two events around a graph of many runs; operands are noise, and out of the cache.");
    }

    private static String version(int number, int major, int minor) {
        return number / major + "." + number % major / minor;
    }

    private static String driver() {
        byte[] text = new byte[96];
        if (nvmlInit_v2() != 0) {
            return "unknown";
        }
        nvmlSystemGetDriverVersion(text, text.length);
        nvmlShutdown();
        return new String(text, StandardCharsets.UTF_8).trim();
    }

    private void kernels(RooflineCase c) {
        add("");
        add("## Kernels of %s, bf16", c.title());
        add("");
        add(
                "| kernel | operands | first module | runs in a step | us | bound, us | of bound | the clock, us | GB/s | TFLOP/s |");
        add("|---|---|---|---|---|---|---|---|---|---|");
        Effort effort = simulated ? Effort.LEAST : Effort.FULL;
        try (CudaBackend backend = new CudaBackend(device, Mode.EAGER);
                OpTimer timer = new OpTimer(backend, effort)) {
            double kernels = 0;
            for (Kernel kernel : c.kernels()) {
                kernels += kernel.runs() * row(kernel, timer);
            }
            add("");
            add("Together %.3f ms of a step, exchanges left out.", 1e3 * kernels);
        }
    }

    /** Seconds of one run. */
    private double row(Kernel kernel, OpTimer timer) {
        Instruction i = kernel.instruction();
        double bound = cost.bound(i).seconds();
        double clock = cost.seconds(i);
        if (clock == 0) {
            return 0;
        }
        String operands = i.inputTypes().stream()
                .map(t -> t.dtype().toString() + t.shape())
                .collect(Collectors.joining(" "));
        String start = "| " + i.op().mnemonic() + " | " + operands + " | " + i.path() + " | " + kernel.runs() + " | ";
        try {
            double time = timer.seconds(i, clock);
            add(
                    "%s%.2f | %.2f | %.0f %% | %.2f | %.0f | %.1f |",
                    start,
                    1e6 * time,
                    1e6 * bound,
                    100 * bound / time,
                    1e6 * clock,
                    i.bytes() / time / 1e9,
                    i.flops() / time / 1e12);
            numKernels++;
            seconds += kernel.runs() * time;
            boundSeconds += kernel.runs() * bound;
            if (bound / time < worst) {
                worst = bound / time;
                worstKernel = i.op().mnemonic();
            }
            return time;
        } catch (CudaException e) {
            numFailed++;
            add("%sfailed: %s | | | | | |", start, e.getMessage());
            if (e.sticky()) {
                throw e;
            }
            return 0;
        }
    }

    private void step(BenchCase bench) {
        Communicator alone = CpuCommunicators.local(1, Duration.ofMinutes(5)).get(0);
        StepTimer.Timing timing;
        try (alone;
                TrainingEngine engine = CudaEngines.training(
                        bench.spec(RooflineCase.layout(1), bench.batchSize(), 1),
                        alone,
                        device,
                        Mode.GRAPH,
                        bench.weights(),
                        Fill.ZERO)) {
            timing = StepTimer.time(engine, bench, simulated ? 1 : STEPS, 1);
        }
        double tokensPerSecond = bench.tokens() / timing.seconds();
        double flops = tokensPerSecond * bench.model().trainingFlopsPerToken(bench.sequenceLength());
        double utilization = flops / hardware.peakFlopsPerSecond().get(DType.BF16);
        add("");
        add("## A training step of %s, bf16", bench.title());
        add("");
        add("| ms | tokens/s | TFLOP/s | MFU |");
        add("|---|---|---|---|");
        add(
                "| %.3f | %,.0f | %.1f | %.1f %% |",
                1e3 * timing.seconds(), tokensPerSecond, flops / 1e12, 100 * utilization);
        step = String.format(Locale.ROOT, " tokensPerSecond=%.0f mfu=%.3f", tokensPerSecond, utilization);
    }

    private void result() {
        add("");
        add(
                "RESULT roofline%s kernels=%d failed=%d fractionOfBound=%.3f worst=%.3f worstKernel=%s%s",
                simulated ? " simulated" : "", numKernels, numFailed, boundSeconds / seconds, worst, worstKernel, step);
    }

    private void add(String format, Object... values) {
        lines.add(values.length == 0 ? format : String.format(Locale.ROOT, format, values));
    }
}
