package io.brazier.spark.ml;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FileUtil;

/** A directory in Hugging Face layout, on any file system that Hadoop reads, and its files as bytes that Spark can broadcast. */
final class ModelFiles {
    private static final int PART_BYTES = 16 << 20;

    private ModelFiles() {}

    /** A directory of this JVM for a new model, gone when the JVM ends. */
    static Path newLocalDirectory(String localDirs) {
        try {
            Path directory = Files.createTempDirectory(
                    Path.of(localDirs.split(",")[0]),
                    "brazier-model",
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            Runtime.getRuntime().addShutdownHook(new Thread(() -> FileUtil.fullyDelete(directory.toFile())));
            return directory;
        } catch (IOException e) {
            throw new UncheckedIOException("no directory for a model in spark.local.dir " + localDirs, e);
        }
    }

    /** The files of a directory by name, each as parts of at most 16 MiB. */
    static HashMap<String, byte[][]> read(String directory, Configuration configuration) {
        HashMap<String, byte[][]> files = new HashMap<>();
        try {
            org.apache.hadoop.fs.Path root = new org.apache.hadoop.fs.Path(directory);
            FileSystem system = root.getFileSystem(configuration);
            for (FileStatus status : system.listStatus(root)) {
                if (!status.isFile() || status.getPath().getName().startsWith(".")) {
                    continue;
                }
                try (InputStream in = system.open(status.getPath())) {
                    files.put(status.getPath().getName(), parts(in));
                }
            }
            return files;
        } catch (IOException e) {
            throw new IllegalArgumentException("no model could be read from " + directory + ": " + e, e);
        }
    }

    /** Writes what {@link #read} gave into an existing directory of this machine. */
    static void write(Map<String, byte[][]> files, Path directory) throws IOException {
        for (Map.Entry<String, byte[][]> file : files.entrySet()) {
            try (OutputStream out = Files.newOutputStream(directory.resolve(file.getKey()))) {
                for (byte[] part : file.getValue()) {
                    out.write(part);
                }
            }
        }
    }

    /** Copies a directory's files. */
    static void copy(String from, String to, Configuration configuration) throws IOException {
        org.apache.hadoop.fs.Path source = new org.apache.hadoop.fs.Path(from);
        org.apache.hadoop.fs.Path target = new org.apache.hadoop.fs.Path(to);
        FileSystem sourceSystem = source.getFileSystem(configuration);
        FileSystem targetSystem = target.getFileSystem(configuration);
        targetSystem.mkdirs(target);
        for (FileStatus status : sourceSystem.listStatus(source)) {
            if (status.isFile() && !status.getPath().getName().startsWith(".")) {
                org.apache.hadoop.fs.Path file =
                        new org.apache.hadoop.fs.Path(target, status.getPath().getName());
                FileUtil.copy(sourceSystem, status, targetSystem, file, false, true, configuration);
            }
        }
    }

    private static byte[][] parts(InputStream in) throws IOException {
        List<byte[]> parts = new ArrayList<>();
        byte[] part = in.readNBytes(PART_BYTES);
        while (part.length > 0) {
            parts.add(part);
            part = in.readNBytes(PART_BYTES);
        }
        return parts.toArray(new byte[0][]);
    }
}
