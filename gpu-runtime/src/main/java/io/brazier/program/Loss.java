package io.brazier.program;

import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Cross-entropy fused with softmax: probabilities are never stored. A target of -1 takes no loss. */
public sealed interface Loss extends Op {

    /**
     * loss = scale sum over rows of (lse - logits[target]), lse = log sum exp(logits). logits [..., V], targets i32 [...] -> loss
     * f32 [1], lse [...]. Rows S -> loss P. Backward keeps logits, lse, targets.
     */
    record CrossEntropy(double scale) implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            checkRows(in.get(0), in.get(1));
            return List.of(lossOf(in.get(0)), Rules.perRow(in.get(0)));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0,
                        g.emit(new CrossEntropyGrad(scale, 0), g.input(0), g.output(1), g.input(1), g.gradient(0))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] lse = new double[in.get(1).length];
            double loss = 0;
            for (int r = 0; r < lse.length; r++) {
                lse[r] = logSumExp(in.get(0), r, width);
                int target = (int) in.get(1)[r];
                loss += target < 0 ? 0 : scale * (lse[r] - in.get(0)[r * width + target]);
            }
            return List.of(new double[] {loss}, lse);
        }
    }

    /**
     * dlogits = (exp(logits - lse) - onehot(target - firstId)) scale dloss, 0 where target is -1. Operands logits, lse, targets,
     * dloss [1]. Logits may be a shard of the vocabulary, with lse that of all shards.
     *
     * @param firstId id of the first logit
     */
    record CrossEntropyGrad(double scale, long firstId) implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4);
            checkTargets(in.get(0), in.get(2));
            Rules.same("lse", in.get(1), "the statistics of rows", rows(in.get(0), Placement.R));
            Rules.dtype("dloss", in.get(3), DType.F32);
            return List.of(in.get(0).gradient());
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] d = new double[in.get(0).length];
            for (int i = 0; i < d.length; i++) {
                int target = (int) in.get(2)[i / width];
                boolean hit = target - firstId == i % width;
                double p = Math.exp(in.get(0)[i] - in.get(1)[i / width]) - (hit ? 1 : 0);
                d[i] = target < 0 ? 0 : p * scale * in.get(3)[0];
            }
            return List.of(d);
        }
    }

    /** out = logits[target] - lse, the log-likelihood of each target, 0 where target is -1. logits [..., V], targets [...]. */
    record TokenLogLikelihood() implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            checkRows(in.get(0), in.get(1));
            return List.of(Rules.perRow(in.get(0)));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] out = new double[in.get(1).length];
            for (int r = 0; r < out.length; r++) {
                int target = (int) in.get(1)[r];
                out[r] = target < 0 ? 0 : in.get(0)[r * width + target] - logSumExp(in.get(0), r, width);
            }
            return List.of(out);
        }
    }

    /**
     * Log-sum-exp of each row of a shard of the vocabulary, under a leading dim that stacks the shards: logits [..., V / n], S of
     * its last dim -> f32 [1, ...], S0. An all-gather of dim 0 makes of it what {@link ShardedCrossEntropy} takes, so that ranks
     * exchange a number per row in place of its logits (arXiv:1909.08053, sec. 3). Shards may be uneven. Has no gradient of its
     * own.
     */
    record RowLogSumExp() implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            checkLogits(in.get(0));
            return List.of(stacked(in.get(0), 1, Placement.shard(0)));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] lse = new double[in.get(0).length / width];
            for (int r = 0; r < lse.length; r++) {
                lse[r] = logSumExp(in.get(0), r, width);
            }
            return List.of(lse);
        }
    }

    /**
     * {@link CrossEntropy} over a vocabulary that is split: each rank adds up the rows whose target is among its ids. Operands
     * logits [..., V / n] S of the last dim, statistics f32 [n, ...] gathered from {@link RowLogSumExp}, targets i32 [...] -> loss
     * f32 [1] P, lse f32 [...] R. The gradient of the logits, which contains that through the statistics, needs no exchange.
     *
     * @param firstId id of the first logit of this rank
     */
    record ShardedCrossEntropy(double scale, long firstId) implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            TensorType logits = in.get(0);
            checkStatistics(logits, in.get(1));
            checkTargets(logits, in.get(2));
            return List.of(lossOf(logits), rows(logits, Placement.R));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0,
                        g.emit(new CrossEntropyGrad(scale, firstId), g.input(0), g.output(1), g.input(2), g.gradient(0))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(1).shape().numElements();
        }

        /** Of the logits one a row. */
        @Override
        public double bytes(List<TensorType> in) {
            return in.get(1).bytes() + 3.0 * in.get(2).bytes();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] lse = combined(in.get(1), in.get(2).length);
            double loss = 0;
            for (int r = 0; r < lse.length; r++) {
                int id = (int) (in.get(2)[r] - firstId);
                loss += id >= 0 && id < width ? scale * (lse[r] - in.get(0)[r * width + id]) : 0;
            }
            return List.of(new double[] {loss}, lse);
        }
    }

    /**
     * {@link TokenLogLikelihood} over a vocabulary that is split; operands as of {@link ShardedCrossEntropy} -> f32 [...], P: 0 on
     * all ranks but the one that holds the target.
     *
     * @param firstId id of the first logit of this rank
     */
    record ShardedTokenLogLikelihood(long firstId) implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            checkStatistics(in.get(0), in.get(1));
            checkTargets(in.get(0), in.get(2));
            return List.of(rows(in.get(0), Placement.P));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(1).shape().numElements();
        }

        /** Of the logits one a row. */
        @Override
        public double bytes(List<TensorType> in) {
            return in.get(1).bytes() + 3.0 * in.get(2).bytes();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] out = combined(in.get(1), in.get(2).length);
            for (int r = 0; r < out.length; r++) {
                int id = (int) (in.get(2)[r] - firstId);
                out[r] = id >= 0 && id < width ? in.get(0)[r * width + id] - out[r] : 0;
            }
            return List.of(out);
        }
    }

    private static void checkRows(TensorType logits, TensorType targets) {
        Rules.wholeRows("logits", logits);
        checkTargets(logits, targets);
    }

    private static void checkTargets(TensorType logits, TensorType targets) {
        checkLogits(logits);
        Rules.dtype("targets", targets, DType.I32);
        Rules.require(
                targets.shape().equals(rows(logits, Placement.R).shape()),
                "targets " + targets + " must have one id for each row of logits " + logits);
    }

    private static void checkLogits(TensorType logits) {
        Rules.floating("logits", logits);
        Rules.require(
                !logits.placements().containsValue(Placement.P),
                "logits " + logits + " are a partial sum: all-reduce them first");
    }

    private static void checkStatistics(TensorType logits, TensorType statistics) {
        TensorType needed = stacked(logits, statistics.shape().dim(0), Placement.R);
        Rules.require(
                statistics.equals(needed),
                "statistics " + statistics + " beside logits " + logits + " must be " + needed
                        + ": gather dim 0 of their row_log_sum_exp");
    }

    /** A loss is a partial sum where rows or the vocabulary are split. */
    private static TensorType lossOf(TensorType logits) {
        TensorType loss = TensorType.of(DType.F32, 1);
        for (Axis axis : Axis.values()) {
            Placement p = logits.on(axis);
            loss = loss.with(axis, p instanceof Placement.Sharded ? Placement.P : p);
        }
        return loss;
    }

    /** One number per row, placed as said where the vocabulary is split. */
    private static TensorType rows(TensorType logits, Placement split) {
        Placement vocabulary = Placement.shard(logits.shape().rank() - 1);
        TensorType rows = logits;
        for (Axis axis : Axis.values()) {
            rows = logits.on(axis).equals(vocabulary) ? rows.with(axis, split) : rows;
        }
        return Rules.perRow(rows);
    }

    /** One number per shard and row, placed as said where the vocabulary is split. */
    private static TensorType stacked(TensorType logits, long shards, Placement split) {
        Placement vocabulary = Placement.shard(logits.shape().rank() - 1);
        List<Long> dims = new ArrayList<>(rows(logits, Placement.R).shape().dims());
        dims.add(0, shards);
        TensorType result = new TensorType(DType.F32, new Shape(dims), Map.of());
        for (Axis axis : Axis.values()) {
            Placement p = logits.on(axis);
            Placement shifted = p instanceof Placement.Sharded s ? Placement.shard(s.dim() + 1) : p;
            result = result.with(axis, p.equals(vocabulary) ? split : shifted);
        }
        return result;
    }

    private static double logSumExp(double[] logits, int row, int width) {
        double[] x = Arrays.copyOfRange(logits, row * width, (row + 1) * width);
        double max = Arrays.stream(x).max().orElseThrow();
        return max + Math.log(Arrays.stream(x).map(v -> Math.exp(v - max)).sum());
    }

    /** The log-sum-exp of each row from those of its shards. */
    private static double[] combined(double[] statistics, int numRows) {
        double[] lse = new double[numRows];
        for (int r = 0; r < numRows; r++) {
            double[] shards = new double[statistics.length / numRows];
            for (int shard = 0; shard < shards.length; shard++) {
                shards[shard] = statistics[shard * numRows + r];
            }
            lse[r] = logSumExp(shards, 0, shards.length);
        }
        return lse;
    }
}
