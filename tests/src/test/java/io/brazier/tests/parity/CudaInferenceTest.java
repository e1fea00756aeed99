package io.brazier.tests.parity;

import static io.brazier.tests.parity.InferenceRanks.GPT;
import static io.brazier.tests.parity.InferenceRanks.LLAMA;
import static io.brazier.tests.parity.InferenceRanks.MAX_BATCH;
import static io.brazier.tests.parity.InferenceRanks.MAX_TOKENS;
import static io.brazier.tests.parity.InferenceRanks.MIXTRAL;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.GenerationConfig;
import io.brazier.exec.InferenceEngine;
import io.brazier.exec.TextGenerator;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.WeightSource;
import io.brazier.tensor.Mesh;
import io.brazier.tests.cuda.Cudasim;
import io.brazier.tests.cuda.TestGpu;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Scores, logits and text from CUDA, each rank a thread with a device of its own, against the CPU back end on one rank. */
@Tag("cuda")
@Tag(TestGpu.TAG)
class CudaInferenceTest {

    /** The second is longer than a chunk, and fills the cache before it has all its new tokens. */
    private static final int[][] PROMPTS = {{3, 1, 4, 1, 5}, new int[35], {9}};

    private final List<CudaDevice> devices = Collections.synchronizedList(new ArrayList<>());

    @BeforeAll
    static void load() {
        TestGpu.load();
    }

    @AfterEach
    void nothingIsLeft() {
        devices.forEach(CudaDevice::close);
        TestGpu.assertNoViolations("inference");
        TestGpu.assertNothingIsLeft(4);
    }

    @Test
    void oneDeviceEqualsTheCpu() {
        for (ModelConfig model : List.of(GPT, LLAMA, MIXTRAL)) {
            InferenceRanks.assertClose(
                    InferenceRanks.onOneDevice(model, InferenceRanks::scoresAndLogits),
                    onOneDevice(model, Mode.GRAPH, InferenceRanks::scoresAndLogits),
                    model.toString());
        }
    }

    @ParameterizedTest
    @CsvSource({"2, 1", "1, 2", "2, 2"})
    void ranksEqualTheCpu(int tp, int pp) throws Exception {
        Mesh mesh = new Mesh(1, pp, 1, 1, tp);
        for (ModelConfig model : List.of(GPT, LLAMA, MIXTRAL)) {
            float[][] expected = InferenceRanks.onOneDevice(model, InferenceRanks::scoresAndLogits);
            for (float[][] actual : onRanks(model, mesh, InferenceRanks::scoresAndLogits)) {
                InferenceRanks.assertClose(expected, actual, model + " " + mesh);
            }
        }
    }

    /** Segments are captured at the first token: the later ones come from what is on the device by then. */
    @Test
    void likeliestTokensEqualTheCpusTokenForToken() throws Exception {
        for (ModelConfig model : List.of(GPT, LLAMA)) {
            int[][] expected = InferenceRanks.onOneDevice(model, CudaInferenceTest::generate);
            assertArrayEquals(expected, onOneDevice(model, Mode.GRAPH, CudaInferenceTest::generate));
            assertArrayEquals(expected, onOneDevice(model, Mode.EAGER, CudaInferenceTest::generate));
            for (int[][] actual : onRanks(model, new Mesh(1, 2, 1, 1, 2), CudaInferenceTest::generate)) {
                assertArrayEquals(expected, actual);
            }
        }
    }

    @Test
    void aTokenIsOneLaunch() {
        TestGpu.assumeSimulated();
        onOneDevice(GPT, Mode.GRAPH, engine -> {
            engine.prefill(PROMPTS);
            engine.decode(new int[] {1, 2, 3});
            long graphs = Cudasim.calls("cuGraphLaunch");
            long kernels = Cudasim.calls("cuLaunchKernel");
            engine.decode(new int[] {4, 5, 6});
            assertEquals(1, Cudasim.calls("cuGraphLaunch") - graphs);
            return assertKernels(kernels);
        });
    }

    private static Void assertKernels(long expected) {
        assertEquals(expected, Cudasim.calls("cuLaunchKernel"));
        return null;
    }

    @Test
    void anotherThreadMayClose() throws Exception {
        InferenceEngine engine =
                CudaEngines.inference(GPT, InferenceRanks.weights(GPT), open(0), Mode.GRAPH, MAX_BATCH, MAX_TOKENS);
        CompletableFuture.runAsync(engine::close).get();
    }

    @Test
    void weightsThatCannotBeReadLeaveNothingOnTheDevice() {
        WeightSource weights = InferenceRanks.weights(GPT);
        AtomicInteger reads = new AtomicInteger();
        WeightSource broken = (name, first, target) -> {
            if (reads.incrementAndGet() == 3) {
                throw new IllegalStateException("no " + name);
            }
            weights.read(name, first, target);
        };
        CudaDevice device = open(0);
        assertThrows(
                IllegalStateException.class,
                () -> CudaEngines.inference(GPT, broken, device, Mode.GRAPH, MAX_BATCH, MAX_TOKENS));
    }

    private static int[][] generate(InferenceEngine engine) {
        GenerationConfig likeliest = new GenerationConfig(20, 0, 0, 1, 0, List.of());
        return new TextGenerator(engine, likeliest).generate(PROMPTS, new long[PROMPTS.length]);
    }

    private CudaDevice open(int ordinal) {
        CudaDevice device = CudaDevice.open(ordinal);
        devices.add(device);
        return device;
    }

    private <T> T onOneDevice(ModelConfig model, Mode mode, Function<InferenceEngine, T> work) {
        WeightSource weights = InferenceRanks.weights(model);
        try (InferenceEngine engine = CudaEngines.inference(model, weights, open(0), mode, MAX_BATCH, MAX_TOKENS)) {
            return work.apply(engine);
        }
    }

    private <T> List<T> onRanks(ModelConfig model, Mesh mesh, Function<InferenceEngine, T> work) throws Exception {
        TestGpu.assumeDevices(mesh.worldSize());
        return InferenceRanks.onRanks(
                model,
                mesh,
                (config, weights, c, m) ->
                        CudaEngines.inference(config, weights, c, m, open(c.rank()), Mode.GRAPH, MAX_BATCH, MAX_TOKENS),
                work);
    }
}
