package io.brazier.checkpoint;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Reads slices of the tensors of a safetensors file; the file is never held in memory. Thread-safe. */
public final class SafetensorsFile {
    private static final int CHUNK_BYTES = 1 << 20;

    private final Storage storage;
    private final String path;
    private final SafetensorsHeader header;

    private SafetensorsFile(Storage storage, String path, SafetensorsHeader header) {
        this.storage = storage;
        this.path = path;
        this.header = header;
    }

    /** @throws CheckpointException when the file breaks the format in any way */
    public static SafetensorsFile open(Storage storage, String path) {
        try {
            long size = storage.size(path);
            try (InputStream in = storage.openAt(path, 0)) {
                byte[] length = in.readNBytes(SafetensorsHeader.LENGTH_BYTES);
                byte[] json = in.readNBytes(SafetensorsHeader.jsonBytes(path, length, size));
                return new SafetensorsFile(storage, path, SafetensorsHeader.parse(path, json, size));
            }
        } catch (IOException e) {
            throw new CheckpointException(path, "cannot be read: " + e, e);
        }
    }

    public String path() {
        return path;
    }

    public Set<String> names() {
        return header.tensors().keySet();
    }

    public Map<String, String> metadata() {
        return header.metadata();
    }

    public List<Long> shape(String name) {
        return tensor(name).shape();
    }

    private SafetensorsHeader.Tensor tensor(String name) {
        SafetensorsHeader.Tensor tensor = header.tensors().get(name);
        if (tensor == null) {
            throw new CheckpointException(path, "has no tensor " + name);
        }
        return tensor;
    }

    /** Copies target.remaining() elements, from element offset on, as f32; F32, F16, BF16, F64 and I32 can be read. */
    public void read(String name, long offset, FloatBuffer target) {
        SafetensorsHeader.Tensor tensor = tensor(name);
        if (offset < 0 || offset > tensor.numElements() - target.remaining()) {
            throw new IndexOutOfBoundsException(name + " has " + tensor.numElements() + " elements, asked for " + offset
                    + " on, " + target.remaining() + " of them");
        }
        int width = tensor.type().bytes();
        try (InputStream in = storage.openAt(path, header.headerBytes() + tensor.begin() + offset * width)) {
            byte[] chunk = new byte[(int) Math.min(CHUNK_BYTES, (long) target.remaining() * width)];
            while (target.hasRemaining()) {
                int bytes = (int) Math.min(chunk.length, (long) target.remaining() * width);
                if (in.readNBytes(chunk, 0, bytes) != bytes) {
                    throw new EOFException("the file ended inside tensor " + name);
                }
                decode(name, tensor.type(), ByteBuffer.wrap(chunk, 0, bytes), target);
            }
        } catch (IOException e) {
            throw new CheckpointException(path, "cannot be read: " + e, e);
        }
    }

    private void decode(String name, SafetensorsHeader.Type type, ByteBuffer bytes, FloatBuffer target) {
        bytes.order(ByteOrder.LITTLE_ENDIAN);
        switch (type) {
            case F32 -> {
                FloatBuffer floats = bytes.asFloatBuffer();
                target.put(floats);
            }
            case BF16 -> {
                while (bytes.hasRemaining()) {
                    target.put(Float.intBitsToFloat(bytes.getShort() << 16));
                }
            }
            case F16 -> {
                while (bytes.hasRemaining()) {
                    target.put(half(bytes.getShort()));
                }
            }
            case F64 -> {
                while (bytes.hasRemaining()) {
                    target.put((float) bytes.getDouble());
                }
            }
            case I32 -> {
                while (bytes.hasRemaining()) {
                    target.put(bytes.getInt());
                }
            }
            case BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, U32, I64, U64 -> throw new CheckpointException(
                    path, "tensor " + name + " is " + type + ": F32, F16, BF16, F64 and I32 can be read");
        }
    }

    /** The value of an IEEE 754 binary16. */
    private static float half(short bits) {
        int exponent = bits >> 10 & 0x1F;
        int fraction = bits & 0x3FF;
        float magnitude;
        if (exponent == 0) {
            magnitude = fraction * 0x1p-24f;
        } else if (exponent == 0x1F) {
            magnitude = fraction == 0 ? Float.POSITIVE_INFINITY : Float.NaN;
        } else {
            magnitude = Float.intBitsToFloat(exponent + 112 << 23 | fraction << 13);
        }
        return bits < 0 ? -magnitude : magnitude;
    }
}
