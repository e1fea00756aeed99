package io.brazier.program;

import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.List;

/** Reads and writes of rows that an integer operand names. */
public sealed interface Lookup extends Op {

    /**
     * y[..., :] = table[ids[...] - firstId, :] (+ addend). ids i32 [B, T], table [V, D] -> y [B, T, D]. Ids outside [firstId, firstId
     * + V) take zeros: where the table is S0, split by vocabulary, each rank looks up the ids that it holds and y is P
     * (arXiv:1909.08053, sec. 3). Ids are not split on such an axis.
     *
     * @param firstId id of the table's first row
     */
    record Embedding(Operand addend, long firstId) implements Lookup {

        /** Look-up in a whole table. */
        public Embedding(Operand addend) {
            this(addend, 0);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + addend.count());
            TensorType ids = in.get(0);
            TensorType table = in.get(1);
            Rules.dtype("ids", ids, DType.I32);
            Rules.floating("table", table);
            Rules.require(table.shape().rank() == 2, "table " + table + " must have two dims");
            List<Long> dims = new java.util.ArrayList<>(ids.shape().dims());
            dims.add(table.shape().width());
            TensorType y = new TensorType(table.dtype(), new Shape(dims), ids.placements());
            for (Axis axis : Axis.values()) {
                boolean splitRows = ids.on(axis) instanceof Placement.Sharded;
                if (table.on(axis).equals(Placement.shard(0)) && !splitRows) {
                    y = y.with(axis, Placement.P);
                } else {
                    Rules.weightBeside("table", table, ids, axis);
                }
            }
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(2), "the rows", y);
            }
            return List.of(y);
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(1)) {
                Value partial = g.partial(1);
                long rows = g.input(1).type().shape().dim(0);
                g.replace(
                        1,
                        (partial == null
                                        ? g.emit(
                                                new EmbeddingGrad(firstId, rows, Operand.ABSENT),
                                                g.input(0),
                                                g.gradient(0))
                                        : g.emit(
                                                new EmbeddingGrad(firstId, rows, Operand.PRESENT),
                                                g.input(0),
                                                g.gradient(0),
                                                partial))
                                .get(0));
            }
            if (addend == Operand.PRESENT && g.wants(2)) {
                g.contribute(2, g.gradient(0));
            }
        }

        /** Of the table only the rows that are looked up. */
        @Override
        public double bytes(List<TensorType> in) {
            return in.get(0).bytes() + (2.0 + addend.count()) * infer(in).get(0).bytes();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.allowed(0, 2)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(1).shape().width();
            double[] y = addend == Operand.PRESENT ? in.get(2).clone() : new double[in.get(0).length * width];
            for (int i = 0; i < y.length; i++) {
                int row = (int) (in.get(0)[i / width] - firstId);
                y[i] += row >= 0 && row < types.get(1).shape().dim(0) ? in.get(1)[row * width + i % width] : 0;
            }
            return List.of(y);
        }
    }

    /**
     * dtable[v, :] = sum of dy[i, :] where ids[i] = firstId + v (+ addend, which is consumed). Operands ids, dy, addend [V, D]. Where
     * dy is whole on an axis that does not split ids, the table was split by vocabulary and so is its gradient.
     *
     * @param numRows V, rows of the table on this rank
     */
    record EmbeddingGrad(long firstId, long numRows, Operand addend) implements Lookup {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + addend.count());
            TensorType ids = in.get(0);
            TensorType dy = in.get(1);
            Rules.floating("dy", dy);
            TensorType result = TensorType.of(DType.F32, numRows, dy.shape().width());
            for (Axis axis : Axis.values()) {
                Placement p = ids.on(axis);
                if (dy.on(axis).equals(Placement.R) && !(p instanceof Placement.Sharded)) {
                    result = result.with(axis, Placement.shard(0));
                    continue;
                }
                Rules.require(
                        dy.on(axis).equals(p.gradient()),
                        "dy " + dy + " is not placed as the gradient of rows of " + ids + " on axis " + axis);
                result = result.with(axis, p.equals(Placement.I) ? Placement.I : Placement.P);
            }
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(2), "the gradient", result);
            }
            return List.of(result);
        }

        @Override
        public double flops(List<TensorType> in) {
            return in.get(1).shape().numElements();
        }

        /** Rows of the result, f32, are read and written once for each row of dy, and all are zeroed where nothing is added to. */
        @Override
        public double bytes(List<TensorType> in) {
            TensorType result = infer(in).get(0);
            double zeroed = addend == Operand.PRESENT ? 0 : result.bytes();
            double added =
                    2.0 * in.get(1).shape().numElements() * result.dtype().bytes();
            return in.get(0).bytes() + in.get(1).bytes() + added + zeroed;
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.required(0, 2)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(1).shape().width();
            double[] dtable = addend == Operand.PRESENT ? in.get(2).clone() : new double[(int) numRows * width];
            for (int i = 0; i < in.get(1).length; i++) {
                int row = (int) (in.get(0)[i / width] - firstId);
                if (row >= 0 && row < numRows) {
                    dtable[row * width + i % width] += in.get(1)[i];
                }
            }
            return List.of(dtable);
        }
    }

    /** y[b, :] = x[b, rows[b], :]. x [B, T, D], rows i32 [B] in [0, T) -> y [B, D]. For inference. */
    record SelectToken() implements Lookup {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            TensorType x = in.get(0);
            Rules.require(x.shape().rank() == 3, "x " + x + " must be [B, T, D]");
            Rules.floating("x", x);
            Rules.dtype("rows", in.get(1), DType.I32);
            Rules.shape("rows", in.get(1), x.shape().dim(0));
            Rules.require(!x.placements().containsValue(Placement.shard(1)), "x " + x + " must hold whole sequences");
            return List.of(new TensorType(
                    x.dtype(), Shape.of(x.shape().dim(0), x.shape().width()), java.util.Map.of()));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            Shape x = types.get(0).shape();
            int width = (int) x.width();
            double[] y = new double[(int) x.dim(0) * width];
            for (int i = 0; i < y.length; i++) {
                int b = i / width;
                y[i] = in.get(0)[(int) ((b * x.dim(1) + (long) in.get(1)[b]) * width) + i % width];
            }
            return List.of(y);
        }
    }
}
