package io.brazier.program;

import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.List;

/** Reads and writes of rows that an integer operand names. */
public sealed interface Lookup extends Op {

    /** y[..., :] = table[ids[...], :] (+ addend). ids i32 [B, T], table [V, D] -> y [B, T, D]. Ids outside [0, V) are undefined. */
    record Embedding(Operand addend) implements Lookup {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + addend.count());
            TensorType ids = in.get(0);
            TensorType table = in.get(1);
            Rules.dtype("ids", ids, DType.I32);
            Rules.dtype("table", table, DType.F32);
            Rules.require(table.shape().rank() == 2, "table " + table + " must have two dims");
            Rules.weightBeside("table", table, ids);
            List<Long> dims = new java.util.ArrayList<>(ids.shape().dims());
            dims.add(table.shape().width());
            TensorType y = new TensorType(DType.F32, new Shape(dims), ids.placements());
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
                                        ? g.emit(new EmbeddingGrad(rows, Operand.ABSENT), g.input(0), g.gradient(0))
                                        : g.emit(
                                                new EmbeddingGrad(rows, Operand.PRESENT),
                                                g.input(0),
                                                g.gradient(0),
                                                partial))
                                .get(0));
            }
            if (addend == Operand.PRESENT && g.wants(2)) {
                g.contribute(2, g.gradient(0));
            }
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
                y[i] += in.get(1)[(int) in.get(0)[i / width] * width + i % width];
            }
            return List.of(y);
        }
    }

    /** dtable[v, :] = sum of dy[i, :] where ids[i] = v (+ addend, which is consumed). Operands ids, dy, addend [V, D]. */
    record EmbeddingGrad(long vocabularySize, Operand addend) implements Lookup {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + addend.count());
            TensorType dy = in.get(1);
            TensorType result = Rules.weightGradient(
                    DType.F32, Shape.of(vocabularySize, dy.shape().width()), in.get(0), dy);
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(2), "the gradient", result);
            }
            return List.of(result);
        }

        @Override
        public double flops(List<TensorType> in) {
            return in.get(1).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.required(0, 2)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(1).shape().width();
            double[] dtable = addend == Operand.PRESENT ? in.get(2).clone() : new double[(int) vocabularySize * width];
            for (int i = 0; i < in.get(1).length; i++) {
                dtable[(int) in.get(0)[i / width] * width + i % width] += in.get(1)[i];
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
            Rules.dtype("rows", in.get(1), DType.I32);
            Rules.shape("rows", in.get(1), x.shape().dim(0));
            Rules.require(!x.placements().containsValue(Placement.shard(1)), "x " + x + " must hold whole sequences");
            return List.of(new TensorType(
                    DType.F32, Shape.of(x.shape().dim(0), x.shape().width()), java.util.Map.of()));
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
