package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.AllToAll;
import io.brazier.program.Elementwise.Add;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Experts;
import io.brazier.program.Gated;
import io.brazier.program.Loss;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Routing;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A layer of SwiGLU experts spread over ranks, with dropped tokens, against loops in double precision and their differences. */
class ExpertParallelTest {
    private static final double STEP = 1e-5;
    private static final double TOLERANCE = 2e-5;
    private static final NaiveExperts NAIVE = new NaiveExperts(24, 5, 3, 4, 2, 12, 0.05, 0.3);

    /** Loss and gradients of one rank. */
    private record Outcome(double loss, double dropped, Map<String, double[]> gradients) {}

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 4})
    void lossAndGradientsMatchLoops(int size) throws Exception {
        Map<String, double[]> inputs = NAIVE.draw(new Random(5));
        int[] targets = new Random(6).ints(NAIVE.tokens(), 0, NAIVE.width()).toArray();
        List<Outcome> outcomes = run(size, inputs, targets);
        NaiveExperts.Result expected = NAIVE.loss(inputs, targets, size);
        assertTrue(expected.dropped() > 0, "the case must drop tokens");
        assertEquals(
                expected.dropped(),
                outcomes.stream().mapToDouble(Outcome::dropped).sum());
        assertEquals(
                expected.loss(), outcomes.stream().mapToDouble(Outcome::loss).sum(), TOLERANCE);
        for (String name : inputs.keySet()) {
            double[] actual = gathered(name, outcomes);
            for (int i = 0; i < actual.length; i++) {
                assertEquals(difference(inputs, targets, size, name, i), actual[i], TOLERANCE, name + "[" + i + "]");
            }
        }
    }

    /** The router's gradient is a partial sum; tokens and experts are sharded on dim 0. */
    private static double[] gathered(String name, List<Outcome> outcomes) {
        double[] first = outcomes.get(0).gradients().get(name);
        if (!name.equals("router")) {
            return outcomes.stream()
                    .flatMapToDouble(o -> Arrays.stream(o.gradients().get(name)))
                    .toArray();
        }
        double[] sum = new double[first.length];
        outcomes.forEach(o -> Arrays.setAll(sum, i -> sum[i] + o.gradients().get(name)[i]));
        return sum;
    }

    private static double difference(Map<String, double[]> inputs, int[] targets, int size, String name, int element) {
        double[] sides = new double[2];
        for (int side = 0; side < 2; side++) {
            Map<String, double[]> changed = new LinkedHashMap<>(inputs);
            double[] moved = inputs.get(name).clone();
            moved[element] += side == 0 ? STEP : -STEP;
            changed.put(name, moved);
            sides[side] = NAIVE.loss(changed, targets, size).loss();
        }
        return (sides[0] - sides[1]) / (2 * STEP);
    }

    private static List<Outcome> run(int size, Map<String, double[]> inputs, int[] targets) throws Exception {
        List<Communicator> communicators = CpuCommunicators.local(size, Duration.ofSeconds(30));
        ExecutorService threads = Executors.newFixedThreadPool(size);
        try {
            List<Future<Outcome>> ranks = new ArrayList<>();
            for (Communicator c : communicators) {
                ranks.add(threads.submit(() -> rank(c, inputs, targets)));
            }
            List<Outcome> outcomes = new ArrayList<>();
            for (Future<Outcome> rank : ranks) {
                outcomes.add(rank.get(60, TimeUnit.SECONDS));
            }
            return outcomes;
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    private static Outcome rank(Communicator communicator, Map<String, double[]> inputs, int[] targets) {
        int size = communicator.size();
        ProgramBuilder p = new ProgramBuilder("experts");
        Map<String, Value> weights = new LinkedHashMap<>();
        weights.put("x", p.input("x", type(Placement.shard(0), NAIVE.tokens() / size, NAIVE.width())));
        weights.put("router", p.input("router", type(Placement.R, NAIVE.width(), NAIVE.numExperts())));
        int experts = NAIVE.numExperts() / size;
        weights.put("up", p.input("up", type(Placement.shard(0), experts, NAIVE.width(), 2L * NAIVE.hidden())));
        weights.put("down", p.input("down", type(Placement.shard(0), experts, NAIVE.hidden(), NAIVE.width())));
        Value ids = p.input(
                "targets", TensorType.of(DType.I32, NAIVE.tokens() / size).with(Axis.EP, Placement.shard(0)));
        List<Value> losses = losses(p, weights, ids, size);
        Autodiff.Result result =
                Autodiff.differentiate(p.build(losses), losses.get(0), List.copyOf(weights.values()), Gradients.FRESH);
        try (Values values = new Values(communicator)) {
            weights.forEach((name, v) -> values.put(v, part(inputs.get(name), name, communicator)));
            values.put(ids, part(Arrays.stream(targets).asDoubleStream().toArray(), "targets", communicator));
            values.put(result.seeds().get(losses.get(0)), new double[] {1});
            values.run(p.build(losses));
            values.run(result.backward());
            Map<String, double[]> gradients = new LinkedHashMap<>();
            weights.forEach((name, v) ->
                    gradients.put(name, values.get(result.gradients().get(v))));
            return new Outcome(values.get(losses.get(0))[0], values.get(losses.get(1))[0], gradients);
        }
    }

    /** The loss and the number of dropped choices. */
    private static List<Value> losses(ProgramBuilder p, Map<String, Value> weights, Value targets, int size) {
        Group ep = Group.of(Axis.EP);
        Value x = weights.get("x");
        long capacity = NAIVE.capacity() / size;
        Value probabilities =
                p.apply(new Routing.Softmax(), p.apply(MatMul.plain(Transpose.NONE), x, weights.get("router")));
        List<Value> chosen = p.applyAll("top", new Routing.TopK(NAIVE.k(), Routing.Gates.RENORMALISED), probabilities);
        List<Value> slots = p.applyAll("slots", new Routing.AssignSlots(NAIVE.numExperts(), capacity), chosen.get(1));
        Value buffer = p.apply(new Experts.Dispatch(NAIVE.numExperts(), capacity, Operand.ABSENT), x, slots.get(0));
        Value mine = p.apply(new AllToAll(ep, size, 1, 0), buffer);
        Value hidden = p.apply(BatchedMatMul.plain(Transpose.NONE), mine, weights.get("up"));
        Value y = p.apply(
                BatchedMatMul.plain(Transpose.NONE), p.apply(new Gated(Function.SILU), hidden), weights.get("down"));
        Value back = p.apply(new AllToAll(ep, size, 0, 1), y);
        Value out = p.apply(new Experts.Combine(Operand.PRESENT), back, slots.get(0), chosen.get(0));
        Value loss = p.applyAll("loss", new Loss.CrossEntropy(NAIVE.lossScale()), out, targets)
                .get(0);
        Value counts = p.apply(new AllReduce(ep, 1), slots.get(1));
        Value balance =
                p.apply(new Routing.LoadBalance(NAIVE.coefficient(), NAIVE.k(), NAIVE.tokens()), probabilities, counts);
        return List.of(p.apply(new Add(), loss, balance), slots.get(2));
    }

    private static TensorType type(Placement placement, long... dims) {
        return TensorType.of(DType.F32, dims).with(Axis.EP, placement);
    }

    private static double[] part(double[] whole, String name, Communicator communicator) {
        int count = name.equals("router") ? whole.length : whole.length / communicator.size();
        int from = name.equals("router") ? 0 : communicator.rank() * count;
        return Arrays.copyOfRange(whole, from, from + count);
    }
}
