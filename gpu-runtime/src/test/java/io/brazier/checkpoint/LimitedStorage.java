package io.brazier.checkpoint;

import java.io.IOException;
import java.io.OutputStream;

/** A storage whose disk is full after some bytes. */
final class LimitedStorage extends ForwardingStorage {
    private long left;

    LimitedStorage(Storage storage, long bytes) {
        super(storage);
        this.left = bytes;
    }

    @Override
    public OutputStream create(String path) throws IOException {
        OutputStream out = super.create(path);
        return new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                write(new byte[] {(byte) b}, 0, 1);
            }

            @Override
            public void write(byte[] bytes, int offset, int length) throws IOException {
                int fits = (int) Math.min(length, left);
                out.write(bytes, offset, fits);
                left -= fits;
                if (fits < length) {
                    throw new IOException("No space left on device");
                }
            }

            @Override
            public void close() throws IOException {
                out.close();
            }
        };
    }
}
