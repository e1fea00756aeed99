package io.brazier.tests.ops;

import static io.brazier.tests.ops.OpCase.f32;
import static io.brazier.tests.ops.OpCase.ids;
import static io.brazier.tests.ops.OpCase.of;
import static io.brazier.tests.ops.OpCase.positive;

import io.brazier.program.BatchedMatMul;
import io.brazier.program.Elementwise;
import io.brazier.program.Experts;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Routing;
import io.brazier.program.Routing.Gates;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import java.util.List;

/** The rows of the table of ops for those of mixtures of experts; tolerances as in {@link OpCases}. */
final class ExpertsOpCases {
    private static final double ELEMENTWISE = 2e-6;
    private static final double SUMS = 1e-5;

    private ExpertsOpCases() {}

    static void addTo(List<OpCase> cases) {
        routing(cases);
        ties(cases);
        topKGrad(cases);
        balance(cases);
        moves(cases);
        products(cases);
        OpCase.Operand x = f32(3, 5);
        cases.add(of(
                new Elementwise.Share(Group.of(Axis.TP), 3),
                ELEMENTWISE,
                new OpCase.Operand(x.type().with(Axis.TP, Placement.R), x.low(), x.high())));
    }

    /** Sizes are {tokens.., experts}; the capacity is too small for some. */
    private static void routing(List<OpCase> cases) {
        for (long[] s : new long[][] {{1, 1}, {3, 5}, {2, 7, 8}, {40, 33}, {700, 64}}) {
            int width = (int) s[s.length - 1];
            cases.add(of(new Routing.Softmax(), SUMS, f32(s)));
            cases.add(of(new Routing.SoftmaxGrad(), SUMS, f32(s), f32(s)));
            for (int k : width < 4 ? new int[] {1} : new int[] {1, 2, 4}) {
                long[] chosen = s.clone();
                chosen[s.length - 1] = k;
                for (Gates gates : Gates.values()) {
                    cases.add(of(new Routing.TopK(k, gates), SUMS, positive(s)));
                }
                cases.add(of(new Routing.AssignSlots(width, 3), 0, ids(0, width, chosen)));
            }
        }
    }

    /** Equal probabilities: the lower index goes first. Too large for differences, which do not exist there. */
    private static void ties(List<OpCase> cases) {
        cases.add(of(
                new Routing.TopK(3, Gates.RENORMALISED),
                SUMS,
                new OpCase.Operand(f32(100, 8).type(), 0.125, 0.125)));
    }

    /** One expert renormalised has the gate 1 and no gradient, so there rounding alone would be compared. */
    private static void topKGrad(List<OpCase> cases) {
        for (int[] s : new int[][] {{1, 1, 1}, {50, 33, 1}, {3, 8, 2}, {700, 33, 4}}) {
            for (Gates gates : s[2] == 1 ? List.of(Gates.PROBABILITIES) : List.of(Gates.values())) {
                cases.add(of(
                        new Routing.TopKGrad(gates),
                        SUMS,
                        positive(s[0], s[1]),
                        ids(0, s[1], s[0], s[2]),
                        f32(s[0], s[2])));
            }
        }
    }

    private static void balance(List<OpCase> cases) {
        for (long[] s : new long[][] {{1, 1}, {2, 7, 8}, {400, 33}}) {
            long width = s[s.length - 1];
            Routing.LoadBalance loss = new Routing.LoadBalance(0.02, 2, 40);
            OpCase.Operand counts = new OpCase.Operand(f32(width).type(), 0, 30);
            cases.add(of(loss, SUMS, positive(s), counts));
            cases.add(of(new Routing.LoadBalanceGrad(loss), ELEMENTWISE, positive(s), counts, f32(1)));
        }
    }

    /** Sizes are {tokens, choices, experts, capacity, width}; about a quarter of the choices is dropped. */
    private static void moves(List<OpCase> cases) {
        for (int[] s : new int[][] {
            {1, 1, 1, 1, 1}, {5, 2, 4, 3, 7}, {40, 2, 8, 12, 33}, {300, 3, 8, 128, 96}, {9, 2, 3, 7, 520}
        }) {
            int dropped = Math.max(1, s[0] * s[1] / 4);
            OpCase.Operand slots =
                    new OpCase.Operand(ids(0, 1, s[0], s[1]).type(), -dropped, s[2] * s[3], OpCase.Draw.DISTINCT);
            OpCase.Operand x = f32(s[0], s[4]);
            OpCase.Operand buffer = f32(s[2], s[3], s[4]);
            OpCase.Operand gates = f32(s[0], s[1]);
            cases.add(of(new Experts.Dispatch(s[2], s[3], Operand.ABSENT), 0, x, slots));
            cases.add(of(new Experts.Dispatch(s[2], s[3], Operand.PRESENT), ELEMENTWISE, x, slots, gates));
            cases.add(of(new Experts.Combine(Operand.ABSENT), ELEMENTWISE, buffer, slots));
            cases.add(of(new Experts.Combine(Operand.PRESENT), ELEMENTWISE, buffer, slots, gates));
            cases.add(of(new Experts.GatesGrad(), SUMS, x, buffer, slots));
        }
    }

    private static void products(List<OpCase> cases) {
        for (long[] s : new long[][] {{1, 1, 1, 1}, {3, 5, 7, 4}, {4, 33, 65, 17}, {2, 200, 24, 96}}) {
            OpCase.Operand x = f32(s[0], s[1], s[3]);
            OpCase.Operand w = f32(s[0], s[3], s[2]);
            OpCase.Operand wTransposed = f32(s[0], s[2], s[3]);
            OpCase.Operand y = f32(s[0], s[1], s[2]);
            cases.add(of(BatchedMatMul.plain(Transpose.NONE), SUMS, x, w));
            cases.add(of(BatchedMatMul.plain(Transpose.W), SUMS, x, wTransposed));
            cases.add(of(BatchedMatMul.plain(Transpose.X), SUMS, x, y));
            cases.add(of(new BatchedMatMul(Transpose.NONE, Operand.PRESENT), SUMS, x, w, y));
            cases.add(of(new BatchedMatMul(Transpose.W, Operand.PRESENT), SUMS, x, wTransposed, y));
            cases.add(of(new BatchedMatMul(Transpose.X, Operand.PRESENT), SUMS, x, y, w));
        }
    }
}
