package io.brazier.nn;

import io.brazier.tensor.Axis;
import io.brazier.tensor.ContextSplit;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import io.brazier.tensor.Range;
import java.util.List;

/**
 * The mesh as one rank sees it.
 *
 * @param sequenceParallel whether tp ranks share the tokens of hidden states outside of products (arXiv:2205.05198, sec. 4.2.2)
 */
public record RankView(Mesh mesh, int rank, boolean sequenceParallel) {

    /** One rank that holds all. */
    public static final RankView ALONE = new RankView(Mesh.dataParallel(1), 0, false);

    public int size(Axis axis) {
        return mesh.size(axis);
    }

    public int coordinate(Axis axis) {
        return mesh.coordinate(rank, axis);
    }

    /** The tp axis; empty when it has one rank. */
    public Group tensor() {
        return mesh.group(Axis.TP);
    }

    public boolean splitsSequence() {
        return sequenceParallel && mesh.tp() > 1;
    }

    /** Ranks whose data differs and that hold the same part of a parameter. */
    public Group dataGroup(ParameterSpec spec) {
        return Group.of(mesh.group(Axis.DP, Axis.CP, Axis.EP).axes().stream()
                .filter(axis -> !spec.isCut(axis))
                .toArray(Axis[]::new));
    }

    /** Replicas of the model that see other rows: dp times ep. */
    public int dataSize() {
        return mesh.dp() * mesh.ep();
    }

    /** Which of {@link #dataSize} this rank belongs to. */
    public int dataIndex() {
        return coordinate(Axis.DP) * mesh.ep() + coordinate(Axis.EP);
    }

    /** Tokens of a sequence that this rank's attention works on. */
    public List<Range> tokens(int sequenceLength) {
        return new ContextSplit(sequenceLength, mesh.cp(), coordinate(Axis.CP)).ranges();
    }

    /** Those of {@link #tokens} whose hidden states this rank keeps outside of products. */
    public List<Range> sequenceTokens(int sequenceLength) {
        List<Range> tokens = tokens(sequenceLength);
        if (!splitsSequence()) {
            return tokens;
        }
        long share = Range.total(tokens) / mesh.tp();
        long skip = coordinate(Axis.TP) * share;
        List<Range> held = new java.util.ArrayList<>();
        for (Range range : tokens) {
            long from = Math.max(0, skip);
            long to = Math.min(range.length(), skip + share);
            if (from < to) {
                held.add(new Range(range.start() + from, to - from));
            }
            skip -= range.length();
        }
        return held;
    }
}
