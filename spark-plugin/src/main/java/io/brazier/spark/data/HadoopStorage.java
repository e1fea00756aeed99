package io.brazier.spark.data;

import io.brazier.checkpoint.Storage;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.FileAlreadyExistsException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSError;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Files on anything that Hadoop reaches: file:, hdfs:, s3a: and so on. A rename is one atomic step on hdfs: and file:; on an object
 * store it is a copy that may be seen half done, which a checkpoint's manifest of hashes finds out.
 */
public final class HadoopStorage implements Storage {
    private final Configuration configuration;

    public HadoopStorage(Configuration configuration) {
        this.configuration = configuration;
    }

    @Override
    public InputStream openAt(String path, long offset) throws IOException {
        FSDataInputStream in = system(path).open(new Path(path));
        try {
            in.seek(offset);
            return in;
        } catch (IOException e) {
            in.close();
            throw e;
        }
    }

    @Override
    public OutputStream create(String path) throws IOException {
        return new DurableOutput(system(path).create(new Path(path), false));
    }

    @Override
    public long size(String path) throws IOException {
        return system(path).getFileStatus(new Path(path)).getLen();
    }

    @Override
    public boolean exists(String path) throws IOException {
        return system(path).exists(new Path(path));
    }

    @Override
    public boolean isLink(String path) throws IOException {
        return system(path).getFileLinkStatus(new Path(path)).isSymlink();
    }

    @Override
    public List<String> list(String directory) throws IOException {
        List<String> names = new ArrayList<>();
        try {
            for (FileStatus status : system(directory).listStatus(new Path(directory))) {
                names.add(status.getPath().getName());
            }
        } catch (FileNotFoundException e) {
            return List.of();
        }
        Collections.sort(names);
        return names;
    }

    /** Hadoop itself would move into a directory of the target's name, and say false instead of why. */
    @Override
    public void rename(String from, String to) throws IOException {
        FileSystem system = system(from);
        if (system.exists(new Path(to))) {
            throw new FileAlreadyExistsException(to);
        }
        if (!system.rename(new Path(from), new Path(to))) {
            throw new IOException(from + " could not be renamed to " + to);
        }
    }

    @Override
    public void delete(String path) throws IOException {
        system(path).delete(new Path(path), true);
    }

    @Override
    public void createDirectories(String directory) throws IOException {
        if (!system(directory).mkdirs(new Path(directory))) {
            throw new IOException(directory + " could not be made");
        }
    }

    private FileSystem system(String path) throws IOException {
        return new Path(path).getFileSystem(configuration);
    }

    /** Hadoop's local file system reports a full disk by an Error; here it is the IOException that it was. */
    private static final class DurableOutput extends OutputStream {
        private final FSDataOutputStream out;

        DurableOutput(FSDataOutputStream out) {
            this.out = out;
        }

        private interface Write {
            void run() throws IOException;
        }

        private static void checked(Write write) throws IOException {
            try {
                write.run();
            } catch (FSError e) {
                throw new IOException(
                        e.getCause() == null ? e.toString() : e.getCause().getMessage(), e);
            }
        }

        @Override
        public void write(int value) throws IOException {
            checked(() -> out.write(value));
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            checked(() -> out.write(bytes, offset, length));
        }

        @Override
        public void flush() throws IOException {
            checked(out::flush);
        }

        @Override
        public void close() throws IOException {
            checked(() -> {
                try (out) {
                    out.hsync();
                }
            });
        }
    }
}
