package io.brazier.cuda;

import io.brazier.program.Attention.Heads;
import io.brazier.tensor.DType;

/**
 * The tile of one block of an attention kernel: its rows, threads and dynamic shared memory, as the kernel's file states them for the
 * width that it was compiled for.
 *
 * @param width the compiled width, at least a head's
 */
public record AttentionTiles(int width, int rows, int threads, int sharedBytes) {
    private static final int MAX_WIDTH = 256;

    /** Of attention_WIDTH: rows are queries. */
    public static AttentionTiles forward(DType type, Heads heads) {
        int width = padded(type, heads);
        if (type == DType.F32) {
            return plain(width, 3);
        }
        int rows = width == 256 ? 64 : 128;
        return tensorCore(width, rows, 128, 2 * rows + 8 * (width == 128 ? 32 : 64));
    }

    /** Of attention_dq_WIDTH: rows are queries. */
    public static AttentionTiles queryGradient(DType type, Heads heads) {
        int width = padded(type, heads);
        if (type == DType.F32) {
            return plain(width, 4);
        }
        int rows = width <= 64 ? 128 : 64;
        return tensorCore(width, rows, 128, 4 * rows + 8 * (width == 32 || width == 128 ? 64 : 32));
    }

    /** Of attention_dkv_WIDTH: rows are keys. */
    public static AttentionTiles keyGradients(DType type, Heads heads) {
        int width = padded(type, heads);
        if (type == DType.F32) {
            return plain(width, 4);
        }
        int rows = width == 256 ? 64 : 128;
        AttentionTiles tiles = tensorCore(width, rows, width <= 64 ? 128 : 256, 4 * rows + 8 * 32);
        return new AttentionTiles(width, rows, tiles.threads, tiles.sharedBytes + 16 * 32);
    }

    long blocks(long numTokens) {
        return (numTokens + rows - 1) / rows;
    }

    private static AttentionTiles tensorCore(int width, int rows, int threads, int bytesPerColumn) {
        return new AttentionTiles(width, rows, threads, bytesPerColumn * (width + 8));
    }

    private static AttentionTiles plain(int width, int tiles) {
        int rows = width == 256 ? 32 : 64;
        return new AttentionTiles(width, rows, 256, 4 * rows * (tiles * (width + 4) + rows + 4));
    }

    private static int padded(DType type, Heads heads) {
        if (heads.width() > MAX_WIDTH) {
            throw new IllegalArgumentException("attention heads of width " + heads.width()
                    + " are wider than the CUDA kernels take: choose at most " + MAX_WIDTH);
        }
        int width = type == DType.F32 ? 64 : 32;
        while (width < heads.width()) {
            width *= 2;
        }
        return width;
    }
}
