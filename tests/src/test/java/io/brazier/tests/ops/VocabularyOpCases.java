package io.brazier.tests.ops;

import static io.brazier.tests.ops.OpCase.f32;
import static io.brazier.tests.ops.OpCase.ids;
import static io.brazier.tests.ops.OpCase.of;

import io.brazier.program.Lookup;
import io.brazier.program.Loss;
import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Placement;
import java.util.Arrays;
import java.util.List;

/** The rows of the table of ops for look-ups and losses, over a whole vocabulary or a shard; tolerances as in {@link OpCases}. */
final class VocabularyOpCases {
    private static final double ELEMENTWISE = 2e-6;
    private static final double SUMS = 1e-5;

    private VocabularyOpCases() {}

    static void addTo(List<OpCase> cases) {
        lookups(cases);
        shardedLookups(cases);
        losses(cases);
        shardedLosses(cases);
    }

    private static void lookups(List<OpCase> cases) {
        for (long[] s : new long[][] {{1, 1, 2, 1}, {2, 5, 7, 3}, {3, 40, 11, 33}, {2, 1100, 9, 16}, {1, 3, 5, 2056}}) {
            long[] rows = {s[0], s[1]};
            long[] wide = {s[0], s[1], s[3]};
            cases.add(of(new Lookup.Embedding(Operand.ABSENT), 0, ids(0, s[2], rows), f32(s[2], s[3])));
            cases.add(of(
                    new Lookup.Embedding(Operand.PRESENT),
                    ELEMENTWISE,
                    ids(0, s[2], rows),
                    f32(s[2], s[3]),
                    f32(wide)));
            cases.add(of(new Lookup.EmbeddingGrad(0, s[2], Operand.ABSENT), SUMS, ids(0, s[2], rows), f32(wide)));
            cases.add(of(
                    new Lookup.EmbeddingGrad(0, s[2], Operand.PRESENT),
                    SUMS,
                    ids(0, s[2], rows),
                    f32(wide),
                    f32(s[2], s[3])));
            cases.add(of(new Lookup.SelectToken(), 0, f32(wide), ids(0, s[1], s[0])));
        }
    }

    private static void losses(List<OpCase> cases) {
        for (long[] s : new long[][] {{1, 2}, {3, 5}, {2, 9, 131}, {20, 1025}, {3, 2064}}) {
            long[] rows = Arrays.copyOf(s, s.length - 1);
            long width = s[s.length - 1];
            cases.add(of(new Loss.CrossEntropy(0.25), SUMS, f32(s), ids(-1, width, rows)));
            cases.add(of(
                    new Loss.CrossEntropyGrad(0.25, 0),
                    SUMS,
                    f32(s),
                    new OpCase.Operand(f32(rows).type(), 2, 6),
                    ids(-1, width, rows),
                    f32(1)));
            cases.add(of(new Loss.TokenLogLikelihood(), SUMS, f32(s), ids(-1, width, rows)));
        }
    }

    /** Ids below, within and above those of the table. */
    private static void shardedLookups(List<OpCase> cases) {
        for (long[] s : new long[][] {{2, 9, 4, 3}, {3, 70, 11, 300}}) {
            OpCase.Operand ids = ids(0, 3 * s[2], s[0], s[1]);
            OpCase.Operand rows = f32(s[0], s[1], s[3]);
            OpCase.Operand table = f32(s[2], s[3]);
            for (long firstId : new long[] {0, s[2], 2 * s[2] + 1}) {
                cases.add(of(new Lookup.Embedding(Operand.ABSENT, firstId), 0, ids, placed(table, Placement.shard(0))));
                cases.add(of(
                        new Lookup.Embedding(Operand.PRESENT, firstId),
                        ELEMENTWISE,
                        ids,
                        placed(table, Placement.shard(0)),
                        placed(rows, Placement.P)));
                cases.add(of(
                        new Lookup.EmbeddingGrad(firstId, s[2], Operand.ABSENT), SUMS, ids, placed(rows, Placement.R)));
                cases.add(of(
                        new Lookup.EmbeddingGrad(firstId, s[2], Operand.PRESENT),
                        SUMS,
                        ids,
                        placed(rows, Placement.R),
                        placed(table, Placement.shard(0))));
            }
        }
    }

    private static void shardedLosses(List<OpCase> cases) {
        for (long[] s : new long[][] {{3, 5}, {2, 9, 131}, {70, 1025}}) {
            long[] rows = Arrays.copyOf(s, s.length - 1);
            long width = s[s.length - 1];
            OpCase.Operand logits = placed(f32(s), Placement.shard(s.length - 1));
            OpCase.Operand targets = ids(-1, 3 * width, rows);
            long[] stacked = new long[s.length];
            System.arraycopy(rows, 0, stacked, 1, rows.length);
            cases.add(of(new Loss.RowLogSumExp(), SUMS, logits));
            for (int shards : new int[] {1, 3}) {
                stacked[0] = shards;
                OpCase.Operand statistics =
                        placed(new OpCase.Operand(f32(stacked).type(), 2, 6), Placement.R);
                cases.add(of(new Loss.ShardedCrossEntropy(0.25, width), SUMS, logits, statistics, targets));
                cases.add(of(new Loss.ShardedTokenLogLikelihood(2 * width), SUMS, logits, statistics, targets));
            }
            cases.add(of(
                    new Loss.CrossEntropyGrad(0.25, width),
                    SUMS,
                    logits,
                    placed(new OpCase.Operand(f32(rows).type(), 2, 6), Placement.R),
                    targets,
                    placed(f32(1), Placement.R)));
        }
    }

    private static OpCase.Operand placed(OpCase.Operand x, Placement placement) {
        return new OpCase.Operand(x.type().with(Axis.TP, placement), x.low(), x.high());
    }
}
