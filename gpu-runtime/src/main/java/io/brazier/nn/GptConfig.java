package io.brazier.nn;

import io.brazier.program.Elementwise.Function;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;

/**
 * Sizes of a GPT-2 style decoder (pre-norm, learned positions).
 *
 * @param vocabularySize V
 * @param maxPositions longest sequence the position table holds
 * @param numLayers L
 * @param numHeads H; width must be a multiple of it
 * @param width D
 * @param hiddenWidth F of the MLP, 4 D as a rule
 * @param layerNormEpsilon added to the variance
 * @param activation of the MLP
 * @param variants deviations from GPT-2 as published
 */
public record GptConfig(
        int vocabularySize,
        int maxPositions,
        int numLayers,
        int numHeads,
        int width,
        int hiddenWidth,
        double layerNormEpsilon,
        Function activation,
        Set<Variant> variants)
        implements ModelConfig {

    /** A deviation from GPT-2 as published; the comment is its setting in Hugging Face's config.json. */
    public enum Variant {
        /** tie_word_embeddings = false. */
        UNTIED_HEAD,
        /** scale_attn_weights = false. */
        UNSCALED_ATTENTION,
        /** scale_attn_by_inverse_layer_idx = true. */
        ATTENTION_SCALED_BY_LAYER
    }

    public GptConfig {
        // In the order of the enum, so that equal configurations print equally on every machine.
        EnumSet<Variant> ordered = EnumSet.noneOf(Variant.class);
        ordered.addAll(variants);
        variants = Collections.unmodifiableSet(ordered);
        if (vocabularySize < 2 || maxPositions < 1 || numLayers < 1 || numHeads < 1 || width < 1 || hiddenWidth < 1) {
            throw new IllegalArgumentException(
                    "vocabularySize " + vocabularySize + " must be at least 2 and maxPositions "
                            + maxPositions + ", numLayers " + numLayers + ", numHeads " + numHeads + ", width " + width
                            + ", hiddenWidth " + hiddenWidth + " at least 1");
        }
        if (width % numHeads != 0) {
            throw new IllegalArgumentException(
                    "width " + width + " is no multiple of numHeads " + numHeads + ": change one of them");
        }
        if (!(layerNormEpsilon > 0)) {
            throw new IllegalArgumentException("layerNormEpsilon " + layerNormEpsilon + " must be positive");
        }
    }

    /** GPT-2 with these sizes. */
    public GptConfig(
            int vocabularySize,
            int maxPositions,
            int numLayers,
            int numHeads,
            int width,
            int hiddenWidth,
            double layerNormEpsilon) {
        this(
                vocabularySize,
                maxPositions,
                numLayers,
                numHeads,
                width,
                hiddenWidth,
                layerNormEpsilon,
                Function.GELU_TANH,
                Set.of());
    }

    /** The usual shape: hidden width 4 D, epsilon 1e-5. */
    public static GptConfig of(int vocabularySize, int maxPositions, int numLayers, int numHeads, int width) {
        return new GptConfig(vocabularySize, maxPositions, numLayers, numHeads, width, 4 * width, 1e-5);
    }

    @Override
    public int numKeyValueHeads() {
        return numHeads;
    }

    @Override
    public int numExperts() {
        return 0;
    }

    @Override
    public Model model() {
        return new Gpt(this);
    }

    @Override
    public int headWidth() {
        return width / numHeads;
    }

    @Override
    public long numParameters() {
        long perLayer = 4L * width * width + 2L * width * hiddenWidth + 9L * width + hiddenWidth;
        long head = variants.contains(Variant.UNTIED_HEAD) ? (long) vocabularySize * width : 0;
        return (long) (vocabularySize + maxPositions) * width + numLayers * perLayer + 2L * width + head;
    }

    /** 6 per matmul weight plus the attention scores, 6 (L (4 D^2 + 2 D F) + V D) + 12 L D T (arXiv:2204.02311, app. B). */
    @Override
    public double trainingFlopsPerToken(int sequenceLength) {
        double matmul = numLayers * (4.0 * width * width + 2.0 * width * hiddenWidth) + (double) vocabularySize * width;
        return 6 * matmul + 12.0 * numLayers * width * sequenceLength;
    }
}
