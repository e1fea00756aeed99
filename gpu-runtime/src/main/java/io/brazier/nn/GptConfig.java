package io.brazier.nn;

/**
 * Sizes of a GPT-2 style decoder (pre-norm, learned positions, tanh GELU, tied head).
 *
 * @param vocabularySize V
 * @param maxPositions longest sequence the position table holds
 * @param numLayers L
 * @param numHeads H; width must be a multiple of it
 * @param width D
 * @param hiddenWidth F of the MLP, 4 D as a rule
 * @param layerNormEpsilon added to the variance
 */
public record GptConfig(
        int vocabularySize,
        int maxPositions,
        int numLayers,
        int numHeads,
        int width,
        int hiddenWidth,
        double layerNormEpsilon)
        implements java.io.Serializable {

    public GptConfig {
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

    /** The usual shape: hidden width 4 D, epsilon 1e-5. */
    public static GptConfig of(int vocabularySize, int maxPositions, int numLayers, int numHeads, int width) {
        return new GptConfig(vocabularySize, maxPositions, numLayers, numHeads, width, 4 * width, 1e-5);
    }

    /** K, the width of one head. */
    public int headWidth() {
        return width / numHeads;
    }

    /** Weights of the model; the head shares the embedding's. */
    public long numParameters() {
        long perLayer = 4L * width * width + 2L * width * hiddenWidth + 9L * width + hiddenWidth;
        return (long) (vocabularySize + maxPositions) * width + numLayers * perLayer + 2L * width;
    }

    /**
     * Model FLOPs of one token of a training step at sequence length T: 6 per matmul weight plus the attention scores,
     * 6 (L (4 D^2 + 2 D F) + V D) + 12 L D T (arXiv:2204.02311, app. B).
     */
    public double trainingFlopsPerToken(int sequenceLength) {
        double matmul = numLayers * (4.0 * width * width + 2.0 * width * hiddenWidth) + (double) vocabularySize * width;
        return 6 * matmul + 12.0 * numLayers * width * sequenceLength;
    }
}
