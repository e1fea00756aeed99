package io.brazier.program;

/** How the frequencies of {@link Rotary} are changed so that a model reaches further than it was first trained for. */
public sealed interface RotaryScaling extends java.io.Serializable {

    /** Frequencies as they are. */
    RotaryScaling NONE = new None();

    /** Scaled from plain angular frequency, both in radians per position. */
    double frequency(double plain);

    /** No change; {@link #NONE}. */
    record None() implements RotaryScaling {
        @Override
        public double frequency(double plain) {
            return plain;
        }
    }

    /** Position interpolation (arXiv:2306.15595, eq. 3): all positions, and so all frequencies, divided by factor. */
    record Linear(double factor) implements RotaryScaling {
        public Linear {
            Rules.require(factor >= 1, "factor " + factor + " must be at least 1");
        }

        @Override
        public double frequency(double plain) {
            return plain / factor;
        }
    }

    /**
     * Llama 3.1's scaling: with n = originalMaxPositions f / (2 pi), the turns that frequency f takes over the original length, and
     * s = (n - low) / (high - low) held within [0, 1], f becomes (1 - s) f / factor + s f. Slow pairs are interpolated, fast ones
     * kept. As {@code apply_scaling} of Meta's llama-models and {@code rope_type} "llama3" of Hugging Face's transformers compute
     * it.
     *
     * @param lowFrequencyFactor turns below which a frequency is divided by factor
     * @param highFrequencyFactor turns above which a frequency is kept
     * @param originalMaxPositions tokens of the longest sequence before scaling
     */
    record Llama3(double factor, double lowFrequencyFactor, double highFrequencyFactor, int originalMaxPositions)
            implements RotaryScaling {
        public Llama3 {
            Rules.require(factor >= 1, "factor " + factor + " must be at least 1");
            Rules.require(
                    lowFrequencyFactor > 0 && lowFrequencyFactor < highFrequencyFactor,
                    "lowFrequencyFactor " + lowFrequencyFactor + " must lie between 0 and highFrequencyFactor "
                            + highFrequencyFactor);
            Rules.require(
                    originalMaxPositions > 0, "originalMaxPositions " + originalMaxPositions + " must be positive");
        }

        @Override
        public double frequency(double plain) {
            double turns = originalMaxPositions * plain / (2 * Math.PI);
            double share = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
            double kept = Math.min(Math.max(share, 0), 1);
            return (1 - kept) * plain / factor + kept * plain;
        }
    }
}
