package io.brazier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class SafetensorsTest {
    private static final Storage STORAGE = new LocalStorage();
    private static final long SEED = 5;

    @TempDir
    Path directory;

    private SafetensorsFile open(byte[] file) throws IOException {
        Path path = directory.resolve("x.safetensors");
        Files.write(path, file);
        return SafetensorsFile.open(STORAGE, path.toString());
    }

    /** A file put together by hand. */
    private static byte[] file(byte[] json, int dataBytes) {
        ByteBuffer file = ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
        return file.putLong(json.length).put(json).array();
    }

    private static byte[] file(String json, int dataBytes) {
        return file(json.getBytes(StandardCharsets.UTF_8), dataBytes);
    }

    private static String tensor(String name, String type, String shape, String offsets) {
        return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
    }

    private static String good() {
        return tensor("a", "F32", "[2]", "[0,8]");
    }

    /** Reads as Python's safetensors does: offsets count from the end of the header, elements are little endian, rows first. */
    @Test
    void readsAFileWrittenByHand() throws IOException {
        byte[] bytes = file(
                "{\"__metadata__\":{\"format\":\"pt\"}," + tensor("b", "BF16", "[3]", "[12,18]") + ","
                        + tensor("a", "F32", "[3,1]", "[0,12]") + "," + tensor("e", "F32", "[0,4]", "[12,12]") + ","
                        + tensor("s", "F32", "[]", "[18,22]") + "}   ",
                22);
        ByteBuffer data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).position(bytes.length - 22);
        data.putFloat(1.5f).putFloat(-2).putFloat(Float.MIN_VALUE);
        data.putShort((short) 0x3FC0)
                .putShort((short) 0x8000)
                .putShort((short) 0xFF80)
                .putFloat(7);
        SafetensorsFile file = open(bytes);
        assertEquals(Map.of("format", "pt"), file.metadata());
        assertEquals(List.of(3L, 1L), file.shape("a"));
        assertEquals(List.of(), file.shape("s"));
        assertArrayEquals(new float[] {-2, Float.MIN_VALUE}, read(file, "a", 1, 2));
        assertArrayEquals(new float[] {1.5f, -0f, Float.NEGATIVE_INFINITY}, read(file, "b", 0, 3));
        assertArrayEquals(new float[] {7}, read(file, "s", 0, 1));
        assertArrayEquals(new float[0], read(file, "e", 0, 0));
        assertThrows(CheckpointException.class, () -> file.shape("c"));
        for (long[] range : new long[][] {{-1, 1}, {3, 1}, {0, 4}, {Long.MAX_VALUE, 1}}) {
            assertThrows(IndexOutOfBoundsException.class, () -> read(file, "a", range[0], (int) range[1]));
        }
    }

    private static float[] read(SafetensorsFile file, String name, long offset, int count) {
        float[] values = new float[count];
        file.read(name, offset, FloatBuffer.wrap(values));
        return values;
    }

    /** Every binary16 against its definition: (-1)^s 2^(e - 15) 1.f, and 2^-14 0.f below. */
    @Test
    void everyHalf() throws IOException {
        byte[] bytes = file("{" + tensor("h", "F16", "[65536]", "[0,131072]") + "}", 1 << 17);
        ByteBuffer data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).position(bytes.length - (1 << 17));
        for (int bits = 0; bits < 1 << 16; bits++) {
            data.putShort((short) bits);
        }
        float[] values = read(open(bytes), "h", 0, 1 << 16);
        for (int bits = 0; bits < 1 << 16; bits++) {
            int exponent = bits / 1024 % 32;
            double fraction = bits % 1024 / 1024.0;
            double sign = bits < 1 << 15 ? 1 : -1;
            double special = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
            double normal = exponent == 31 ? special : Math.pow(2, exponent - 15) * (1 + fraction);
            double expected = sign * (exponent == 0 ? Math.pow(2, -14) * fraction : normal);
            assertEquals((float) expected, values[bits], "bits " + bits);
        }
    }

    @Test
    void whatIsWrittenIsReadInAnySlices() throws IOException {
        Random random = new Random(SEED);
        float[] a = new float[600_001];
        for (int i = 0; i < a.length; i++) {
            a[i] = Float.intBitsToFloat(random.nextInt(0x7F800000));
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        SafetensorsWriter.write(
                out,
                List.of(
                        new SafetensorsWriter.Tensor(
                                "naïve \"x\"",
                                List.of(1L, (long) a.length),
                                (offset, target) -> target.put(a, (int) offset, target.remaining())),
                        new SafetensorsWriter.Tensor("none", List.of(0L), (offset, target) -> {}),
                        new SafetensorsWriter.Tensor("one", List.of(), (offset, target) -> target.put(3))),
                Map.of("format", "pt"));
        byte[] bytes = out.toByteArray();
        long header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
        assertEquals(0, header % 8, "data must be aligned");
        SafetensorsFile file = open(bytes);
        assertEquals(List.of("naïve \"x\"", "none", "one"), new ArrayList<>(file.names()));
        for (int i = 0; i < 20; i++) {
            int from = random.nextInt(a.length);
            int count = random.nextInt(a.length - from + 1);
            float[] expected = new float[count];
            System.arraycopy(a, from, expected, 0, count);
            assertArrayEquals(expected, read(file, "naïve \"x\"", from, count));
        }
        assertArrayEquals(new float[] {3}, read(file, "one", 0, 1));
    }

    static Stream<Arguments> hostile() {
        String long64 = "[" + "1,".repeat(64) + "1]";
        return Stream.of(
                Arguments.of("empty", new byte[0]),
                Arguments.of("seven bytes", new byte[7]),
                Arguments.of("header length 0", new byte[8]),
                Arguments.of("header longer than file", longHeader(100)),
                Arguments.of("header over the limit", longHeader(100_000_001)),
                Arguments.of("header length 2^63 - 1", longHeader(Long.MAX_VALUE)),
                Arguments.of("negative header length", longHeader(-1)),
                Arguments.of("header length 2^63", longHeader(Long.MIN_VALUE)),
                Arguments.of("array", file("[]", 0)),
                Arguments.of("leading blank", file(" {" + good() + "}", 8)),
                Arguments.of("byte order mark", file("\uFEFF{" + good() + "}", 8)),
                Arguments.of("trailing token", file("{" + good() + "} {}", 8)),
                Arguments.of("unterminated", file("{" + good(), 8)),
                Arguments.of("bad UTF-8", file("{\"\u00FF\":{}}".getBytes(StandardCharsets.ISO_8859_1), 0)),
                Arguments.of(
                        "overlong UTF-8",
                        file(
                                ("{" + tensor("\u00C0\u0080", "F32", "[2]", "[0,8]") + "}")
                                        .getBytes(StandardCharsets.ISO_8859_1),
                                8)),
                Arguments.of("deep nesting", file("{\"a\":" + "[".repeat(100_000) + "}", 0)),
                Arguments.of("deep nesting in an entry", file("{\"a\":" + "{\"shape\":".repeat(100_000) + "}", 0)),
                Arguments.of("duplicate tensors", file("{" + good() + "," + good() + "}", 8)),
                Arguments.of("duplicate fields", file("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0)),
                Arguments.of("unknown field", file("{\"a\":{\"x\":1}}", 0)),
                Arguments.of("missing fields", file("{\"a\":{\"dtype\":\"F32\"}}", 0)),
                Arguments.of("no object", file("{\"a\":1}", 0)),
                Arguments.of(
                        "number of 1,000 digits",
                        file("{" + tensor("a", "F32", "[" + "9".repeat(1000) + "]", "[0,8]") + "}", 8)),
                Arguments.of("2^63 elements", file("{" + tensor("a", "U8", "[9223372036854775808]", "[0,8]") + "}", 8)),
                Arguments.of("fraction", file("{" + tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8)),
                Arguments.of("negative dim", file("{" + tensor("a", "F32", "[-2]", "[0,8]") + "}", 8)),
                Arguments.of("two negative dims", file("{" + tensor("a", "F32", "[-2,-1]", "[0,8]") + "}", 8)),
                Arguments.of("negative offset", file("{" + tensor("a", "F32", "[2]", "[-8,0]") + "}", 8)),
                Arguments.of("reversed offsets", file("{" + tensor("a", "F32", "[2]", "[8,0]") + "}", 8)),
                Arguments.of("three offsets", file("{" + tensor("a", "F32", "[2]", "[0,8,8]") + "}", 8)),
                Arguments.of("size mismatch", file("{" + tensor("a", "F32", "[3]", "[0,8]") + "}", 8)),
                Arguments.of(
                        "shape overflow",
                        file("{" + tensor("a", "F32", "[4294967296,4294967296,0]", "[0,0]") + "}", 0)),
                Arguments.of("rank 65", file("{" + tensor("a", "F32", long64, "[0,4]") + "}", 4)),
                Arguments.of("unknown dtype", file("{" + tensor("a", "F33", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("overlap", file("{" + good() + "," + tensor("b", "F32", "[2]", "[4,12]") + "}", 12)),
                Arguments.of(
                        "same range twice", file("{" + good() + "," + tensor("b", "F32", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("gap", file("{" + good() + "," + tensor("b", "F32", "[2]", "[12,20]") + "}", 20)),
                Arguments.of("gap at the start", file("{" + tensor("a", "F32", "[2]", "[4,12]") + "}", 12)),
                Arguments.of("trailing byte", file("{" + good() + "}", 9)),
                Arguments.of("missing byte", file("{" + good() + "}", 7)),
                Arguments.of("name ../x", file("{" + tensor("../x", "F32", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("name a/../x", file("{" + tensor("a/../x", "F32", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("name /etc/x", file("{" + tensor("/etc/x", "F32", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("NUL in a name", file("{" + tensor("a\\u0000", "F32", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("empty name", file("{" + tensor("", "F32", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("long name", file("{" + tensor("a".repeat(100_000), "F32", "[2]", "[0,8]") + "}", 8)),
                Arguments.of("metadata that is no object", file("{\"__metadata__\":1," + good() + "}", 8)),
                Arguments.of("metadata that is no string", file("{\"__metadata__\":{\"a\":{}}," + good() + "}", 8)));
    }

    private static byte[] longHeader(long length) {
        return ByteBuffer.allocate(64)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(length)
                .array();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource
    void hostile(String what, byte[] file) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> open(file));
        assertTrue(e.getMessage().startsWith(directory.toString()), e.getMessage());
        assertTrue(
                e.getMessage().length() < 4096, "a message of " + e.getMessage().length() + " characters");
    }

    @Test
    void everyTruncationAndExtensionIsRefused() throws IOException {
        byte[] whole = file("{" + good() + "," + tensor("b", "F32", "[1]", "[8,12]") + "}", 12);
        open(whole);
        for (int length = 0; length < whole.length; length++) {
            byte[] cut = Arrays.copyOf(whole, length);
            assertThrows(CheckpointException.class, () -> open(cut), "cut to " + length);
        }
        assertThrows(CheckpointException.class, () -> open(Arrays.copyOf(whole, whole.length + 1)));
    }

    /** What is allocated, garbage included, bounds the heap from above. */
    @Test
    void millionsOfTensorsDoNotFillTheHeap() throws IOException {
        String empty = "\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},";
        StringBuilder json = new StringBuilder("{");
        for (int x = 0; x < 500_000; x++) {
            json.append('"').append(Integer.toString(x, 36)).append(empty);
        }
        byte[] file = file(json.append("}").toString(), 1);
        com.sun.management.ThreadMXBean threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        long before = threads.getCurrentThreadAllocatedBytes();
        CheckpointException e = assertThrows(CheckpointException.class, () -> open(file));
        long allocated = threads.getCurrentThreadAllocatedBytes() - before;
        assertTrue(e.getMessage().contains("more than 262144 tensors"), e.getMessage());
        assertTrue(allocated < 10 * SafetensorsHeader.MAX_JSON_BYTES, allocated + " bytes");
    }

    /** Damaged headers are refused by the one exception, or are as good as the undamaged. */
    @Test
    void damagedHeadersGiveOnlyTypedErrors() {
        byte[] json = ("{\"__metadata__\":{\"format\":\"pt\",\"é\":\"\\u00e9\"},"
                        + tensor("h.0.w", "F32", "[2,3]", "[0,24]")
                        + "," + tensor("h.0.b", "BF16", "[4]", "[24,32]") + "," + tensor("s", "I64", "[]", "[32,40]")
                        + "}    ")
                .getBytes(StandardCharsets.UTF_8);
        byte[] interesting = "{}[]\":,0129-+eE.\\u \u0000\u00FF".getBytes(StandardCharsets.ISO_8859_1);
        Random random = new Random(SEED);
        int numRefused = 0;
        int numRuns = Integer.getInteger("brazier.fuzz", 50_000);
        for (int run = 0; run < numRuns; run++) {
            byte[] damaged = damage(json, interesting, random);
            try {
                SafetensorsHeader header = SafetensorsHeader.parse("x", damaged, 8 + damaged.length + 40);
                long end = header.tensors().values().stream()
                        .mapToLong(SafetensorsHeader.Tensor::end)
                        .max()
                        .orElse(0);
                assertEquals(40, end);
            } catch (CheckpointException e) {
                numRefused++;
            } catch (RuntimeException | Error e) {
                throw new AssertionError(
                        "seed " + SEED + " run " + run + ": " + new String(damaged, StandardCharsets.UTF_8), e);
            }
        }
        assertTrue(numRefused > numRuns / 2, numRefused + " refused");
    }

    private static byte[] damage(byte[] json, byte[] interesting, Random random) {
        byte[] damaged = json.clone();
        for (int edits = 1 + random.nextInt(4); edits > 0; edits--) {
            int at = random.nextInt(damaged.length);
            int length = random.nextInt(Math.min(16, damaged.length - at) + 1);
            switch (random.nextInt(5)) {
                case 0 -> damaged[at] ^= (byte) (1 << random.nextInt(8));
                case 1 -> damaged[at] = interesting[random.nextInt(interesting.length)];
                case 2 -> damaged = splice(damaged, at, at + length, new byte[0]);
                case 3 -> damaged = splice(damaged, at, at, Arrays.copyOfRange(damaged, at, at + length));
                default -> {
                    byte[] few = new byte[1 + random.nextInt(20)];
                    for (int i = 0; i < few.length; i++) {
                        few[i] = interesting[random.nextInt(interesting.length)];
                    }
                    damaged = splice(damaged, at, at, few);
                }
            }
            if (damaged.length == 0) {
                return json.clone();
            }
        }
        return damaged;
    }

    private static byte[] splice(byte[] bytes, int from, int to, byte[] middle) {
        return ByteBuffer.allocate(bytes.length - (to - from) + middle.length)
                .put(bytes, 0, from)
                .put(middle)
                .put(bytes, to, bytes.length - to)
                .array();
    }
}
