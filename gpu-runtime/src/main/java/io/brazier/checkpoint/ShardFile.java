package io.brazier.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.nio.FloatBuffer;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;

/** A shard file of a checkpoint, verified as a whole before anything of it is read, and only then. */
final class ShardFile {
    private final Storage storage;
    private final String path;
    private final ShardRecord shard;
    private SafetensorsFile tensors;

    ShardFile(Storage storage, String directory, ShardRecord shard) {
        this.storage = storage;
        this.path = directory + "/" + shard.file();
        this.shard = shard;
    }

    /** @throws CheckpointException when the file is missing or differs from what was written */
    void verify() {
        if (tensors != null) {
            return;
        }
        String actual = sha256();
        if (!actual.equals(shard.sha256())) {
            throw new CheckpointException(path, "has SHA-256 " + actual + ", the manifest says " + shard.sha256());
        }
        SafetensorsFile opened = SafetensorsFile.open(storage, path);
        for (Slice slice : shard.slices()) {
            List<Long> shape = opened.shape(slice.array());
            if (!shape.equals(List.of(slice.count()))) {
                throw new CheckpointException(path, "tensor " + slice.array() + " has shape " + shape);
            }
        }
        tensors = opened;
    }

    private String sha256() {
        try {
            if (storage.size(path) != shard.bytes()) {
                throw new CheckpointException(
                        path, "has " + storage.size(path) + " bytes, the manifest says " + shard.bytes());
            }
            MessageDigest digest = CheckpointStore.sha256();
            byte[] chunk = new byte[1 << 16];
            try (InputStream in = storage.openAt(path, 0)) {
                for (int n = in.read(chunk); n >= 0; n = in.read(chunk)) {
                    digest.update(chunk, 0, n);
                }
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (IOException e) {
            throw new CheckpointException(path, "cannot be read: " + e, e);
        }
    }

    /** Copies target.remaining() elements of an array's slice, from its element offset on. */
    void read(String array, long offset, FloatBuffer target) {
        verify();
        tensors.read(array, offset, target);
    }
}
