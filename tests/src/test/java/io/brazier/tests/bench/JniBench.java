package io.brazier.tests.bench;

import static org.bytedeco.cuda.global.cudart.cuCtxGetCurrent;
import static org.bytedeco.cuda.global.cudart.cuDriverGetVersion;
import static org.bytedeco.cuda.global.cudart.cuLaunchKernel;

import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.plan.Layout;
import io.brazier.tests.cuda.Crossings;
import io.brazier.tests.cuda.Cudasim;
import io.brazier.tests.cuda.TestGpu;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.bytedeco.cuda.cudart.CUctx_st;
import org.bytedeco.cuda.cudart.CUfunc_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * What it costs to reach CUDA from Java: calls that cross in a training step, counted by the simulated CUDA, and nanoseconds of a
 * crossing. {@code bin/bench jni}.
 */
public final class JniBench {
    private static final int ROUNDS = 9;
    private static final int RUNS = 200_000;
    private static final int NUM_ARGUMENTS = 6;

    /** Layers, ranks. */
    private static final int[][] MODELS = {{2, 1}, {4, 1}, {2, 2}};

    private JniBench() {}

    public static void main(String[] arguments) {
        Flags.parse(arguments);
        TestGpu.simulate();
        print(
                """
                # What it costs to reach CUDA from Java

                `bin/bench jni`. Calls are counted, and times taken, on the simulated CUDA of the tests: the presets and their JNI code are
                the product's, the bodies of the functions are not. Java %s, one of %d virtual cores.

                ## Calls of one rank in a training step

                GPT of width 64, 2 micro-batches, behind the steps in which graphs are captured. The rest are the copies of tokens,
                targets, seeds, scalars and losses: for each a wait for its slot, the copy, and an event or a wait. Not counted are a look
                at NCCL's errors ten times a second, by a thread of its own, and a native method of JavaCPP for the buffer of each copy.

                | layers | ranks | mode | launched segments | their instructions | calls | a segment | an instruction | most of them |
                |---|---|---|---|---|---|---|---|---|""",
                System.getProperty("java.version"), Runtime.getRuntime().availableProcessors());
        double[] graph = null;
        double[] eager = null;
        for (int[] model : MODELS) {
            graph = row(model, Mode.GRAPH);
            eager = row(model, Mode.EAGER);
        }
        Map<String, Double> nanos = nanos();
        print(
                """

                ## Nanoseconds of a call

                The fastest of %d rounds of %,d calls, each through an interface as launches are run. What a real driver takes for a launch
                comes on top, and is not measured here.

                | call | ns |
                |---|---|""",
                ROUNDS, RUNS);
        nanos.forEach((call, ns) -> print("| %s | %.0f |", call, ns));
        double toFresh = nanos.get(FRESH) / nanos.get(PACKED);
        print(
                """

                A launch whose arguments are packed once, as `CudaLaunch` keeps them, takes %.0f times less than one that packs them each
                time: pointers that JavaCPP makes are tracked for the collector. At %.0f ns a call, the %.0f calls of a step of graphs are
                %.1f us, however many layers there are.

                RESULT jni graphCallsPerStep=%.0f graphCallsPerSegment=%.1f eagerCallsPerStep=%.0f presetOverNative=%.1f freshOverPacked=%.1f""",
                toFresh,
                nanos.get(PACKED),
                graph[0],
                graph[0] * nanos.get(PACKED) / 1e3,
                graph[0],
                graph[1],
                eager[0],
                nanos.get(POINTER) / nanos.get(NATIVE),
                toFresh);
    }

    /** Calls of a step, and for each segment. */
    private static double[] row(int[] model, Mode mode) {
        TrainingSpec spec = new BenchCase("", "", GptConfig.of(257, 16, model[0], 4, 64), 4, 16)
                .spec(Layout.dataParallel(model[1]), 2, 2);
        Crossings step = Crossings.ofStep(spec, mode);
        String most = step.calls().entrySet().stream()
                .sorted(Map.Entry.<String, Double>comparingByValue().reversed())
                .limit(4)
                .map(e -> String.format(Locale.ROOT, "%s %.0f", e.getKey(), e.getValue()))
                .collect(Collectors.joining(", "));
        double perSegment = step.total() / step.launches();
        print(
                "| %d | %d | %s | %d | %d | %.0f | %.1f | %.2f | %s |",
                model[0],
                model[1],
                mode,
                step.launches(),
                step.instructions(),
                step.total(),
                perSegment,
                step.total() / step.instructions(),
                most);
        return new double[] {step.total(), perSegment};
    }

    private static final String EMPTY = "an empty method of Java";
    private static final String NATIVE = "an empty native method";
    private static final String VERSION = "cuDriverGetVersion into an int[]";
    private static final String POINTER = "cuDriverGetVersion into an IntPointer that is kept";
    private static final String ALLOCATED = "cuDriverGetVersion into an IntPointer made for the call and closed";
    private static final String COUNTED = "cuCtxGetCurrent, whose stand-in looks up its counter under a lock";
    private static final String PACKED = "cuLaunchKernel, 6 arguments packed once; the stand-in counts and refuses it";
    private static final String FRESH = "cuLaunchKernel, 6 arguments packed for the call";

    /** By call. No device is bound, so that the stand-in refuses a launch before it queues it. */
    private static Map<String, Double> nanos() {
        int[] version = new int[1];
        IntPointer kept = new IntPointer(1);
        CUctx_st context = new CUctx_st();
        CUfunc_st function = null;
        CUstream_st stream = null;
        BytePointer slots = new BytePointer(8L * NUM_ARGUMENTS);
        PointerPointer<Pointer> packed = pack(slots);
        Map<String, Runnable> calls = new LinkedHashMap<>();
        calls.put(EMPTY, () -> {});
        calls.put(NATIVE, Cudasim::nothing);
        calls.put(VERSION, () -> cuDriverGetVersion(version));
        calls.put(POINTER, () -> cuDriverGetVersion(kept));
        calls.put(ALLOCATED, () -> {
            try (IntPointer made = new IntPointer(1)) {
                cuDriverGetVersion(made);
            }
        });
        calls.put(COUNTED, () -> cuCtxGetCurrent(context));
        calls.put(PACKED, () -> cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, packed, null));
        calls.put(FRESH, () -> {
            try (BytePointer made = new BytePointer(8L * NUM_ARGUMENTS);
                    PointerPointer<Pointer> arguments = pack(made)) {
                cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, arguments, null);
            }
        });
        calls.values().forEach(JniBench::fastest);
        Map<String, Double> nanos = new LinkedHashMap<>();
        calls.forEach((call, work) -> nanos.put(call, fastest(work)));
        return nanos;
    }

    private static PointerPointer<Pointer> pack(BytePointer slots) {
        PointerPointer<Pointer> arguments = new PointerPointer<>(NUM_ARGUMENTS);
        for (int x = 0; x < NUM_ARGUMENTS; x++) {
            slots.putLong(8L * x, x);
            arguments.put(x, slots.getPointer(8L * x));
        }
        return arguments;
    }

    /** Nanoseconds of a run in the fastest round. */
    private static double fastest(Runnable work) {
        long best = Long.MAX_VALUE;
        for (int round = 0; round < ROUNDS; round++) {
            long start = System.nanoTime();
            for (int run = 0; run < RUNS; run++) {
                work.run();
            }
            best = Math.min(best, System.nanoTime() - start);
        }
        return best / (double) RUNS;
    }

    private static void print(String format, Object... values) {
        System.out.printf(Locale.ROOT, format + "%n", values);
    }
}
