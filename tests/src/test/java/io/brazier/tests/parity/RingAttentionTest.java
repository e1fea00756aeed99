package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuBackend;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.pass.RingExpansion;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.CausalAttentionGrad;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Collective;
import io.brazier.program.Elementwise;
import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Ring.RingAttention;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.ContextSplit;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Ring attention on ranks that are threads, against the plain reference of attention on one rank, in double precision. */
class RingAttentionTest {
    /** Behind attention, so that its gradient is made by an instruction. */
    private static final double FACTOR = 0.5;

    private record Layout(int size, int numSamples, int numTokens, Heads heads) {
        int localTokens() {
            return numTokens / size;
        }

        TensorType qkv() {
            return TensorType.of(DType.F32, numSamples, localTokens(), fused()).with(Axis.CP, Placement.shard(1));
        }

        int fused() {
            return (heads.heads() + 2 * heads.groups()) * heads.width();
        }

        int output() {
            return heads.heads() * heads.width();
        }

        long blockBytes() {
            return 2L * heads.groups() * heads.width() * localTokens() * numSamples * Float.BYTES;
        }

        /** The rows of one rank out of [B, T, width]. */
        double[] local(double[] whole, int rank, int width) {
            ContextSplit split = new ContextSplit(numTokens, size, rank);
            double[] part = new double[whole.length / size];
            for (int row = 0; row < numSamples * localTokens(); row++) {
                int token = row / localTokens() * numTokens + split.position(row % localTokens());
                System.arraycopy(whole, token * width, part, row * width, width);
            }
            return part;
        }
    }

    /** A rank's programs, differentiated and then expanded. */
    private record Programs(Value qkv, Value y, Program forward, Value dy, Program backward, Value dqkv) {
        static Programs of(Layout layout, int rank) {
            ProgramBuilder p = new ProgramBuilder("forward");
            Value qkv = p.input("qkv", layout.qkv());
            Value o = p.applyAll("attention", new RingAttention(layout.heads(), layout.size(), rank), qkv)
                    .get(0);
            Value y = p.apply(new Elementwise.Scale(FACTOR), o);
            Autodiff.Result result = Autodiff.differentiate(p.build(List.of(y)), y, List.of(qkv), Gradients.FRESH);
            return new Programs(
                    qkv,
                    y,
                    RingExpansion.expand(result.forward()),
                    result.seeds().values().iterator().next(),
                    RingExpansion.expand(result.backward()),
                    result.gradients().get(qkv));
        }

        Stream<Instruction> instructions() {
            return Stream.concat(forward.instructions().stream(), backward.instructions().stream());
        }
    }

    private record Results(double[] y, double[] dqkv, long forwardBytes, long backwardBytes) {}

    private static Layout layout(int size, int numSamples, int chunk, int h, int g, int k) {
        return new Layout(size, numSamples, 2 * size * chunk, new Heads(h, g, k, 1 / Math.sqrt(k)));
    }

    @ParameterizedTest
    @CsvSource({
        "1,2,7,4,2,8",
        "2,1,1,1,1,4",
        "2,2,7,4,4,8",
        "3,2,5,4,2,16",
        "4,1,9,6,1,8",
        "4,3,3,2,2,33",
        "3,1,40,2,1,64"
    })
    void equalsAttentionOfOneRank(int size, int numSamples, int chunk, int h, int g, int k) throws Exception {
        Layout layout = layout(size, numSamples, chunk, h, g, k);
        Random random = new Random(31);
        int rows = numSamples * layout.numTokens();
        double[] qkv = draw(random, rows * layout.fused(), 1.5);
        double[] dy = draw(random, rows * layout.output(), 1);
        TensorType whole = TensorType.of(DType.F32, numSamples, layout.numTokens(), layout.fused());
        List<double[]> forward = new CausalAttention(layout.heads()).reference(List.of(whole), List.of(qkv));
        double[] dO = scaled(dy);
        double[] dqkv = new CausalAttentionGrad(layout.heads())
                .reference(List.of(whole), List.of(qkv, forward.get(0), forward.get(1), dO))
                .get(0);
        List<Results> results = run(layout, qkv, dy);
        for (int rank = 0; rank < size; rank++) {
            Results r = results.get(rank);
            compare("y", layout.local(scaled(forward.get(0)), rank, layout.output()), r.y(), 3e-6);
            compare("dqkv", layout.local(dqkv, rank, layout.fused()), r.dqkv(), 1e-5);
            assertEquals((size - 1) * layout.blockBytes(), r.forwardBytes());
            assertEquals(2 * (size - 1) * layout.blockBytes(), r.backwardBytes());
        }
    }

    private static List<Results> run(Layout layout, double[] qkv, double[] dy) throws Exception {
        List<Communicator> communicators = CpuCommunicators.local(layout.size(), Duration.ofSeconds(30));
        ExecutorService threads = Executors.newFixedThreadPool(layout.size());
        try {
            List<Future<Results>> futures = new ArrayList<>();
            for (int rank = 0; rank < layout.size(); rank++) {
                double[] localQkv = layout.local(qkv, rank, layout.fused());
                double[] localDy = layout.local(dy, rank, layout.output());
                Programs programs = Programs.of(layout, rank);
                Communicator c = communicators.get(rank);
                futures.add(threads.submit(() -> runRank(programs, c, localQkv, localDy)));
            }
            List<Results> results = new ArrayList<>();
            for (Future<Results> future : futures) {
                results.add(future.get(60, TimeUnit.SECONDS));
            }
            return results;
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    private static Results runRank(Programs p, Communicator c, double[] qkv, double[] dy) {
        try (CpuBackend backend = new CpuBackend(1, group -> c);
                ProgramRun run = new ProgramRun(backend)) {
            long before = c.bytesSent();
            run.write(p.qkv(), qkv);
            run.run(p.forward());
            long between = c.bytesSent();
            run.write(p.dy(), dy);
            run.run(p.backward());
            return new Results(run.read(p.y()), run.read(p.dqkv()), between - before, c.bytesSent() - between);
        }
    }

    /** Nothing is as large as [T, T]: four times the tokens need at most four times the memory for each value and workspace. */
    @Test
    void memoryGrowsWithTheSequenceAndNotWithItsSquare() {
        long[] large = largest(layout(3, 1, 128, 4, 2, 16));
        long[] larger = largest(layout(3, 1, 512, 4, 2, 16));
        assertTrue(larger[0] <= 4 * large[0], larger[0] + " bytes of a value after " + large[0]);
        assertTrue(larger[1] <= 4 * large[1], larger[1] + " bytes of a workspace after " + large[1]);
    }

    private static long[] largest(Layout layout) {
        long[] bytes = new long[2];
        try (CpuBackend backend = new CpuBackend(2)) {
            Programs.of(layout, 1).instructions().forEach(i -> {
                i.outputs().forEach(v -> bytes[0] = Math.max(bytes[0], v.type().bytes()));
                bytes[1] = Math.max(bytes[1], backend.workspaceBytes(i));
            });
        }
        return bytes;
    }

    @Test
    void everyShiftTravelsWhileSomethingIsComputed() {
        for (int size = 2; size <= 4; size++) {
            Programs programs = Programs.of(layout(size, 1, 3, 2, 1, 4), 1);
            for (Program p : List.of(programs.forward(), programs.backward())) {
                Map<Value, Integer> started = new HashMap<>();
                for (int x = 0; x < p.instructions().size(); x++) {
                    Instruction i = p.instructions().get(x);
                    if (i.op() instanceof Collective.Start) {
                        started.put(i.outputs().get(0), x);
                    }
                    if (i.op() instanceof Collective.Wait) {
                        int start = started.get(i.inputs().get(0));
                        assertTrue(
                                p.instructions().subList(start, x).stream().anyMatch(RingAttentionTest::computes),
                                i + " waits in vain in\n" + p);
                    }
                }
                assertEquals((p == programs.forward() ? 1 : 2) * (size - 1), started.size());
            }
        }
    }

    private static boolean computes(Instruction i) {
        return !(i.op() instanceof Collective || i.op() instanceof Elementwise.Add);
    }

    /** What the simulator reads: the ranks share the work of one rank equally, before expansion and after. */
    @Test
    void costsAreThoseOfTheWholeDividedByTheRanks() {
        Layout layout = layout(4, 2, 5, 6, 3, 8);
        TensorType whole = TensorType.of(DType.F32, 2, layout.numTokens(), layout.fused());
        double expected = new CausalAttention(layout.heads()).flops(List.of(whole)) / 4;
        for (int rank = 0; rank < 4; rank++) {
            ProgramBuilder p = new ProgramBuilder("forward");
            p.applyAll("attention", new RingAttention(layout.heads(), 4, rank), p.input("qkv", layout.qkv()));
            Program coarse = p.build(List.of());
            Program fine = RingExpansion.expand(coarse);
            assertEquals(expected, coarse.flops(), 1e-9 * expected);
            assertEquals(expected, fine.flops(), 1e-9 * expected);
            assertEquals(bytes(coarse), bytes(fine), 1);
            Programs programs = Programs.of(layout, rank);
            Instruction gradient = gradient(layout, rank);
            double adds = 2.0 * layout.blockBytes() / Float.BYTES;
            double joined = layout.qkv().shape().numElements();
            double scaled = layout.qkv().shape().rows() * layout.output();
            assertEquals(
                    gradient.flops() + adds + joined + scaled,
                    programs.backward().flops(),
                    1e-9 * expected);
            assertEquals(gradient.bytes() + 2 * scaled * Float.BYTES, bytes(programs.backward()), 1);
        }
    }

    private static Instruction gradient(Layout layout, int rank) {
        ProgramBuilder p = new ProgramBuilder("forward");
        Value qkv = p.input("qkv", layout.qkv());
        Value o = p.applyAll("attention", new RingAttention(layout.heads(), layout.size(), rank), qkv)
                .get(0);
        return Autodiff.differentiate(p.build(List.of(o)), o, List.of(qkv), Gradients.FRESH)
                .backward()
                .instructions()
                .get(0);
    }

    private static double bytes(Program p) {
        return p.instructions().stream()
                .filter(i -> !(i.op() instanceof Collective))
                .mapToDouble(Instruction::bytes)
                .sum();
    }

    @Test
    void everyTokenHasOneRankAndTheWorkIsBalanced() {
        for (int size = 1; size <= 5; size++) {
            int numTokens = 2 * size * 3;
            boolean[] seen = new boolean[numTokens];
            for (int rank = 0; rank < size; rank++) {
                ContextSplit split = new ContextSplit(numTokens, size, rank);
                int sum = 0;
                for (int t = 0; t < split.localTokens(); t++) {
                    assertTrue(!seen[split.position(t)]);
                    seen[split.position(t)] = true;
                    sum += split.position(t);
                }
                assertEquals(numTokens * (numTokens - 1) / 2 / size, sum, "positions of rank " + rank);
            }
            assertTrue(IntStream.range(0, numTokens).allMatch(t -> seen[t]));
        }
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> new ContextSplit(10, 3, 0));
        assertTrue(e.getMessage().contains("multiple of 6"), e.getMessage());
    }

    private static double[] draw(Random random, int count, double deviation) {
        return random.doubles(count).map(x -> (float) (deviation * (2 * x - 1))).toArray();
    }

    private static double[] scaled(double[] x) {
        return java.util.Arrays.stream(x).map(v -> FACTOR * v).toArray();
    }

    private static void compare(String what, double[] expected, double[] actual, double tolerance) {
        double largest = java.util.Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], tolerance * largest, what + "[" + i + "]");
        }
    }
}
