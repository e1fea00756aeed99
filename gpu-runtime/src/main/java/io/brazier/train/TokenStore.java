package io.brazier.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;

/** The tokens that one rank owns: int32 in a memory-mapped file, which closing deletes. */
public final class TokenStore implements AutoCloseable {
    private static final long MAPPING_BYTES = 1L << 30;

    /** Odd, so that no token's share vanishes; the golden ratio's bits. */
    private static final long FINGERPRINT_BASE = 0x9E3779B97F4A7C15L;

    private final Path file;
    private final long numTokens;
    private final long fingerprint;
    private final List<IntBuffer> mappings = new ArrayList<>();

    private TokenStore(Path file, long numTokens, long fingerprint) throws IOException {
        this.file = file;
        this.numTokens = numTokens;
        this.fingerprint = fingerprint;
        long bytes = numTokens * Integer.BYTES;
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            for (long offset = 0; offset < bytes; offset += MAPPING_BYTES) {
                long length = Math.min(MAPPING_BYTES, bytes - offset);
                MappedByteBuffer mapping = channel.map(FileChannel.MapMode.READ_ONLY, offset, length);
                mappings.add(mapping.order(ByteOrder.nativeOrder()).asIntBuffer());
            }
        }
    }

    /** Starts a store in a directory; the file can be read by its owner alone. */
    public static Writer write(Path directory, int vocabularySize) throws IOException {
        Path file = Files.createTempFile(
                directory,
                "tokens",
                ".i32",
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        return new Writer(file, vocabularySize);
    }

    public long numTokens() {
        return numTokens;
    }

    /** Sum over the tokens of (id + 1) base^i, modulo 2^64; that of a stream follows from those of its parts. */
    long fingerprint() {
        return fingerprint;
    }

    /** Fingerprint of the same tokens behind numBefore others. */
    static long shiftFingerprint(long fingerprint, long numBefore) {
        long factor = 1;
        long square = FINGERPRINT_BASE;
        for (long bits = numBefore; bits > 0; bits >>>= 1) {
            factor *= (bits & 1) == 1 ? square : 1;
            square *= square;
        }
        return fingerprint * factor;
    }

    /** Copies target.remaining() tokens from offset on. */
    public void read(long offset, IntBuffer target) {
        if (offset < 0 || offset + target.remaining() > numTokens) {
            throw new IndexOutOfBoundsException(
                    "tokens " + offset + " to " + (offset + target.remaining()) + " of " + numTokens);
        }
        long perMapping = MAPPING_BYTES / Integer.BYTES;
        while (target.hasRemaining()) {
            IntBuffer mapping = mappings.get((int) (offset / perMapping)).duplicate();
            mapping.position((int) (offset % perMapping));
            mapping.limit(mapping.position() + Math.min(mapping.remaining(), target.remaining()));
            offset += mapping.remaining();
            target.put(mapping);
        }
    }

    @Override
    public void close() {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Takes tokens in order; closing one that was not finished deletes the file. */
    public static final class Writer implements AutoCloseable {
        private final Path file;
        private final int vocabularySize;
        private final FileChannel channel;
        private final ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20).order(ByteOrder.nativeOrder());
        private long numTokens;
        private long fingerprint;
        private long power = 1;
        private boolean finished;

        private Writer(Path file, int vocabularySize) throws IOException {
            this.file = file;
            this.vocabularySize = vocabularySize;
            this.channel = FileChannel.open(file, StandardOpenOption.WRITE);
        }

        /** @throws TrainingException (DATA) when an id is outside the vocabulary */
        public void append(int[] tokens) throws IOException {
            for (int token : tokens) {
                if (token < 0 || token >= vocabularySize) {
                    throw new TrainingException(
                            TrainingException.Category.DATA,
                            "token " + numTokens + " of this rank is " + token + ", outside [0, " + vocabularySize
                                    + "): the tokenizer does not fit the model");
                }
                if (!buffer.hasRemaining()) {
                    flush();
                }
                buffer.putInt(token);
                numTokens++;
                fingerprint += (token + 1) * power;
                power *= FINGERPRINT_BASE;
            }
        }

        private void flush() throws IOException {
            buffer.flip();
            while (buffer.hasRemaining()) {
                channel.write(buffer);
            }
            buffer.clear();
        }

        public TokenStore finish() throws IOException {
            flush();
            channel.close();
            TokenStore store = new TokenStore(file, numTokens, fingerprint);
            finished = true;
            return store;
        }

        @Override
        public void close() throws IOException {
            channel.close();
            if (!finished) {
                Files.deleteIfExists(file);
            }
        }
    }
}
