package io.brazier.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.List;

/** A storage that asks another one, for tests that change one thing of it. */
class ForwardingStorage implements Storage {
    private final Storage storage;

    ForwardingStorage(Storage storage) {
        this.storage = storage;
    }

    @Override
    public OutputStream create(String path) throws IOException {
        return storage.create(path);
    }

    @Override
    public InputStream openAt(String path, long offset) throws IOException {
        return storage.openAt(path, offset);
    }

    @Override
    public long size(String path) throws IOException {
        return storage.size(path);
    }

    @Override
    public boolean exists(String path) throws IOException {
        return storage.exists(path);
    }

    @Override
    public boolean isLink(String path) throws IOException {
        return storage.isLink(path);
    }

    @Override
    public List<String> list(String directory) throws IOException {
        return storage.list(directory);
    }

    @Override
    public void rename(String from, String to) throws IOException {
        storage.rename(from, to);
    }

    @Override
    public void delete(String path) throws IOException {
        storage.delete(path);
    }

    @Override
    public void createDirectories(String directory) throws IOException {
        storage.createDirectories(directory);
    }
}
