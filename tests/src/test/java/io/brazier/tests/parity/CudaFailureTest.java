package io.brazier.tests.parity;

import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_ILLEGAL_ADDRESS;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_OUT_OF_MEMORY;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaEngines;
import io.brazier.cuda.CudaException;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.nn.GptConfig;
import io.brazier.plan.Layout;
import io.brazier.program.Elementwise.Function;
import io.brazier.tests.cuda.Cudasim;
import io.brazier.tests.cuda.TestGpu;
import io.brazier.tests.parity.Ranks.Engines;
import io.brazier.tests.parity.Ranks.Rows;
import java.nio.FloatBuffer;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What goes wrong on GPUs is told with op, rank, device and call; the other ranks end too, and devices are given back. */
@Tag("cuda")
class CudaFailureTest {
    private static final Ranks GPT =
            new Ranks(new GptConfig(29, 17, 1, 4, 16, 32, 1e-5, Function.GELU_TANH, Set.of()), 4, 8, 0, 1);

    private static final Layout ONE = Layout.dataParallel(1);
    private static final Layout TWO = Layout.dataParallel(2);

    @BeforeAll
    static void load() {
        Cudasim.load();
    }

    @BeforeEach
    @AfterEach
    void forgetFaults() {
        Cudasim.clearFaults();
        Cudasim.takeViolations();
    }

    private static Engines engines(Mode mode) {
        return (spec, communicator, initial) ->
                CudaEngines.training(spec, communicator, TestGpu.device(communicator.rank()), mode, initial, Fill.NAN);
    }

    private static CudaException failure(Layout layout, Mode mode, Ranks.Work<?> work) {
        AssertionError error =
                assertThrows(AssertionError.class, () -> GPT.onRanks(layout, 1, engines(mode), work::run));
        Throwable cause = error;
        while (!(cause instanceof CudaException)) {
            cause = cause.getCause();
        }
        assertNothingIsLeft(layout);
        return (CudaException) cause;
    }

    private static void assertNothingIsLeft(Layout layout) {
        for (int device = 0; device < layout.mesh().worldSize(); device++) {
            assertEquals(0, Cudasim.liveAllocations(device), "left on device " + device);
        }
    }

    private static boolean second(TrainingEngine engine) {
        return engine.parameters().get(0).replica() == 1;
    }

    private static Object step(TrainingEngine engine, Rows rows) {
        return rows.train(engine, 0);
    }

    private static void says(CudaException e, String... parts) {
        for (String part : parts) {
            assertTrue(e.getMessage().contains(part), e.getMessage() + " should say " + part);
        }
    }

    @Test
    void aPlanThatDoesNotFitTheDevice() {
        long staging = 0;
        Cudasim.failCall("cuMemAlloc", staging + 1, CUDA_ERROR_OUT_OF_MEMORY);
        says(failure(ONE, Mode.GRAPH, CudaFailureTest::step), "cuMemAlloc of ", " bytes", "CUDA_ERROR_OUT_OF_MEMORY");
    }

    @Test
    void aLaunchThatFailsIsNamed() {
        Cudasim.failCall("cuLaunchKernel", 3, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
        CudaException e = failure(ONE, Mode.GRAPH, CudaFailureTest::step);
        says(e, " of h.0", "in forward", "rank 0, GPU 0", "cuLaunchKernel of ", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES");
        assertFalse(e.sticky());
    }

    @Test
    void aLostContextIsKnown() {
        Cudasim.failCall("cuGraphLaunch", 2, CUDA_ERROR_ILLEGAL_ADDRESS);
        assertTrue(failure(ONE, Mode.GRAPH, CudaFailureTest::step).sticky());
    }

    @Test
    void theCheckNamesTheOpWhoseResultIsNotFinite() {
        CudaException e = failure(ONE, Mode.CHECKED, (engine, rows) -> {
            Parameter bias = engine.parameters().stream()
                    .filter(p -> p.name().contains("h.0.mlp.c_fc.bias"))
                    .findFirst()
                    .orElseThrow();
            engine.write(bias, State.WEIGHT, 0, FloatBuffer.wrap(new float[] {Float.POSITIVE_INFINITY}));
            engine.publish();
            return step(engine, rows);
        });
        says(e, "h.0.mlp", "in forward", "rank 0", "check for finite results");
    }

    @Test
    void aLostRankEndsTheOthers() {
        AtomicReference<Throwable> other = new AtomicReference<>();
        AssertionError error = assertThrows(
                AssertionError.class,
                () -> GPT.onRanks(TWO, 1, engines(Mode.GRAPH), (engine, rows) -> {
                    if (second(engine)) {
                        step(engine, rows);
                        throw new IllegalStateException("this rank is lost");
                    }
                    try {
                        step(engine, rows);
                        return rows.train(engine, 1);
                    } catch (RuntimeException e) {
                        other.set(e);
                        throw e;
                    }
                }));
        assertTrue(
                error.getCause() instanceof IllegalStateException,
                error.getCause().toString());
        assertTrue(other.get() instanceof CudaException, String.valueOf(other.get()));
        assertNothingIsLeft(TWO);
    }

    /** A step reads nothing before the sums over ranks, which the other rank never joins. */
    @Test
    void aRankThatFailsAmidAnExchangeEnds() {
        CudaException e = failure(TWO, Mode.GRAPH, (engine, rows) -> {
            if (second(engine)) {
                LockSupport.park();
                return null;
            }
            Cudasim.failCall("cuMemcpyDtoHAsync", 1, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
            return step(engine, rows);
        });
        says(e, "cuMemcpyDtoHAsync failed: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES");
    }
}
