package io.brazier.tensor;

import java.util.List;

/**
 * The tokens of a sequence that a rank of the context axis holds. The sequence is cut into 2 size chunks; rank r holds chunks r and
 * 2 size - 1 - r, in this order, so that causal attention costs every rank the same: a token's cost grows with its position, and the
 * positions of a pair of chunks add up to the same for all ranks.
 *
 * @param numTokens T, of the whole sequence; a multiple of 2 size unless one rank holds it all
 * @param size ranks of the context axis
 * @param rank this rank among them
 */
public record ContextSplit(int numTokens, int size, int rank) {

    public ContextSplit {
        if (size < 1 || rank < 0 || rank >= size) {
            throw new IllegalArgumentException("rank " + rank + " of a context axis of size " + size);
        }
        if (numTokens < 1 || size > 1 && numTokens % (2 * size) != 0) {
            throw new IllegalArgumentException("sequence of " + numTokens + " tokens on cp " + size
                    + ": every rank holds two chunks of equal length, so the length must be a multiple of " + 2 * size);
        }
    }

    /** Tokens of this rank, T / size. */
    public int localTokens() {
        return numTokens / size;
    }

    /** The positions of the local tokens, in local order. */
    public List<Range> ranges() {
        if (size == 1) {
            return List.of(new Range(0, numTokens));
        }
        int chunk = numTokens / (2 * size);
        int mirrored = 2 * size - 1 - rank;
        return List.of(new Range((long) rank * chunk, chunk), new Range((long) mirrored * chunk, chunk));
    }

    /** Position in the whole sequence of a local token. */
    public int position(int localToken) {
        long chunk = ranges().get(0).length();
        return Math.toIntExact(ranges().get((int) (localToken / chunk)).start() + localToken % chunk);
    }
}
