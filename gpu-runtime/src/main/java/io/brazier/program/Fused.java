package io.brazier.program;

import io.brazier.program.Elementwise.ActivateGrad;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.SumRows;
import io.brazier.program.Matrix.Transpose;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/** A product of backward that does in its epilogue what an op beside it would do. Type, cost and result are those of its parts. */
public interface Fused {

    /** What does the same, one after the other, at the operands and results of the whole. */
    List<Instruction> parts(Instruction whole);

    /**
     * dw = x^T dy (+ dw so far), db = sum over rows of dy (+ db so far): the gradients of a linear layer's parameters, reading dy once.
     *
     * <p>Shapes: x [..., K], dy [..., N] (, dw [K, N], db [N]) -> dw [K, N], db [N]. Placements of each part.
     *
     * @param addends whether there are sums so far, of both
     */
    record LinearGrad(Operand addends) implements Matrix, Fused {
        private MatMul product() {
            return MatMul.gradient(Transpose.X, addends);
        }

        private SumRows sum() {
            return new SumRows(addends);
        }

        /** Of x, dy, dw, db what the product takes. */
        private <T> List<T> ofProduct(List<T> operands) {
            return operands.subList(0, 2 + addends.count());
        }

        private <T> List<T> ofSum(List<T> operands) {
            return addends == Operand.PRESENT ? List.of(operands.get(1), operands.get(3)) : List.of(operands.get(1));
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + 2 * addends.count());
            return List.of(
                    product().infer(ofProduct(in)).get(0),
                    sum().infer(ofSum(in)).get(0));
        }

        @Override
        public double flops(List<TensorType> in) {
            return product().flops(ofProduct(in)) + sum().flops(ofSum(in));
        }

        @Override
        public List<Alias> aliases() {
            return addends == Operand.PRESENT ? List.of(Alias.allowed(0, 2), Alias.allowed(1, 3)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            List<double[]> gradients = new ArrayList<>(product().reference(ofProduct(types), ofProduct(in)));
            gradients.addAll(sum().reference(ofSum(types), ofSum(in)));
            return gradients;
        }

        @Override
        public List<Instruction> parts(Instruction whole) {
            List<Value> in = whole.inputs();
            List<Value> out = whole.outputs();
            return List.of(
                    new Instruction(product(), ofProduct(in), out.subList(0, 1), whole.path()),
                    new Instruction(sum(), ofSum(in), out.subList(1, 2), whole.path()));
        }
    }

    /**
     * dx = (dy w) gelu'(x), gelu by tanh: the gradient through a product and the activation before it.
     *
     * <p>Shapes: NONE: dy [..., K], w [K, N], x [..., N] -> dx [..., N]. W: w [N, K]. Placements of each part.
     */
    record MatMulGeluGrad(Transpose transpose) implements Matrix, Fused {
        private static final ActivateGrad SLOPE = new ActivateGrad(Function.GELU_TANH);

        private MatMul product() {
            return MatMul.plain(transpose);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            Rules.require(transpose != Transpose.X, "gradients of weights go through no activation");
            return SLOPE.infer(
                    List.of(in.get(2), product().infer(in.subList(0, 2)).get(0)));
        }

        @Override
        public double flops(List<TensorType> in) {
            return product().flops(in.subList(0, 2)) + SLOPE.flops(List.of(in.get(2)));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] product =
                    product().reference(types.subList(0, 2), in.subList(0, 2)).get(0);
            return SLOPE.reference(List.of(types.get(2), types.get(2)), List.of(in.get(2), product));
        }

        @Override
        public List<Instruction> parts(Instruction whole) {
            List<Value> in = whole.inputs();
            Value dx = whole.outputs().get(0);
            return List.of(
                    new Instruction(product(), in.subList(0, 2), List.of(dx), whole.path()),
                    new Instruction(SLOPE, List.of(in.get(2), dx), List.of(dx), whole.path()));
        }
    }
}
