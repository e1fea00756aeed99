package io.brazier.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.List;

/** A file system as models and checkpoints need it: whole files, written once, and an atomic rename. Thread-safe. */
public interface Storage {

    /** Reads a file from a byte offset on; buffered by the caller. */
    InputStream openAt(String path, long offset) throws IOException;

    /** Writes a new file; closing it makes its bytes durable. Fails when the file exists. */
    OutputStream create(String path) throws IOException;

    /** Bytes of a file. */
    long size(String path) throws IOException;

    boolean exists(String path) throws IOException;

    /** Whether a path is a symbolic link and not the file itself. */
    boolean isLink(String path) throws IOException;

    /** Names in a directory, sorted; empty when there is no such directory. */
    List<String> list(String directory) throws IOException;

    /** Moves a file or directory in one step; fails when the target exists. */
    void rename(String from, String to) throws IOException;

    /** Removes a file, or a directory with all in it; nothing happens when there is none. */
    void delete(String path) throws IOException;

    void createDirectories(String directory) throws IOException;
}
