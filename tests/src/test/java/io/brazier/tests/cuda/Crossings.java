package io.brazier.tests.cuda;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.InitialWeights;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Request;
import io.brazier.plan.TrainingPlan;
import java.nio.IntBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Calls from Java into NVIDIA's libraries that one rank makes in a training step, as the simulated libraries count them.
 *
 * @param calls by function, without ncclCommGetAsyncError, which a thread of its own polls ten times a second
 * @param launches of segments
 * @param instructions in these segments
 */
public record Crossings(Map<String, Double> calls, long launches, long instructions) {
    private static final int WARM_UP = 2;
    private static final int STEPS = 3;
    private static final long LIMIT_SECONDS = 120;
    private static final String POLLED = "ncclCommGetAsyncError";

    /** Trains ranks that are threads, and counts behind the steps in which graphs are captured. */
    public static Crossings ofStep(TrainingSpec spec, Mode mode) {
        Cudasim.load();
        int size = spec.layout().mesh().worldSize();
        List<Map<String, Long>> counts = new ArrayList<>();
        CyclicBarrier barrier = new CyclicBarrier(size, () -> counts.add(Cudasim.calls()));
        List<Communicator> ranks = CpuCommunicators.local(size, Duration.ofSeconds(LIMIT_SECONDS));
        List<CompletableFuture<Void>> running = ranks.stream()
                .map(c -> CompletableFuture.runAsync(
                        () -> train(spec, c, mode, barrier), work -> new Thread(work).start()))
                .toList();
        running.forEach(CompletableFuture::join);
        ranks.forEach(c -> c.abort("counted"));
        Map<String, Double> calls = new TreeMap<>();
        counts.get(1).forEach((function, count) -> {
            long made = count - counts.get(0).getOrDefault(function, 0L);
            // The stand-ins count what they ask of each other, too.
            if (made > 0 && !function.startsWith("cudasim") && !function.equals(POLLED)) {
                calls.put(function, made / (double) (STEPS * size));
            }
        });
        RankPlan plan = TrainingPlan.make(spec.request(0).with(Request.Backward.FUSED), i -> 0)
                .plan();
        return new Crossings(
                calls,
                launched(plan).size(),
                launched(plan).stream().mapToLong(Integer::longValue).sum());
    }

    /** Instructions of each launch of a step. */
    private static List<Integer> launched(RankPlan plan) {
        return plan.schedule().stream()
                .filter(step -> step instanceof RankPlan.Launch)
                .map(step -> plan.segments().get(((RankPlan.Launch) step).segment()))
                .map(segment -> segment.program().instructions().size())
                .toList();
    }

    /** Calls of a step. */
    public double total() {
        return calls.values().stream().mapToDouble(Double::doubleValue).sum();
    }

    public double of(String function) {
        return calls.getOrDefault(function, 0.0);
    }

    private static void train(TrainingSpec spec, Communicator communicator, Mode mode, CyclicBarrier barrier) {
        InitialWeights initial = new InitialWeights(spec.model().model().parameters(), 1);
        try (CudaDevice device = CudaDevice.open(communicator.rank());
                TrainingEngine engine = CudaEngines.training(spec, communicator, device, mode, initial, Fill.ZERO)) {
            for (int step = 0; step < WARM_UP + STEPS; step++) {
                if (step == WARM_UP) {
                    await(barrier);
                }
                engine.step(step, 1e-4, (microBatch, tokens, targets) -> fill(tokens, targets));
            }
            await(barrier);
        }
    }

    private static void fill(IntBuffer tokens, IntBuffer targets) {
        while (tokens.hasRemaining()) {
            tokens.put(tokens.remaining() % 7);
            targets.put(targets.remaining() % 5);
        }
    }

    private static void await(CyclicBarrier barrier) {
        try {
            barrier.await(LIMIT_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
            throw new AssertionError("the other rank does not come", e);
        }
    }
}
