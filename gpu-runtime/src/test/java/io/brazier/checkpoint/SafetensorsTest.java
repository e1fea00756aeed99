package io.brazier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsTest {
    private static final int NUM_MUTATIONS = 20_000;

    @TempDir
    Path directory;

    private static SafetensorsWriter.Tensor tensor(String name, float[] values, long... shape) {
        return new SafetensorsWriter.Tensor(
                name,
                Arrays.stream(shape).boxed().toList(),
                (offset, target) -> target.put(values, (int) offset, target.remaining()));
    }

    private static byte[] file(SafetensorsWriter.Tensor... tensors) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        SafetensorsWriter.write(out, List.of(tensors), Map.of("format", "pt"));
        return out.toByteArray();
    }

    private static byte[] file(String json, int dataBytes) {
        byte[] header = json.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + header.length + dataBytes)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(header.length)
                .put(header)
                .array();
    }

    private SafetensorsFile open(byte[] bytes) throws IOException {
        Path path = directory.resolve("x.safetensors");
        Files.write(path, bytes);
        return SafetensorsFile.open(new LocalStorage(), path.toString());
    }

    @Test
    void whatIsWrittenIsRead() throws IOException {
        float[] large = new float[700_000];
        for (int i = 0; i < large.length; i++) {
            large[i] = i * 0.25f - 3;
        }
        SafetensorsFile file =
                open(file(tensor("a", new float[] {1, 2, 3, 4, 5, 6}, 2, 3), tensor("b.c", large, 700, 1000)));
        assertEquals(List.of(2L, 3L), file.shape("a"));
        assertEquals(Map.of("format", "pt"), file.metadata());
        float[] part = new float[600_000];
        file.read("b.c", 99_999, FloatBuffer.wrap(part));
        assertArrayEquals(Arrays.copyOfRange(large, 99_999, 699_999), part);
        assertThrows(IndexOutOfBoundsException.class, () -> file.read("a", 1, FloatBuffer.allocate(6)));
        assertThrows(CheckpointException.class, () -> file.read("z", 0, FloatBuffer.allocate(1)));
    }

    @Test
    void smallerTypesAreWidened() throws IOException {
        byte[] bytes = file(
                "{\"h\":{\"dtype\":\"F16\",\"shape\":[6],\"data_offsets\":[0,12]},"
                        + "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[12,16]}}",
                16);
        ByteBuffer data = ByteBuffer.wrap(bytes, bytes.length - 16, 16).order(ByteOrder.LITTLE_ENDIAN);
        for (int half : new int[] {0x3C00, 0xC000, 0x0001, 0x7BFF, 0x7C00, 0x8000}) {
            data.putShort((short) half);
        }
        data.putShort((short) 0x3FC0).putShort((short) 0xC2F7);
        SafetensorsFile file = open(bytes);
        float[] half = new float[6];
        file.read("h", 0, FloatBuffer.wrap(half));
        assertArrayEquals(new float[] {1, -2, 0x1p-24f, 65504, Float.POSITIVE_INFINITY, -0f}, half);
        float[] brain = new float[2];
        file.read("b", 0, FloatBuffer.wrap(brain));
        assertArrayEquals(new float[] {1.5f, -123.5f}, brain);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "[]",
                " {}",
                "{\"a\":1}",
                "{\"a\":{}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}{}",
                "{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999999],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
                        + "\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
                        + "\"data_offsets\":[0,4]}}",
                "{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                "{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                "{\"__metadata__\":{\"a\":1},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                "{\"__metadata__\":[],\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1e2],\"data_offsets\":[0,4]}}"
            })
    void brokenHeadersAreRefused(String json) {
        assertThrows(CheckpointException.class, () -> open(file(json, 4)));
    }

    @Test
    void brokenLengthsAreRefusedBeforeAnythingIsAllocated() throws IOException {
        assertThrows(CheckpointException.class, () -> open(new byte[0]));
        assertThrows(CheckpointException.class, () -> open(new byte[7]));
        for (long length : new long[] {0, 1, 100, 100_000_001, 1L << 62, Long.MIN_VALUE, -1}) {
            byte[] bytes = ByteBuffer.allocate(16)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(length)
                    .array();
            assertThrows(CheckpointException.class, () -> open(bytes), "length " + length);
        }
        String nested = "{\"a\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}";
        assertThrows(CheckpointException.class, () -> open(file(nested, 0)));
        byte[] notUtf8 = file("{\"?\":1}", 0);
        notUtf8[10] = (byte) 0xFF;
        assertThrows(CheckpointException.class, () -> open(notUtf8));
        String longName = "{\"" + "n".repeat(5000) + "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
        assertThrows(CheckpointException.class, () -> open(file(longName, 4)));
    }

    @Test
    void everyTruncationAndExtensionIsRefused() throws IOException {
        byte[] whole = file(tensor("a", new float[] {1, 2}, 2), tensor("b", new float[] {3}, 1));
        for (int length = 0; length < whole.length; length++) {
            byte[] cut = Arrays.copyOf(whole, length);
            assertThrows(CheckpointException.class, () -> open(cut), "cut to " + length);
        }
        assertThrows(CheckpointException.class, () -> open(Arrays.copyOf(whole, whole.length + 1)));
    }

    /** Random damage gives a whole file or a typed error, nothing else. */
    @Test
    void damagedHeadersGiveTypedErrors() throws IOException {
        byte[] whole = file(tensor("a", new float[] {1, 2}, 2), tensor("b", new float[] {3}, 1));
        int headerBytes = whole.length - 12;
        long seed = 20_260;
        Random random = new Random(seed);
        String alphabet = "{}[]\",:0123456789-.eE\\u/ \0\u007f";
        for (int x = 0; x < NUM_MUTATIONS; x++) {
            byte[] damaged = whole.clone();
            for (int edits = 1 + random.nextInt(4); edits > 0; edits--) {
                damaged[random.nextInt(headerBytes)] = random.nextBoolean()
                        ? (byte) random.nextInt()
                        : (byte) alphabet.charAt(random.nextInt(alphabet.length()));
            }
            long jsonBytes =
                    ByteBuffer.wrap(damaged).order(ByteOrder.LITTLE_ENDIAN).getLong();
            try {
                int length = SafetensorsHeader.jsonBytes("x", Arrays.copyOf(damaged, 8), damaged.length);
                assertEquals(jsonBytes, length);
                SafetensorsHeader.parse("x", Arrays.copyOfRange(damaged, 8, 8 + length), damaged.length);
            } catch (CheckpointException expected) {
                assertTrue(expected.getMessage().startsWith("x: "));
            } catch (RuntimeException e) {
                fail("seed " + seed + ", mutation " + x, e);
            }
        }
    }
}
