package io.brazier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointStore.Source;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Arrays that ranks cut along any dim, part by part and flat on top of that, read back in any windows. */
class SlicesTest {
    @TempDir
    Path directory;

    private final Map<String, Long> bytesRead = new TreeMap<>();
    private CheckpointStore store;

    @BeforeEach
    void fence() throws IOException {
        store = new CheckpointStore(new CountingStorage(), directory.toString());
        store.fence(1);
    }

    private final class CountingStorage extends ForwardingStorage {
        CountingStorage() {
            super(new LocalStorage());
        }

        @Override
        public InputStream openAt(String path, long offset) throws IOException {
            String name = Path.of(path).getFileName().toString();
            return new FilterInputStream(super.openAt(path, offset)) {
                @Override
                public int read(byte[] bytes, int from, int length) throws IOException {
                    int n = super.read(bytes, from, length);
                    bytesRead.merge(name, (long) Math.max(0, n), Long::sum);
                    return n;
                }
            };
        }
    }

    /** Element e of every array is e. */
    private static Source source(Slice slice) {
        List<Float> values = new ArrayList<>();
        Range e = slice.elements();
        slice.shard().forEachRun(e.start(), e.end(), (global, local, count) -> {
            for (long i = 0; i < count; i++) {
                values.add((float) (global + i));
            }
        });
        return new Source(slice, (offset, target) -> {
            for (int i = (int) offset; target.hasRemaining(); i++) {
                target.put(values.get(i));
            }
        });
    }

    /** Parts of a dim of which each rank holds its share of every part; the last ranks may hold less. */
    private static List<Range> share(long[] parts, int index, int size) {
        List<Range> ranges = new ArrayList<>();
        long start = 0;
        for (long part : parts) {
            long each = (part + size - 1) / size;
            long from = Math.min(part, index * each);
            long to = Math.min(part, from + each);
            ranges.add(new Range(start + from, to - from));
            start += part;
        }
        return ranges;
    }

    private Checkpoint save(List<List<Slice>> byRank) throws IOException {
        List<ShardRecord> shards = new ArrayList<>();
        for (int rank = 0; rank < byRank.size(); rank++) {
            List<Source> sources =
                    byRank.get(rank).stream().map(SlicesTest::source).toList();
            shards.add(store.writeShard(3, 1, rank, byRank.size(), sources));
        }
        ObjectNode state = Json.mapper().createObjectNode();
        store.commit(3, 1, shards, state);
        bytesRead.clear();
        return store.open(3);
    }

    private static void assertReads(Checkpoint checkpoint, String array, long offset, int count) {
        FloatBuffer values = FloatBuffer.allocate(count + 2).position(1).limit(count + 1);
        checkpoint.read(array, offset, values);
        assertEquals(count + 1, values.position());
        for (int i = 0; i < count; i++) {
            assertEquals(offset + i, values.get(i + 1), array + " " + offset + " + " + i);
        }
        assertEquals(0, values.get(0));
    }

    @Test
    void everyWindowOfEveryCutComesBack() throws IOException {
        Random random = new Random(4);
        int size = 3;
        Shape shape = Shape.of(7, 5, 36);
        List<List<Slice>> byRank = new ArrayList<>();
        for (int rank = 0; rank < size; rank++) {
            Shard whole = Shard.whole(shape);
            List<Slice> slices = new ArrayList<>();
            slices.add(slice("rows", whole.with(0, share(new long[] {7}, rank, size))));
            slices.add(slice("middle", whole.with(1, share(new long[] {5}, rank, size))));
            slices.add(slice("heads", whole.with(2, share(new long[] {12, 12, 12}, rank, size))));
            slices.add(slice(
                    "both", whole.with(0, share(new long[] {7}, rank, size)).with(2, List.of(new Range(0, 36)))));
            long n = shape.numElements();
            slices.add(new Slice("flat", whole, new Range(n * rank / size, n * (rank + 1) / size - n * rank / size)));
            byRank.add(slices);
        }
        Checkpoint checkpoint = save(byRank);
        for (String array : List.of("rows", "middle", "heads", "both", "flat")) {
            assertReads(checkpoint, array, 0, (int) shape.numElements());
            for (int x = 0; x < 200; x++) {
                int offset = random.nextInt((int) shape.numElements());
                assertReads(checkpoint, array, offset, 1 + random.nextInt((int) shape.numElements() - offset));
            }
        }
    }

    private static Slice slice(String array, Shard shard) {
        return new Slice(array, shard, new Range(0, shard.shape().numElements()));
    }

    /** Every element of a shard is found where a walk over the shard meets it, with all that follow it. */
    @Test
    void findAgreesWithTheWalk() {
        Random random = new Random(9);
        for (int x = 0; x < 200; x++) {
            Shard shard = Shard.whole(Shape.of(1 + random.nextInt(4), 6, 1 + random.nextInt(7)));
            for (int d = 0; d < 3; d++) {
                if (random.nextBoolean()) {
                    long size = shard.global().dim(d);
                    long start = random.nextInt((int) size);
                    shard = shard.with(d, List.of(new Range(start, 1 + random.nextInt((int) (size - start)))));
                }
            }
            shard = random.nextBoolean() ? shard : shard.with(1, List.of(new Range(1, 2), new Range(4, 1)));
            long[] local = new long[(int) shard.global().numElements()];
            java.util.Arrays.fill(local, -1);
            shard.forEachRun(0, shard.shape().numElements(), (global, at, count) -> {
                for (int i = 0; i < count; i++) {
                    local[(int) global + i] = at + i;
                }
            });
            for (int e = 0; e < local.length; e++) {
                Shard.Place place = shard.find(e);
                assertTrue(place.count() > 0 && e + place.count() <= local.length, shard + " " + e);
                for (int i = 0; i < place.count(); i++) {
                    assertEquals(place.local() < 0 ? -1 : place.local() + i, local[e + i], shard + " " + e);
                }
            }
        }
    }

    @Test
    void whatNobodyHoldsIsNamed() throws IOException {
        Shard shard = Shard.whole(Shape.of(4, 10)).with(1, List.of(new Range(0, 3), new Range(4, 6)));
        Checkpoint checkpoint = save(List.of(List.of(slice("w", shard))));
        assertReads(checkpoint, "w", 14, 9);
        String message = assertThrows(CheckpointException.class, () -> assertReads(checkpoint, "w", 14, 10))
                .getMessage();
        assertTrue(message.contains("no element 23 of w"), message);
        assertThrows(CheckpointException.class, () -> checkpoint.verify("v", 0, 1));
    }

    /** A file is hashed once, and only when something of it is read; then what is read costs little more than its bytes. */
    @Test
    void onlyWhatIsAskedForIsRead() throws IOException {
        Shape shape = Shape.of(100, 20_000);
        List<List<Slice>> byRank = new ArrayList<>();
        for (int rank = 0; rank < 4; rank++) {
            byRank.add(List.of(slice("w", Shard.whole(shape).with(0, List.of(new Range(25L * rank, 25))))));
        }
        Checkpoint checkpoint = save(byRank);
        assertTrue(bytesRead.keySet().stream().noneMatch(name -> name.startsWith("rank")), bytesRead.toString());
        checkpoint.verify("w", 10 * 20_000, 20_000);
        checkpoint.verify("w", 30 * 20_000, 20_000);
        assertEquals(
                2,
                bytesRead.keySet().stream()
                        .filter(name -> name.startsWith("rank"))
                        .count());
        bytesRead.clear();
        for (int row = 10; row < 20; row++) {
            for (int column = 0; column < 20_000; column += 1000) {
                assertReads(checkpoint, "w", row * 20_000L + column, 1000);
            }
        }
        long bytes = bytesRead.remove("rank-00000-of-00004.safetensors");
        assertTrue(bytes < 1.2 * 10 * 20_000 * Float.BYTES, bytes + " bytes");
        assertEquals(Map.of(), bytesRead);
    }

    @Test
    void theManifestListsEqualSlicesOnce() {
        Shard shard = Shard.whole(Shape.of(8, 12)).with(1, List.of(new Range(0, 2), new Range(6, 2)));
        List<Slice> slices = List.of(slice("weight/a", shard), slice("m/a", shard), slice("weight/b", shard));
        assertEquals(1, Slice.toJson(slices).size());
        assertEquals(slices, Slice.fromJson("here", Slice.toJson(slices)));
    }

    @Test
    void slicesThatCannotBeAreRefused() {
        for (String change : List.of(
                "\"from\":0|\"from\":3",
                "\"from\":0|\"from\":-1",
                "\"count\":32|\"count\":0",
                "[0,2,6,2]|[0,2,6,7]",
                "[0,2,6,2]|[6,2,0,2]",
                "[0,2,6,2]|[]",
                "[[0,8],|[[0,\"8\"],",
                "[[0,8],|[[0,8],[0,8],",
                "\"shape\":[8,12]|\"shape\":[]")) {
            Shard shard = Shard.whole(Shape.of(8, 12)).with(1, List.of(new Range(0, 2), new Range(6, 2)));
            String json = "{\"slices\":" + Slice.toJson(List.of(slice("w", shard))) + "}";
            String[] halves = change.split("\\|");
            assertTrue(json.contains(halves[0]), json + " " + change);
            byte[] changed = json.replace(halves[0], halves[1]).getBytes(java.nio.charset.StandardCharsets.UTF_8);
            assertThrows(
                    CheckpointException.class,
                    () -> Slice.fromJson("here", Json.parse("here", changed).path("slices")),
                    change);
        }
    }
}
