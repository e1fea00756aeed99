package io.brazier.tests.chaos;

import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.util.Progressable;

/**
 * The local disk under the scheme {@code fulldisk}, with room for a number of bytes in each file whose path has a given text in it.
 */
public final class FullDiskFileSystem extends RawLocalFileSystem {
    static final String SCHEME = "fulldisk";
    static final String VICTIM = "test.fulldisk.victim";
    static final String ROOM = "test.fulldisk.room";

    @Override
    public String getScheme() {
        return SCHEME;
    }

    @Override
    public URI getUri() {
        return URI.create(SCHEME + ":///");
    }

    @Override
    public void initialize(URI uri, Configuration configuration) throws IOException {
        super.initialize(getUri(), configuration);
        setConf(configuration);
    }

    @Override
    public FSDataOutputStream create(
            Path path, boolean overwrite, int bufferBytes, short replication, long blockBytes, Progressable progress)
            throws IOException {
        FSDataOutputStream out = super.create(path, overwrite, bufferBytes, replication, blockBytes, progress);
        return path.toString().contains(getConf().get(VICTIM))
                ? new FSDataOutputStream(new SmallDisk(out, getConf().getLong(ROOM, 0)), null)
                : out;
    }

    private static final class SmallDisk extends OutputStream {
        private final OutputStream out;
        private long room;

        SmallDisk(OutputStream out, long room) {
            this.out = out;
            this.room = room;
        }

        @Override
        public void write(int value) throws IOException {
            write(new byte[] {(byte) value}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            room -= length;
            if (room < 0) {
                throw new IOException("No space left on device");
            }
            out.write(bytes, offset, length);
        }

        @Override
        public void close() throws IOException {
            out.close();
        }
    }
}
