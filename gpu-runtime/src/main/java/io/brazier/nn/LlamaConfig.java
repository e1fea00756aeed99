package io.brazier.nn;

import io.brazier.program.RotaryScaling;

/**
 * Sizes of a Llama style decoder (pre-norm with root mean squares, rotary positions, grouped queries, gated MLP or experts).
 *
 * @param vocabularySize V
 * @param maxPositions longest sequence
 * @param numLayers L
 * @param numHeads H; a multiple of numKeyValueHeads
 * @param numKeyValueHeads G
 * @param headWidth K, even; H K need not be D
 * @param width D
 * @param hiddenWidth F of the MLP, or of each expert
 * @param rmsNormEpsilon added to the mean square
 * @param ropeTheta base of the rotary frequencies
 * @param ropeScaling how they are changed
 * @param tiedHead whether the head shares the embedding's weights
 * @param experts what an MLP is made of; {@link Experts#NONE} for a plain one
 */
public record LlamaConfig(
        int vocabularySize,
        int maxPositions,
        int numLayers,
        int numHeads,
        int numKeyValueHeads,
        int headWidth,
        int width,
        int hiddenWidth,
        double rmsNormEpsilon,
        double ropeTheta,
        RotaryScaling ropeScaling,
        boolean tiedHead,
        Experts experts)
        implements ModelConfig {

    /**
     * A mixture of experts (arXiv:2401.04088, sec. 2.1).
     *
     * @param count E; 0 for a plain MLP
     * @param perToken experts that a token goes through
     * @param capacityFactor slots of an expert over those it needs when tokens spread evenly; 0 drops no token
     * @param balanceCoefficient weight of the loss that spreads tokens evenly (arXiv:2101.03961, sec. 2.2)
     */
    public record Experts(int count, int perToken, double capacityFactor, double balanceCoefficient)
            implements java.io.Serializable {
        /** A plain MLP. */
        public static final Experts NONE = new Experts(0, 0, 0, 0);

        public Experts {
            boolean plain = count == 0 && perToken == 0;
            if (!plain && (count < 2 || perToken < 1 || perToken > count)) {
                throw new IllegalArgumentException("experts: perToken " + perToken + " must lie in [1, count " + count
                        + "] and count be at least 2");
            }
            if (!(capacityFactor >= 0) || !(balanceCoefficient >= 0)) {
                throw new IllegalArgumentException("experts: capacityFactor " + capacityFactor
                        + " and balanceCoefficient " + balanceCoefficient + " must not be negative");
            }
        }
    }

    public LlamaConfig {
        if (vocabularySize < 2
                || maxPositions < 1
                || numLayers < 1
                || numKeyValueHeads < 1
                || width < 1
                || hiddenWidth < 1) {
            throw new IllegalArgumentException("vocabularySize " + vocabularySize
                    + " must be at least 2 and maxPositions " + maxPositions + ", numLayers " + numLayers
                    + ", numKeyValueHeads " + numKeyValueHeads + ", width " + width + ", hiddenWidth " + hiddenWidth
                    + " at least 1");
        }
        if (numHeads < 1 || numHeads % numKeyValueHeads != 0) {
            throw new IllegalArgumentException("numHeads " + numHeads + " must be a multiple of numKeyValueHeads "
                    + numKeyValueHeads + ": change one of them");
        }
        if (headWidth < 2 || headWidth % 2 != 0) {
            throw new IllegalArgumentException(
                    "headWidth " + headWidth + " must be even: rotary positions turn pairs of elements");
        }
        if (!(rmsNormEpsilon > 0)) {
            throw new IllegalArgumentException("rmsNormEpsilon " + rmsNormEpsilon + " must be positive");
        }
        if (!(ropeTheta > 1)) {
            throw new IllegalArgumentException("ropeTheta " + ropeTheta + " must be above 1");
        }
    }

    @Override
    public int numExperts() {
        return experts.count();
    }

    @Override
    public double activeExpertShare() {
        return experts.count() == 0 ? 1 : (double) experts.perToken() / experts.count();
    }

    @Override
    public Model model() {
        return new Llama(this);
    }

    @Override
    public long numParameters() {
        return model().parameters().stream()
                .mapToLong(spec -> spec.shape().numElements())
                .sum();
    }

    /** 6 per weight of the products that a token goes through, plus the attention scores' 12 L H K T. */
    @Override
    public double trainingFlopsPerToken(int sequenceLength) {
        double products = 0;
        for (int piece = 0; piece < numLayers + 2; piece++) {
            products += model().flopsPerToken(piece, 0);
        }
        return 3 * products + 12.0 * numLayers * numHeads * headWidth * sequenceLength;
    }
}
