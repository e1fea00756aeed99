package io.brazier.program;

import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * Products of operands in eight bits, each tensor with a scale of its own that follows from what was seen in earlier steps: delayed
 * scaling (arXiv:2209.05433, sec. 3; NVIDIA Transformer Engine's recipe without margin).
 *
 * <p>Every product of forward has a state f32 [3, 32], a row for each {@link Role}: 1 / scale, scale, the largest magnitude seen in
 * this step, 13 unused, and those of the last 16 steps, the newest first. A scale of 0 says that nothing but zeros was seen yet.
 */
public sealed interface Scaled extends Op permits Scaled.ScaledMatMul, Scaled.NextScales {
    /** Elements of a tensor's row of the state. */
    int WIDTH = 32;

    /** Places in the row. */
    int INVERSE = 0;

    int SCALE = 1;
    int SEEN = 2;

    /** Where the largest magnitudes of the last steps begin. */
    int HISTORY = 16;

    /** What a tensor is to the product that forward computes; its row of the state. */
    enum Role {
        INPUT(Float8.E4M3),
        WEIGHT(Float8.E4M3),
        GRADIENT(Float8.E5M2);

        private final Float8 type;

        Role(Float8 type) {
            this.type = type;
        }

        public Float8 type() {
            return type;
        }
    }

    /** Type of a product's state. Ranks have different ones where they see different tensors. */
    static TensorType state() {
        return TensorType.of(DType.F32, Role.values().length, WIDTH);
    }

    /** Finite and not 0, so that it can tell a scale. */
    private static boolean tells(float magnitude) {
        return magnitude > 0 && magnitude < Float.POSITIVE_INFINITY;
    }

    private static void setScale(double[] state, int row, float scale) {
        state[row + SCALE] = scale;
        state[row + INVERSE] = scale == 0 ? 0 : 1 / scale;
    }

    /**
     * y = (q(x) q(w)) / (scale of x * scale of w) + bias + addend, where q(t) is t * scale of t as a {@link Float8}. An infinity is no
     * number then, so that a step that overflowed is noticed. A scale that is 0 is set to what suits the tensor at hand, and stays so
     * for the rest of the step.
     *
     * <p>Operands x, w, state f32 [3, 32] and then as {@link MatMul}, whose shapes and placements these are. Outputs y and, in place,
     * the state with the magnitudes of x and w taken note of: that may be read in any order, since only the next step uses it.
     * Backward keeps x and w.
     *
     * @param product without activation
     * @param x row of x in the state
     * @param w row of w in the state
     */
    record ScaledMatMul(MatMul product, Role x, Role w) implements Scaled {

        /** Contracted dim, rows and columns of every product of forward and backward must be multiples of this. */
        public static final int MULTIPLE = 16;

        /** A product of forward. */
        public static ScaledMatMul of(MatMul product) {
            return new ScaledMatMul(product, Role.INPUT, Role.WEIGHT);
        }

        private static <T> List<T> without(List<T> operands) {
            List<T> plain = new ArrayList<>(operands);
            plain.remove(2);
            return plain;
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.require(in.size() > 2, "takes at least 3 operands, not " + in.size());
            Rules.same("state", in.get(2), "a state", Scaled.state());
            TensorType y = product.infer(without(in)).get(0);
            long n = y.shape().width();
            long m = y.shape().rows();
            long k = in.get(0).shape().numElements() / m;
            Rules.require(
                    m % MULTIPLE == 0 && n % MULTIPLE == 0 && k % MULTIPLE == 0,
                    "[" + m + ", " + k + "] by [" + k + ", " + n + "] must be multiples of " + MULTIPLE);
            return List.of(y, in.get(2));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            Value in = g.input(0);
            Value weight = g.input(1);
            Value dy = g.gradient(0);
            switch (product.transpose()) {
                case NONE -> {
                    add(g, 1, Transpose.X, Role.INPUT, in, Role.GRADIENT, dy);
                    add(g, 0, Transpose.W, Role.GRADIENT, dy, Role.WEIGHT, weight);
                }
                case W -> {
                    add(g, 1, Transpose.X, Role.GRADIENT, dy, Role.INPUT, in);
                    add(g, 0, Transpose.NONE, Role.GRADIENT, dy, Role.WEIGHT, weight);
                }
                case X -> throw new IllegalArgumentException("a weight-gradient product is not differentiated again");
            }
            int bias = product.bias().count();
            if (bias == 1) {
                Matrix.add(g, 3, Matrix.SumRows::new, dy);
            }
            if (product.addend() == Operand.PRESENT && g.wants(3 + bias)) {
                g.contribute(3 + bias, dy);
            }
        }

        private static void add(
                GradientBuilder g, int input, Transpose transpose, Role left, Value x, Role right, Value w) {
            Matrix.add(
                    g,
                    input,
                    addend -> new ScaledMatMul(MatMul.gradient(transpose, addend), left, right),
                    x,
                    w,
                    g.input(2));
        }

        @Override
        public double flops(List<TensorType> in) {
            return product.flops(without(in));
        }

        /** Those of the product in eight bits, and those of making the eight bits. */
        @Override
        public double bytes(List<TensorType> in) {
            double numElements =
                    (double) in.get(0).shape().numElements() + in.get(1).shape().numElements();
            return product.bytes(without(in)) + 2 * numElements;
        }

        @Override
        public List<Alias> aliases() {
            List<Alias> aliases = new ArrayList<>(List.of(Alias.required(1, 2)));
            product.aliases().forEach(a -> aliases.add(Alias.allowed(0, a.input() + 1)));
            return aliases;
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] state = in.get(2).clone();
            List<double[]> operands = new ArrayList<>(without(in));
            operands.set(0, quantised(operands.get(0), state, x));
            operands.set(1, quantised(operands.get(1), state, w));
            return List.of(product.reference(without(types), operands).get(0), state);
        }

        /** What the product sees of a tensor: its numbers of eight bits, divided by the scale. */
        private static double[] quantised(double[] tensor, double[] state, Role role) {
            int row = role.ordinal() * WIDTH;
            float seen = 0;
            for (double v : tensor) {
                // Comparisons pass over what is no number.
                seen = Math.abs(v) > seen ? (float) Math.abs(v) : seen;
            }
            state[row + SEEN] = Math.max(state[row + SEEN], seen);
            if (state[row + SCALE] == 0) {
                setScale(state, row, tells(seen) ? role.type().scaleOf(seen) : 1);
            }
            float scale = (float) state[row + SCALE];
            double[] result = new double[tensor.length];
            for (int i = 0; i < tensor.length; i++) {
                boolean finite = Math.abs(tensor[i]) < Double.POSITIVE_INFINITY;
                float scaled = Math.max(-Float.MAX_VALUE, Math.min(Float.MAX_VALUE, (float) tensor[i] * scale));
                result[i] = finite ? role.type().round(scaled) * state[row + INVERSE] : Double.NaN;
            }
            return result;
        }
    }

    /**
     * The states for the next step, in place: each scale is the largest number of its type over the largest magnitude of the last 16
     * steps, 0 where that is 0, and nothing is seen yet. A step that was not accepted leaves no trace.
     *
     * <p>Operands states f32 [3 P, 32] of P products and accepted f32 [1], not 0 for a step that updated the weights; output states.
     */
    record NextScales() implements Scaled {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            long rows = in.get(0).shape().rows();
            Rules.dtype("states", in.get(0), DType.F32);
            Rules.require(rows % Role.values().length == 0, "states " + in.get(0) + " must have three rows a product");
            Rules.shape("states", in.get(0), rows, WIDTH);
            Rules.dtype("accepted", in.get(1), DType.F32);
            Rules.shape("accepted", in.get(1), 1);
            return List.of(in.get(0));
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.required(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] states = in.get(0).clone();
            for (int row = 0; row < states.length; row += WIDTH) {
                float seen = (float) states[row + SEEN];
                if (in.get(1)[0] != 0 && seen < Float.POSITIVE_INFINITY) {
                    System.arraycopy(states, row + HISTORY, states, row + HISTORY + 1, WIDTH - HISTORY - 1);
                    states[row + HISTORY] = seen;
                }
                states[row + SEEN] = 0;
                float largest = 0;
                for (int x = row + HISTORY; x < row + WIDTH; x++) {
                    largest = Math.max(largest, (float) states[x]);
                }
                Role role = Role.values()[row / WIDTH % Role.values().length];
                setScale(states, row, tells(largest) ? role.type().scaleOf(largest) : 0);
            }
            return List.of(states);
        }
    }
}
