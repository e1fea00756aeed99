package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.Communicator;
import io.brazier.cuda.CudaBackend;
import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.PlannedTrainingEngine;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.WeightSource;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Precision;
import io.brazier.plan.Layout.Recompute;
import io.brazier.plan.Segment;
import io.brazier.plan.Slice;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.RotaryScaling;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.program.Value;
import io.brazier.tensor.Mesh;
import io.brazier.tests.cuda.TestGpu;
import io.brazier.tests.parity.CheckpointedRun.Outcome;
import io.brazier.tests.parity.Ranks.Engines;
import io.brazier.tests.parity.Ranks.Run;
import io.brazier.train.Resume;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Trainings with products in eight bits on simulated CUDA: how near they come to bf16, and what their scales are. */
@Tag("cuda")
@Tag(TestGpu.TAG)
class Float8TrainingTest {
    /**
     * E4M3 rounds by up to 1/16, E5M2 by 1/8; a loss averages over many products of many such numbers, and the norm, where errors add
     * up over the blocks, does less so.
     */
    private static final double LOSS = 0.02;

    private static final double NORM = 0.15;

    private static final Ranks GPT = new Ranks(
            new GptConfig(33, 17, 2, 4, 64, 96, 1e-5, Function.GELU_TANH, Set.of(Variant.UNTIED_HEAD)), 8, 16, 0, 3);

    private static final Ranks LLAMA = llama(Experts.NONE);
    private static final Ranks EXPERTS = llama(new Experts(4, 2, 0, 0.01));
    private static final int NUM_MICRO_BATCHES = 2;

    private static Ranks llama(Experts experts) {
        return new Ranks(
                new LlamaConfig(29, 16, 2, 4, 2, 16, 64, 96, 1e-5, 500, RotaryScaling.NONE, false, experts),
                8,
                16,
                0,
                3);
    }

    @BeforeAll
    static void load() {
        TestGpu.load();
    }

    private static Layout mesh(int dp, int pp, int cp, int tp) {
        return Layout.of(new Mesh(dp, pp, cp, 1, tp));
    }

    private static Engines onGpus(Mode mode) {
        return (spec, communicator, initial) ->
                CudaEngines.training(spec, communicator, TestGpu.device(communicator.rank()), mode, initial, Fill.NAN);
    }

    private static Run train(Ranks ranks, Layout layout) {
        TestGpu.assumeDevices(layout.mesh().worldSize());
        Run run = ranks.train(layout.withPrecision(Precision.FP8), NUM_MICRO_BATCHES, onGpus(Mode.GRAPH));
        TestGpu.assertNoViolations("training in fp8");
        return run;
    }

    /** The same rows again and again, so that there is something to learn. */
    @Test
    void lossesFallAsThoseOfBf16Do() {
        List<List<StepOutcome>> byPrecision = new ArrayList<>();
        for (Precision precision : List.of(Precision.BF16, Precision.FP8)) {
            byPrecision.add(GPT.onRanks(
                            mesh(1, 1, 1, 1).withPrecision(precision),
                            NUM_MICRO_BATCHES,
                            onGpus(Mode.CHECKED),
                            (engine, rows) -> Stream.generate(() -> rows.train(engine, 0, 2e-3))
                                    .limit(10)
                                    .toList())
                    .get(0));
        }
        TestGpu.assertNoViolations("training in fp8");
        List<StepOutcome> narrow = byPrecision.get(1);
        for (int x = 0; x < narrow.size(); x++) {
            double expected = byPrecision.get(0).get(x).loss();
            assertEquals(expected, narrow.get(x).loss(), LOSS * expected, "loss of step " + x);
        }
        for (int x = 1; x < narrow.size(); x++) {
            assertTrue(narrow.get(x).loss() < narrow.get(x - 1).loss(), "losses " + narrow);
        }
        assertFalse(narrow.equals(byPrecision.get(0)), "products must not run in bf16");
    }

    static Stream<LayoutCase> layouts() {
        return Stream.of(
                new LayoutCase(GPT, mesh(2, 1, 1, 1), NUM_MICRO_BATCHES),
                new LayoutCase(LLAMA, mesh(2, 1, 1, 1).withZeroStage(3), NUM_MICRO_BATCHES),
                new LayoutCase(GPT, mesh(1, 1, 1, 2).withSequenceParallel(), NUM_MICRO_BATCHES),
                new LayoutCase(LLAMA, mesh(1, 2, 2, 1), NUM_MICRO_BATCHES),
                new LayoutCase(EXPERTS, Layout.of(new Mesh(1, 1, 1, 2, 1)), NUM_MICRO_BATCHES));
    }

    /** Ranks that keep the same elements must keep the same bits, which the gathering of a run's state asserts. */
    @ParameterizedTest
    @MethodSource("layouts")
    void everyLayoutStaysNearBf16OnOneRank(LayoutCase c) {
        Run expected = c.onOneRank().inBrainFloats().train();
        Run actual = train(c.ranks(), c.layout());
        assertNear(expected.steps(), actual.steps());
        assertEquals(expected.evaluation(), actual.evaluation(), LOSS * expected.evaluation(), "evaluation");
    }

    /**
     * A scale stays for a step, so that neither the order of micro-batches nor computing again changes what is rounded. Of four stages
     * two have no such products.
     */
    @Test
    void pipelinesAndRecomputationChangeNoBit() {
        Run one = train(GPT, mesh(1, 1, 1, 1));
        for (Layout layout : List.of(
                mesh(1, 1, 1, 1).withRecompute(Recompute.FULL),
                mesh(1, 4, 1, 1),
                mesh(1, 2, 1, 1).withSchedule(Schedule.INTERLEAVED, 2),
                mesh(1, 2, 1, 1).withSchedule(Schedule.ZB_H1, 1))) {
            new LayoutCase(GPT, layout, NUM_MICRO_BATCHES).assertEqualBits(one, train(GPT, layout));
        }
    }

    private static void assertNear(List<StepOutcome> expected, List<StepOutcome> actual) {
        for (int x = 0; x < expected.size(); x++) {
            StepOutcome e = expected.get(x);
            StepOutcome a = actual.get(x);
            assertTrue(a.updated(), "step " + x);
            assertEquals(e.loss(), a.loss(), LOSS * e.loss(), "loss of step " + x);
            assertEquals(e.gradientNorm(), a.gradientNorm(), NORM * e.gradientNorm(), "norm of step " + x);
        }
    }

    /** A rank whose states of scales can be read: f32 [3, 32] by path. */
    private static final class Readable implements Engines {
        private final AtomicReference<LoadedPlan> loaded = new AtomicReference<>();
        private final Map<String, Slice> places = new TreeMap<>();

        @Override
        public TrainingEngine open(TrainingSpec spec, Communicator communicator, WeightSource initial) {
            CudaBackend backend = new CudaBackend(TestGpu.device(0), Mode.GRAPH);
            TrainingPlan plan = TrainingPlan.make(spec.request(0), backend::workspaceBytes);
            Segment forward = plan.plan().segments().get(TrainingPlan.FORWARD);
            for (Value v : forward.program().inputs()) {
                if (v.name().startsWith("scales.")) {
                    places.put(v.name().substring("scales.".length()), forward.slice(v));
                }
            }
            loaded.set(new LoadedPlan(plan.plan(), backend, Fill.NAN));
            return new PlannedTrainingEngine(plan, loaded.get(), spec, initial);
        }

        Map<String, float[]> states() {
            Map<String, float[]> states = new TreeMap<>();
            places.forEach((path, place) -> {
                float[] state = new float[3 * 32];
                loaded.get()
                        .read(place, 0, Float.BYTES * state.length)
                        .asFloatBuffer()
                        .get(state);
                states.put(path, state);
            });
            return states;
        }
    }

    private static final List<String> PRODUCTS = List.of("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj");

    /** More steps than a history is long; what was seen of weights is told by the weights themselves. */
    @Test
    void scalesFollowFromTheLastSixteenSteps() {
        Readable readable = new Readable();
        Layout layout = mesh(1, 1, 1, 1).withPrecision(Precision.FP8);
        GPT.onRanks(layout, NUM_MICRO_BATCHES, readable, (engine, rows) -> {
            Map<String, List<Float>> ofWeights = new TreeMap<>();
            for (int step = 0; step < 18; step++) {
                for (Parameter p : engine.parameters()) {
                    ofWeights.computeIfAbsent(p.name(), k -> new ArrayList<>()).add(0, largest(read(engine, p)));
                }
                assertTrue(rows.train(engine, step).updated());
                Map<String, float[]> states = readable.states();
                assertEquals(8, states.size(), "the linear products of both blocks: " + states.keySet());
                for (String product : PRODUCTS) {
                    for (int block = 0; block < 2; block++) {
                        String path = "h." + block + "." + product;
                        checkState(path + " after step " + step, states.get(path), step);
                        List<Float> seen = ofWeights.get(path + ".weight");
                        for (int x = 0; x < Math.min(16, seen.size()); x++) {
                            assertEquals(seen.get(x), states.get(path)[32 + 16 + x], path + " " + x + " steps ago");
                        }
                    }
                }
            }
            return null;
        });
        TestGpu.assertNoViolations("training in fp8");
    }

    private static void checkState(String name, float[] state, int step) {
        for (int row = 0; row < 3; row++) {
            float max = 0;
            for (int x = 0; x < 16; x++) {
                float seen = state[32 * row + 16 + x];
                assertEquals(x <= step, seen > 0, name + ": " + seen + " seen " + x + " steps before");
                max = Math.max(max, seen);
            }
            float largest = row == 2 ? 57344 : 448;
            assertEquals(largest / max, state[32 * row + 1], name + ": scale");
            assertEquals(1 / (largest / max), state[32 * row], name + ": what takes it back");
            assertEquals(0, state[32 * row + 2], name + ": nothing is seen yet of the next step");
        }
    }

    private static float[] read(TrainingEngine engine, Parameter p) {
        float[] values = new float[(int) p.numElements()];
        engine.read(p, State.WEIGHT, 0, FloatBuffer.wrap(values));
        return values;
    }

    /** Of the weights as products see them, in bf16. */
    private static float largest(float[] masters) {
        float largest = 0;
        for (float v : masters) {
            int bits = Float.floatToIntBits(Math.abs(v));
            largest = Math.max(largest, Float.intBitsToFloat(bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000));
        }
        return largest;
    }

    /** In the first step there are no scales to go back to, in later ones there are. */
    @Test
    void aStepThatIsSkippedLeavesNoTraceInTheScales() {
        Readable readable = new Readable();
        Layout layout = mesh(1, 1, 1, 1).withPrecision(Precision.FP8);
        GPT.onRanks(layout, NUM_MICRO_BATCHES, readable, (engine, rows) -> {
            for (int step = 0; step < 3; step++) {
                Map<String, float[]> before = readable.states();
                Parameter poisoned = engine.parameters().stream()
                        .filter(p -> p.name().equals("h.1.mlp.c_fc.weight"))
                        .findFirst()
                        .orElseThrow();
                float[] weights = read(engine, poisoned);
                float[] infinite = weights.clone();
                infinite[7] = Float.POSITIVE_INFINITY;
                write(engine, poisoned, infinite);
                assertFalse(rows.train(engine, step).updated());
                write(engine, poisoned, weights);
                Map<String, float[]> after = readable.states();
                before.forEach((path, state) -> assertArrayEquals(state, after.get(path), path));
                assertTrue(rows.train(engine, step).updated());
            }
            return null;
        });
    }

    /** The same layout finds its scales again, to the last bit; another one measures its tensors anew. */
    @Test
    void runsThatResumeGoOn(@TempDir Path directory) {
        TestGpu.assumeDevices(2);
        ModelConfig model = GptConfig.of(CheckpointedRun.VOCABULARY, 16, 2, 4, 32);
        Layout layout = mesh(2, 1, 1, 1).withPrecision(Precision.FP8);
        Engines gpus = onGpus(Mode.GRAPH);
        String saved = directory.resolve("saved").toString();
        Outcome first = CheckpointedRun.train(model, layout, gpus, saved, new Resume.Auto());
        Resume resume = new Resume.From(saved + "/step-00000003");
        String other = directory.resolve("same").toString();
        Outcome same = CheckpointedRun.train(model, layout, gpus, other, resume);
        List<Double> expected = first.losses().subList(3, CheckpointedRun.NUM_STEPS);
        assertEquals(expected, same.losses());
        other = directory.resolve("other").toString();
        Layout pipeline = mesh(1, 2, 1, 1).withPrecision(Precision.FP8);
        List<Double> elsewhere =
                CheckpointedRun.train(model, pipeline, gpus, other, resume).losses();
        for (int x = 0; x < expected.size(); x++) {
            assertEquals(expected.get(x), elsewhere.get(x), LOSS * expected.get(x), "loss of step " + (3 + x));
        }
        TestGpu.assertNoViolations("training in fp8");
    }

    private static void write(TrainingEngine engine, Parameter p, float[] values) {
        engine.write(p, State.WEIGHT, 0, FloatBuffer.wrap(values));
        engine.publish();
    }

    @Test
    void whatCannotRunIsRefused() {
        Layout narrow = Layout.dataParallel(1).withPrecision(Precision.FP8);
        AssertionError onCpu = assertThrows(AssertionError.class, () -> GPT.train(narrow, NUM_MICRO_BATCHES, 1));
        assertTrue(
                onCpu.getCause().getMessage().startsWith("precision fp8 needs device cuda of compute capability 8.9"),
                onCpu.getCause().getMessage());
        GptConfig odd = new GptConfig(33, 17, 2, 4, 40, 96, 1e-5, Function.GELU_TANH, Set.of());
        List<String> violations = narrow.violations(odd, 6, 3, 12);
        assertEquals(1, violations.size());
        assertTrue(
                violations.get(0).startsWith("precision fp8: width 40 and the 24 tokens of a rank's micro-batch"),
                violations.get(0));
    }

    /** Products whose dims are no multiples of 16, the router and the head stay as they are. */
    @Test
    void productsThatDoNotFitStayInBf16() {
        GptConfig odd = new GptConfig(32, 17, 2, 4, 64, 88, 1e-5, Function.GELU_TANH, Set.of());
        Layout layout = mesh(1, 1, 1, 1).withPrecision(Precision.FP8);
        assertEquals(List.of("attn.c_attn", "attn.c_proj"), products(new Ranks(odd, 8, 16, 0, 1), layout));
        LlamaConfig routed = new LlamaConfig(
                32, 16, 2, 4, 2, 16, 64, 96, 1e-5, 500, RotaryScaling.NONE, false, new Experts(16, 2, 0, 0.01));
        assertEquals(
                List.of("self_attn.o_proj", "self_attn.qkv_proj"), products(new Ranks(routed, 8, 16, 0, 1), layout));
    }

    private static List<String> products(Ranks ranks, Layout layout) {
        TrainingPlan plan = TrainingPlan.make(new LayoutCase(ranks, layout, NUM_MICRO_BATCHES).request(0), i -> 0);
        return plan.plan().segments().values().stream()
                .flatMap(segment -> segment.program().instructions().stream())
                .filter(i -> i.op() instanceof ScaledMatMul)
                .map(i -> i.path().replaceAll("^(h|model\\.layers)\\.\\d+\\.", ""))
                .distinct()
                .sorted()
                .toList();
    }
}
