package io.brazier.checkpoint;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;

/** Files of this machine. */
public final class LocalStorage implements Storage {

    @Override
    public InputStream openAt(String path, long offset) throws IOException {
        FileChannel channel = FileChannel.open(Path.of(path), StandardOpenOption.READ);
        return Channels.newInputStream(channel.position(offset));
    }

    @Override
    public OutputStream create(String path) throws IOException {
        Path file = Files.createFile(Path.of(path));
        return new FileOutputStream(file.toFile()) {
            @Override
            public void close() throws IOException {
                try {
                    if (getChannel().isOpen()) {
                        getFD().sync();
                    }
                } finally {
                    super.close();
                }
            }
        };
    }

    @Override
    public long size(String path) throws IOException {
        return Files.size(Path.of(path));
    }

    @Override
    public boolean exists(String path) {
        return Files.exists(Path.of(path));
    }

    @Override
    public boolean isLink(String path) {
        return Files.isSymbolicLink(Path.of(path));
    }

    @Override
    public List<String> list(String directory) throws IOException {
        if (!Files.isDirectory(Path.of(directory))) {
            return List.of();
        }
        try (Stream<Path> entries = Files.list(Path.of(directory))) {
            return entries.map(p -> p.getFileName().toString()).sorted().toList();
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }

    @Override
    public void rename(String from, String to) throws IOException {
        Path target = Path.of(to);
        if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            throw new FileAlreadyExistsException(to);
        }
        Files.move(Path.of(from), target, StandardCopyOption.ATOMIC_MOVE);
        try (FileChannel parent = FileChannel.open(target.toAbsolutePath().getParent(), StandardOpenOption.READ)) {
            parent.force(true);
        }
    }

    /** A directory goes in one step, by another name that ends in {@code .tmp}; then its files go. */
    @Override
    public void delete(String path) throws IOException {
        Path root = Path.of(path);
        if (!Files.isDirectory(root, LinkOption.NOFOLLOW_LINKS)) {
            Files.deleteIfExists(root);
            return;
        }
        Path removed = root.resolveSibling("." + UUID.randomUUID() + ".tmp");
        try {
            Files.move(root, removed, StandardCopyOption.ATOMIC_MOVE);
        } catch (NoSuchFileException e) {
            return; // somebody else removes it
        }
        try {
            Files.walkFileTree(removed, new Deletion());
        } catch (DirectoryNotEmptyException e) {
            // A file that was being made while the directory moved; there can be no other.
            Files.walkFileTree(removed, new Deletion());
        }
    }

    /** Somebody else may be removing the same files. */
    private static final class Deletion extends SimpleFileVisitor<Path> {
        @Override
        public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
            Files.deleteIfExists(file);
            return FileVisitResult.CONTINUE;
        }

        @Override
        public FileVisitResult visitFileFailed(Path file, IOException e) throws IOException {
            if (e instanceof NoSuchFileException) {
                return FileVisitResult.CONTINUE;
            }
            throw e;
        }

        @Override
        public FileVisitResult postVisitDirectory(Path directory, IOException e) throws IOException {
            if (e != null) {
                throw e;
            }
            Files.deleteIfExists(directory);
            return FileVisitResult.CONTINUE;
        }
    }

    @Override
    public void createDirectories(String directory) throws IOException {
        Files.createDirectories(Path.of(directory));
    }
}
