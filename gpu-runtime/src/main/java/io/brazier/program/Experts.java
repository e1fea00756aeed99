package io.brazier.program;

import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Moves tokens [..., D] to the slots of the experts' buffers [E, C, D] and back (GShard, arXiv:2006.16668, alg. 2, by index instead of
 * by one-hot products). slots i32 [..., k] is what {@link Routing.AssignSlots} gave: no slot twice, negative where dropped. Gates, when
 * there are any, are f32 like slots. {@link Dispatch} and {@link Combine} are each other's transpose.
 *
 * <p>Placements on each axis: tokens S(dim), slots and gates like them, beside a buffer S1, whose C over all ranks is the concatenation
 * of their buffers. Else the tokens are whole, slots I or R, and one of tokens (or buffer) and gates may be a partial sum: R x R -> R,
 * P x R and R x P -> P, I x I -> I.
 */
public sealed interface Experts extends Op {

    /** buffer[slot of choice j of token n] = gates[n, j] x[n], 0 in empty slots. x [..., D], slots, gates -> buffer [E, C, D]. */
    record Dispatch(int numExperts, long capacity, Operand gates) implements Experts {
        public Dispatch {
            Rules.slots(numExperts, capacity);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + gates.count());
            TensorType x = in.get(0);
            TensorType slots = in.get(1);
            checkTokens("x", x, slots);
            checkGates(in);
            TensorType buffer = new TensorType(
                    x.dtype(), Shape.of(numExperts, capacity, x.shape().width()), Map.of());
            for (Axis axis : Axis.values()) {
                Placement p = gated(axis, "x", x, slots, gates == Operand.PRESENT ? in.get(2) : null);
                buffer = buffer.with(axis, p instanceof Placement.Sharded ? Placement.shard(1) : p);
            }
            return List.of(buffer);
        }

        @Override
        public void differentiate(GradientBuilder g) {
            Value dbuffer = g.gradient(0);
            Value slots = g.input(1);
            if (g.wants(0)) {
                Combine back = new Combine(gates);
                g.contribute(
                        0,
                        (gates == Operand.PRESENT
                                        ? g.emit(back, dbuffer, slots, g.input(2))
                                        : g.emit(back, dbuffer, slots))
                                .get(0));
            }
            if (gates == Operand.PRESENT && g.wants(2)) {
                g.contribute(
                        2, g.emit(new GatesGrad(), g.input(0), dbuffer, slots).get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return gates == Operand.PRESENT ? slotted(in.get(1), in.get(0)) : 0;
        }

        /** Filled slots are read and all are written. */
        @Override
        public double bytes(List<TensorType> in) {
            double buffer = infer(in).get(0).bytes();
            double read = slotted(in.get(1), in.get(0)) * in.get(0).dtype().bytes();
            return Math.min(read, buffer) + buffer + in.get(1).bytes();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            int k = (int) types.get(1).shape().width();
            double[] buffer = new double[(int) (numExperts * capacity * width)];
            for (int a = 0; a < in.get(1).length; a++) {
                int slot = (int) in.get(1)[a];
                for (int i = 0; slot >= 0 && i < width; i++) {
                    buffer[slot * width + i] =
                            in.get(0)[a / k * width + i] * (gates == Operand.PRESENT ? in.get(2)[a] : 1);
                }
            }
            return List.of(buffer);
        }
    }

    /** y[n] = sum over choices j of gates[n, j] buffer[slot], without the dropped. buffer [E, C, D], slots, gates -> y [..., D]. */
    record Combine(Operand gates) implements Experts {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + gates.count());
            TensorType buffer = in.get(0);
            TensorType slots = in.get(1);
            checkBuffer(buffer, slots);
            checkGates(in);
            TensorType y = new TensorType(
                    buffer.dtype(), slots.shape().withWidth(buffer.shape().width()), Map.of());
            for (Axis axis : Axis.values()) {
                y = y.with(axis, gated(axis, "buffer", buffer, slots, gates == Operand.PRESENT ? in.get(2) : null));
            }
            return List.of(y);
        }

        @Override
        public void differentiate(GradientBuilder g) {
            Value dy = g.gradient(0);
            Value slots = g.input(1);
            if (g.wants(0)) {
                Shape buffer = g.input(0).type().shape();
                Dispatch back = new Dispatch((int) buffer.dim(0), buffer.dim(1), gates);
                g.contribute(
                        0,
                        (gates == Operand.PRESENT ? g.emit(back, dy, slots, g.input(2)) : g.emit(back, dy, slots))
                                .get(0));
            }
            if (gates == Operand.PRESENT && g.wants(2)) {
                g.contribute(2, g.emit(new GatesGrad(), dy, g.input(0), slots).get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 2 * slotted(in.get(1), in.get(0));
        }

        @Override
        public double bytes(List<TensorType> in) {
            double read = slotted(in.get(1), in.get(0)) * in.get(0).dtype().bytes();
            return Math.min(read, in.get(0).bytes())
                    + in.get(1).bytes()
                    + infer(in).get(0).bytes();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            int k = (int) types.get(1).shape().width();
            double[] y = new double[in.get(1).length / k * width];
            for (int a = 0; a < in.get(1).length; a++) {
                int slot = (int) in.get(1)[a];
                for (int i = 0; slot >= 0 && i < width; i++) {
                    y[a / k * width + i] += in.get(0)[slot * width + i] * (gates == Operand.PRESENT ? in.get(2)[a] : 1);
                }
            }
            return List.of(y);
        }
    }

    /** dgates[n, j] = x[n] . buffer[slot], 0 where dropped. Operands x [..., D], buffer [E, C, D], slots -> f32 [..., k]. */
    record GatesGrad() implements Experts {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            TensorType x = in.get(0);
            TensorType buffer = in.get(1);
            TensorType slots = in.get(2);
            checkTokens("x", x, slots);
            checkBuffer(buffer, slots);
            Rules.require(
                    x.shape().width() == buffer.shape().width() && x.dtype() == buffer.dtype(),
                    "x " + x + " and buffer " + buffer + " differ in D or dtype");
            TensorType dgates = new TensorType(DType.F32, slots.shape(), Map.of());
            for (Axis axis : Axis.values()) {
                dgates = dgates.with(axis, gated(axis, "buffer", buffer, slots, x));
            }
            return List.of(dgates);
        }

        @Override
        public double flops(List<TensorType> in) {
            return 2 * slotted(in.get(2), in.get(0));
        }

        @Override
        public double bytes(List<TensorType> in) {
            double read = slotted(in.get(2), in.get(1)) * in.get(1).dtype().bytes();
            return Math.min(read, in.get(1).bytes())
                    + in.get(0).bytes()
                    + 2.0 * in.get(2).bytes();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            int k = (int) types.get(2).shape().width();
            double[] dgates = new double[in.get(2).length];
            for (int a = 0; a < dgates.length; a++) {
                int slot = (int) in.get(2)[a];
                for (int i = 0; slot >= 0 && i < width; i++) {
                    dgates[a] += in.get(0)[a / k * width + i] * in.get(1)[slot * width + i];
                }
            }
            return List.of(dgates);
        }
    }

    /** Elements of the rows of all choices, those of dropped ones included. */
    private static double slotted(TensorType slots, TensorType rows) {
        return (double) slots.shape().numElements() * rows.shape().width();
    }

    private static void checkTokens(String operand, TensorType x, TensorType slots) {
        Rules.floating(operand, x);
        List<Long> choices = new ArrayList<>(slots.shape().dims());
        choices.set(choices.size() - 1, x.shape().width());
        Rules.require(
                x.shape().dims().equals(choices),
                "slots " + slots + " must have one row of choices for each token of " + operand + " " + x);
    }

    /** The third operand, where there is one. */
    private static void checkGates(List<TensorType> in) {
        if (in.size() == 3) {
            Rules.dtype("gates", in.get(2), DType.F32);
        }
    }

    private static void checkBuffer(TensorType buffer, TensorType slots) {
        Rules.floating("buffer", buffer);
        Rules.require(
                buffer.shape().rank() == 3 && slots.shape().rank() > 1,
                "buffer " + buffer + " and slots " + slots + " must be [E, C, D] and [..., k]");
    }

    /** Placement of gates times data beside slots, sharded like slots when they are; gates may be null for none. */
    private static Placement gated(Axis axis, String operand, TensorType data, TensorType slots, TensorType gates) {
        Rules.dtype("slots", slots, DType.I32);
        Rules.wholeRows("slots", slots);
        Placement s = slots.on(axis);
        Placement d = data.on(axis);
        Placement g = gates == null ? d.equals(Placement.I) ? Placement.I : Placement.R : gates.on(axis);
        String refusal = operand + " " + data + " beside slots " + slots + (gates == null ? "" : " and " + gates)
                + " on axis " + axis;
        if (s instanceof Placement.Sharded) {
            boolean buffered = operand.equals("buffer");
            Rules.require(d.equals(buffered ? Placement.shard(1) : s), refusal + " must be split by tokens");
            Rules.require(gates == null || g.equals(s), refusal + " must be split by tokens");
            return s;
        }
        boolean invariant = d.equals(Placement.I) && g.equals(Placement.I);
        boolean replicated = d.equals(Placement.R) && g.equals(Placement.R);
        boolean partial =
                d.equals(Placement.P) && g.equals(Placement.R) || d.equals(Placement.R) && g.equals(Placement.P);
        Rules.require(
                invariant || replicated || partial, refusal + " must be replicated, one of them a partial sum at most");
        return partial ? Placement.P : d;
    }
}
