package io.brazier.nn;

import io.brazier.program.Attention.Heads;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import java.util.ArrayList;
import java.util.List;

/**
 * A decoder as a sequence of pieces that pipeline stages share among themselves: piece 0 embeds, pieces 1 … L are blocks, piece
 * L + 1 normalises and gives logits. Hidden states between pieces are [B, T, D], as {@link ModelBuilder#hiddenType} places them.
 */
public sealed interface Model permits Gpt, Llama {

    /** Where a block's attention finds its keys and values: gives o [B, T, H K] of qkv [B, T, (H + 2 G) K]. */
    interface AttentionRule {
        Value attend(int layer, Value qkv);
    }

    ModelConfig config();

    default int numPieces() {
        return config().numLayers() + 2;
    }

    /** Parameters that a piece uses, in the order of use. A tied head uses the embedding's. */
    List<ParameterSpec> parameters(int piece);

    /** FLOPs of a piece for one token of a sequence of T, forward. */
    default double flopsPerToken(int piece, int sequenceLength) {
        double flops = 0;
        for (ParameterSpec spec : parameters(piece)) {
            boolean table = piece == 0;
            double active = spec.isCut(Axis.EP) ? config().activeExpertShare() : 1;
            flops += table || spec.shape().rank() < 2
                    ? 0
                    : 2.0 * active * spec.shape().numElements();
        }
        boolean block = piece > 0 && piece <= config().numLayers();
        return flops + (block ? 2.0 * sequenceLength * config().numHeads() * config().headWidth() : 0);
    }

    /** Parameters that the first and the last piece share. */
    default List<String> tied() {
        List<String> first = parameters(0).stream().map(ParameterSpec::name).toList();
        return parameters(numPieces() - 1).stream()
                .map(ParameterSpec::name)
                .filter(first::contains)
                .toList();
    }

    /** All parameters, each once. */
    default List<ParameterSpec> parameters() {
        List<ParameterSpec> all = new ArrayList<>();
        for (int piece = 0; piece < numPieces(); piece++) {
            parameters(piece).stream().filter(spec -> !all.contains(spec)).forEach(all::add);
        }
        return all;
    }

    /** Piece 0. */
    Value embed(ModelBuilder m, Value tokens);

    /** Piece layer + 1. */
    Value block(ModelBuilder m, int layer, Value x, AttentionRule attention);

    /** The last piece: logits [..., V] of hidden states [..., D]; on this rank those of ids from firstId on. */
    Logits head(ModelBuilder m, Value x);

    /** Logits [..., V'] of ids firstId, firstId + 1, … */
    record Logits(Value values, long firstId) {}

    /** What a rank's attention computes. */
    Heads heads(ModelBuilder m, int layer);
}
