package io.brazier.nn;

/** Sizes and choices of a model. */
public sealed interface ModelConfig extends java.io.Serializable permits GptConfig, LlamaConfig {

    /** V. */
    int vocabularySize();

    /** Longest sequence. */
    int maxPositions();

    /** L. */
    int numLayers();

    /** H, query heads. */
    int numHeads();

    /** G, key/value heads. */
    int numKeyValueHeads();

    /** K, width of a head. */
    int headWidth();

    /** D. */
    int width();

    /** F, width of an MLP's hidden layer. */
    int hiddenWidth();

    /** Experts of a block; 0 for a plain MLP. */
    int numExperts();

    /** Share of a block's experts that a token goes through. */
    default double activeExpertShare() {
        return 1;
    }

    /** Weights; a tied head shares the embedding's. */
    long numParameters();

    /** Model FLOPs of one token of a training step at sequence length T (arXiv:2204.02311, app. B). */
    double trainingFlopsPerToken(int sequenceLength);

    /** The model with these sizes. */
    Model model();
}
