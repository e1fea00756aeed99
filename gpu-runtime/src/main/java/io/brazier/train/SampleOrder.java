package io.brazier.train;

import io.brazier.tensor.Philox;

/**
 * Which tokens a sample is made of. The tokens of all ranks are one stream; its last part is for validation. An
 * epoch cuts the training part into windows of T tokens at an offset of its own and takes them in an order of its own: a
 * permutation by a Feistel network over Philox, so that nothing is shuffled in memory. Neither the number of ranks nor the
 * partitioning has a say.
 */
public final class SampleOrder {
    private static final int ROUNDS = 6;

    private final long numTrainingTokens;
    private final long numValidationTokens;
    private final int sequenceLength;
    private final long seed;
    private final long windowsPerEpoch;

    /**
     * @param validationFraction part of the stream that is kept for validation, from 0 to below 1
     * @throws TrainingException (DATA) when there is not even one sample
     */
    public SampleOrder(long numTokens, double validationFraction, int sequenceLength, long seed) {
        if (!(validationFraction >= 0 && validationFraction < 1)) {
            throw new IllegalArgumentException("validationFraction " + validationFraction + " must lie in [0, 1)");
        }
        this.numValidationTokens = (long) (numTokens * validationFraction);
        this.numTrainingTokens = numTokens - numValidationTokens;
        this.sequenceLength = sequenceLength;
        this.seed = seed;
        if (numTrainingTokens <= sequenceLength) {
            throw new TrainingException(
                    TrainingException.Category.DATA,
                    "the text has " + numTrainingTokens + " tokens for training, a sample needs " + (sequenceLength + 1)
                            + ": give more text or set sequenceLength below " + Math.max(numTrainingTokens, 1));
        }
        this.windowsPerEpoch = Math.max(1, (numTrainingTokens - sequenceLength) / sequenceLength);
    }

    /** Samples of an epoch. */
    public long windowsPerEpoch() {
        return windowsPerEpoch;
    }

    /** First token in the stream of training sample s, counted over all epochs. */
    public long trainingStart(long sample) {
        long epoch = sample / windowsPerEpoch;
        long window = permute(sample % windowsPerEpoch, windowsPerEpoch, epoch);
        return offset(epoch) + window * sequenceLength;
    }

    /** Validation windows; they follow one another and each needs the token behind its last. */
    public long numValidationSamples() {
        return Math.max(0, (numValidationTokens - 1) / sequenceLength);
    }

    public long validationStart(long sample) {
        return numTrainingTokens + sample * sequenceLength;
    }

    private long offset(long epoch) {
        long room = Math.min(sequenceLength, numTrainingTokens - windowsPerEpoch * sequenceLength);
        return epoch == 0 ? 0 : Integer.toUnsignedLong(Philox.words(0, 0, (int) epoch, -1, seed)[0]) % room;
    }

    /** A bijection of [0, n) for each epoch: a balanced Feistel network, walked until it falls inside. */
    private long permute(long x, long n, long epoch) {
        int half = Math.max(1, (64 - Long.numberOfLeadingZeros(n - 1) + 1) / 2);
        long mask = (1L << half) - 1;
        do {
            long left = x >>> half;
            long right = x & mask;
            for (int round = 0; round < ROUNDS; round++) {
                long mixed = Philox.words((int) right, (int) (right >>> 32), (int) epoch, round, seed)[0];
                long next = (left ^ mixed) & mask;
                left = right;
                right = next;
            }
            x = left << half | right;
        } while (x >= n);
        return x;
    }
}
