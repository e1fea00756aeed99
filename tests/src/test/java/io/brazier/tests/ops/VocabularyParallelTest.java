package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.program.Collective;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Lookup.Embedding;
import io.brazier.program.Loss.CrossEntropyGrad;
import io.brazier.program.Loss.RowLogSumExp;
import io.brazier.program.Loss.ShardedCrossEntropy;
import io.brazier.program.Loss.ShardedTokenLogLikelihood;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Op;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Embeddings, losses and their gradients over shards of a vocabulary are those over the whole. */
class VocabularyParallelTest {
    private static final Group TP = Group.of(Axis.TP);

    /** Rows of ids 0..3, 4..7 and 8..9. */
    private static final int[] FIRST = {0, 4, 8, 10};

    private static final int VOCABULARY = 10;
    private static final int ROWS = 7;
    private static final double SCALE = 0.3;
    private static final double[] TARGETS = {0, 3, 4, -1, 8, 9, 5};

    private static TensorType f32(Placement placement, long... dims) {
        return TensorType.of(DType.F32, dims).with(Axis.TP, placement);
    }

    private static TensorType i32(Placement placement, long... dims) {
        return TensorType.of(DType.I32, dims).with(Axis.TP, placement);
    }

    @Test
    void shardsAddUpToTheWholeLoss() {
        double[] logits = new Random(5).doubles(ROWS * VOCABULARY, -3, 3).toArray();
        double loss = 0;
        double[] likelihoods = new double[ROWS];
        for (int rank = 0; rank < 3; rank++) {
            List<double[]> in = List.of(columns(logits, rank), statistics(logits), TARGETS);
            loss += run(new ShardedCrossEntropy(SCALE, FIRST[rank]), rank, in).get(0)[0];
            double[] part =
                    run(new ShardedTokenLogLikelihood(FIRST[rank]), rank, in).get(0);
            Arrays.setAll(likelihoods, r -> likelihoods[r] + part[r]);
        }
        assertEquals(wholeLoss(logits), loss, 1e-12);
        assertEquals(wholeLoss(logits), -SCALE * Arrays.stream(likelihoods).sum(), 1e-12);
    }

    @Test
    void gradientsOfShardsMatchCentralDifferences() {
        double[] logits = new Random(6).doubles(ROWS * VOCABULARY, -3, 3).toArray();
        for (int rank = 0; rank < 3; rank++) {
            int width = FIRST[rank + 1] - FIRST[rank];
            List<double[]> in = List.of(columns(logits, rank), statistics(logits), TARGETS);
            double[] lse =
                    run(new ShardedCrossEntropy(SCALE, FIRST[rank]), rank, in).get(1);
            CrossEntropyGrad op = new CrossEntropyGrad(SCALE, FIRST[rank]);
            List<TensorType> types = List.of(
                    f32(Placement.shard(1), ROWS, width),
                    f32(Placement.R, ROWS),
                    i32(Placement.R, ROWS),
                    f32(Placement.R, 1));
            double[] d = op.reference(types, List.of(in.get(0), lse, TARGETS, new double[] {1.5}))
                    .get(0);
            for (int e = 0; e < d.length; e++) {
                int at = e / width * VOCABULARY + FIRST[rank] + e % width;
                double[] up = logits.clone();
                double[] down = logits.clone();
                up[at] += 1e-5;
                down[at] -= 1e-5;
                assertEquals(1.5 * (wholeLoss(up) - wholeLoss(down)) / 2e-5, d[e], 1e-8);
            }
        }
    }

    @Test
    void shardsOfATableAddUpToTheWholeLookup() {
        double[] table = new Random(7).doubles(VOCABULARY * 3, -1, 1).toArray();
        double[] ids = {9, 0, 4, 3, 7, 8, 8};
        double[] sum = new double[ids.length * 3];
        for (int rank = 0; rank < 3; rank++) {
            long rows = FIRST[rank + 1] - FIRST[rank];
            double[] shard = Arrays.copyOfRange(table, FIRST[rank] * 3, FIRST[rank + 1] * 3);
            double[] part = new Embedding(Operand.ABSENT, FIRST[rank])
                    .reference(
                            List.of(i32(Placement.R, ids.length), f32(Placement.shard(0), rows, 3)),
                            List.of(ids, shard))
                    .get(0);
            Arrays.setAll(sum, i -> sum[i] + part[i]);
        }
        for (int i = 0; i < sum.length; i++) {
            assertEquals(table[(int) ids[i / 3] * 3 + i % 3], sum[i]);
        }
    }

    /** From the split table to the split loss and back: all gradients get their dual types, and logits are never gathered. */
    @Test
    void aSplitVocabularyIsClosedUnderDifferentiation() {
        ProgramBuilder p = new ProgramBuilder("loss");
        Value ids = p.input("ids", i32(Placement.R, 2, 6));
        Value targets = p.input("targets", i32(Placement.R, 2, 6));
        Value table = p.input("table", f32(Placement.shard(0), 5, 8));
        Value x = p.apply(new AllReduce(TP, 1), p.apply(new Embedding(Operand.ABSENT, 5), ids, table));
        Value logits = p.apply(MatMul.plain(Transpose.W), p.apply(new Collective.Replicate(TP), x), table);
        assertEquals(f32(Placement.shard(2), 2, 6, 5), logits.type());
        Value statistics = p.apply(new AllGather(TP, 2, 0), p.apply(new RowLogSumExp(), logits));
        assertEquals(f32(Placement.R, 2, 2, 6), statistics.type());
        Value loss =
                p.apply(new AllReduce(TP, 1), p.apply(new ShardedCrossEntropy(SCALE, 5), logits, statistics, targets));
        for (Gradients mode : Gradients.values()) {
            Autodiff.Result result = Autodiff.differentiate(p.build(List.of(loss)), loss, List.of(table), mode);
            assertEquals(table.type(), result.gradients().get(table).type());
            assertTrue(result.backward().instructions().stream().noneMatch(i -> i.op() instanceof AllGather));
        }
    }

    @Test
    void whatDoesNotFitIsRefused() {
        Embedding lookup = new Embedding(Operand.ABSENT, 4);
        TensorType table = f32(Placement.shard(0), 4, 8);
        assertThrows(IllegalArgumentException.class, () -> lookup.infer(List.of(i32(Placement.shard(0), 2, 3), table)));
        TensorType logits = f32(Placement.shard(1), ROWS, 4);
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> new ShardedCrossEntropy(SCALE, 0)
                        .infer(List.of(logits, f32(Placement.shard(0), 1, ROWS), i32(Placement.R, ROWS))));
        assertTrue(e.getMessage().contains("gather dim 0"), e.getMessage());
        assertThrows(
                IllegalArgumentException.class, () -> new RowLogSumExp().infer(List.of(f32(Placement.P, ROWS, 4))));
    }

    private static List<double[]> run(Op op, int rank, List<double[]> in) {
        List<TensorType> types = List.of(
                f32(Placement.shard(1), ROWS, FIRST[rank + 1] - FIRST[rank]),
                f32(Placement.R, 3, ROWS),
                i32(Placement.R, ROWS));
        op.infer(types);
        return op.reference(types, in);
    }

    private static double[] columns(double[] logits, int rank) {
        int width = FIRST[rank + 1] - FIRST[rank];
        double[] shard = new double[ROWS * width];
        for (int e = 0; e < shard.length; e++) {
            shard[e] = logits[e / width * VOCABULARY + FIRST[rank] + e % width];
        }
        return shard;
    }

    private static double[] statistics(double[] logits) {
        List<Double> all = new ArrayList<>();
        for (int rank = 0; rank < 3; rank++) {
            TensorType type = f32(Placement.shard(1), ROWS, FIRST[rank + 1] - FIRST[rank]);
            double[] lse = new RowLogSumExp()
                    .reference(List.of(type), List.of(columns(logits, rank)))
                    .get(0);
            Arrays.stream(lse).forEach(all::add);
        }
        return all.stream().mapToDouble(Double::doubleValue).toArray();
    }

    /** -scale sum of log softmax, written out. */
    private static double wholeLoss(double[] logits) {
        double loss = 0;
        for (int r = 0; r < ROWS; r++) {
            double sum = 0;
            for (int v = 0; v < VOCABULARY; v++) {
                sum += Math.exp(logits[r * VOCABULARY + v]);
            }
            int target = (int) TARGETS[r];
            loss -= target < 0 ? 0 : SCALE * Math.log(Math.exp(logits[r * VOCABULARY + target]) / sum);
        }
        return loss;
    }
}
