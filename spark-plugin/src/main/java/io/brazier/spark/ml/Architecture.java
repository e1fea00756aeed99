package io.brazier.spark.ml;

import io.brazier.nn.GptConfig;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.program.RotaryScaling;

/** Makes the sizes of a new model from params. */
final class Architecture {
    private static final double EPSILON = 1e-5;

    private Architecture() {}

    /**
     * The model that params describe, initialModel apart.
     *
     * @throws IllegalArgumentException when sizes do not fit together
     */
    static ModelConfig of(ArchitectureParams<?> params, int vocabularySize, int sequenceLength) {
        int maxPositions = params.getMaxPositions() == 0 ? sequenceLength : params.getMaxPositions();
        return params.getModelType().equals("llama")
                ? llama(params, vocabularySize, maxPositions)
                : gpt2(params, vocabularySize, maxPositions);
    }

    private static GptConfig gpt2(ArchitectureParams<?> params, int vocabularySize, int maxPositions) {
        if (params.getNumExperts() > 0 || params.getNumKeyValueHeads() > 0) {
            throw new IllegalArgumentException("numExperts " + params.getNumExperts() + " and numKeyValueHeads "
                    + params.getNumKeyValueHeads() + " are for modelType llama: set it, or leave them 0");
        }
        int width = params.getWidth();
        return new GptConfig(
                vocabularySize,
                maxPositions,
                params.getNumLayers(),
                params.getNumHeads(),
                width,
                params.getHiddenWidth() == 0 ? 4 * width : params.getHiddenWidth(),
                EPSILON);
    }

    private static LlamaConfig llama(ArchitectureParams<?> params, int vocabularySize, int maxPositions) {
        int width = params.getWidth();
        int heads = params.getNumHeads();
        if (width % heads != 0) {
            throw new IllegalArgumentException(
                    "width " + width + " is no multiple of numHeads " + heads + ": change one of them");
        }
        int experts = params.getNumExperts();
        return new LlamaConfig(
                vocabularySize,
                maxPositions,
                params.getNumLayers(),
                heads,
                params.getNumKeyValueHeads() == 0 ? heads : params.getNumKeyValueHeads(),
                width / heads,
                width,
                params.getHiddenWidth() == 0 ? gatedWidth(width) : params.getHiddenWidth(),
                EPSILON,
                params.getRopeTheta(),
                RotaryScaling.NONE,
                false,
                experts == 0
                        ? Experts.NONE
                        : new Experts(
                                experts,
                                params.getExpertsPerToken(),
                                params.getCapacityFactor(),
                                params.getBalanceCoefficient()));
    }

    /** 8/3 of the width, so that three matrices weigh what a plain MLP's two do (arXiv:2002.05202), in steps of 64. */
    private static int gatedWidth(int width) {
        return (8 * width / 3 + 63) / 64 * 64;
    }
}
