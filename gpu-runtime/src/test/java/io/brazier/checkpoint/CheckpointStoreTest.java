package io.brazier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointStore.Source;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointStoreTest {
    private static final int COUNT = 1000;
    private static final int NUM_RANKS = 2;

    @TempDir
    Path directory;

    private CheckpointStore store;

    @BeforeEach
    void fence() throws IOException {
        store = new CheckpointStore(new LocalStorage(), directory.toString());
        store.fence(1);
    }

    private static float[] values(long step) {
        float[] values = new float[COUNT];
        for (int i = 0; i < COUNT; i++) {
            values[i] = step * 1000 + i;
        }
        return values;
    }

    /** Each rank writes half of one array. */
    private static List<ShardRecord> shards(CheckpointStore store, long step, int generation) throws IOException {
        float[] values = values(step);
        List<ShardRecord> shards = new ArrayList<>();
        int half = COUNT / NUM_RANKS;
        for (int rank = 0; rank < NUM_RANKS; rank++) {
            int first = rank * half;
            Source source = new Source(
                    new Slice("weight/w", Shard.whole(Shape.of(COUNT)), new Range(first, half)),
                    (offset, target) -> target.put(values, first + (int) offset, target.remaining()));
            shards.add(store.writeShard(step, generation, rank, NUM_RANKS, List.of(source)));
        }
        return shards;
    }

    private static String save(CheckpointStore store, long step, int generation) throws IOException {
        ObjectNode state = Json.mapper().createObjectNode().put("position", step);
        return store.commit(step, generation, shards(store, step, generation), state);
    }

    private static float[] read(Checkpoint checkpoint, int offset, int count) {
        float[] values = new float[count];
        checkpoint.read("weight/w", offset, FloatBuffer.wrap(values));
        return values;
    }

    /** Step of the newest checkpoint that is whole; -1 for none. */
    private long latestStep(List<String> warnings) {
        for (long step : store.steps()) {
            try {
                store.open(step).verify("weight/w", 0, COUNT);
                return step;
            } catch (CheckpointException e) {
                warnings.add(e.getMessage());
            }
        }
        return -1;
    }

    @Test
    void anySliceComesBackAcrossShards() throws IOException {
        save(store, 120, 1);
        Checkpoint checkpoint = store.open(120);
        assertEquals(120, checkpoint.step());
        assertEquals(120, checkpoint.state().path("position").asLong());
        for (int[] slice : new int[][] {{0, COUNT}, {499, 2}, {0, 1}, {999, 1}, {300, 400}}) {
            assertArrayEquals(
                    Arrays.copyOfRange(values(120), slice[0], slice[0] + slice[1]),
                    read(checkpoint, slice[0], slice[1]));
        }
        assertThrows(CheckpointException.class, () -> read(checkpoint, 999, 2));
    }

    @Test
    void onlyTheCurrentGenerationCommits() throws IOException {
        List<ShardRecord> stale = shards(store, 10, 1);
        store.fence(2);
        assertThrows(
                IOException.class,
                () -> store.commit(10, 1, stale, Json.mapper().createObjectNode()));
        assertEquals(List.of(), store.steps());
        List<ShardRecord> zombie = shards(store, 10, 1);
        assertThrows(
                IOException.class,
                () -> store.commit(10, 1, zombie, Json.mapper().createObjectNode()));
        save(store, 10, 2);
        assertEquals(List.of(10L), store.steps());
        assertEquals(2, store.generation());
    }

    @Test
    void aStepIsThereOnce() throws IOException {
        String first = save(store, 10, 1);
        store.fence(2);
        assertEquals(first, save(store, 10, 2));
        assertEquals(List.of(10L), store.steps());
        assertEquals(10, latestStep(new ArrayList<>()));
        assertNoTemporaries();
    }

    private interface Pause {
        void run() throws IOException;
    }

    /** A store whose attempt stands still before its nth rename while something else happens. */
    private CheckpointStore pausing(int rename, Pause pause) {
        int[] renames = {0};
        Storage storage = new ForwardingStorage(new LocalStorage()) {
            @Override
            public void rename(String from, String to) throws IOException {
                if (++renames[0] == rename) {
                    pause.run();
                }
                super.rename(from, to);
            }
        };
        return new CheckpointStore(storage, directory.toString());
    }

    /** A zombie wakes up behind the check of its generation: what the newer attempt committed stays. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void aZombieTakesNothingAway(int rename) throws IOException {
        save(store, 10, 1);
        CheckpointStore zombie = pausing(rename, () -> {
            store.fence(2);
            save(store, 10, 2);
        });
        assertThrows(IOException.class, () -> save(zombie, 10, 1));
        Checkpoint committed = store.open(10);
        assertEquals(10, committed.step());
        assertTrue(Files.readString(Path.of(committed.path(), "manifest.json")).contains("\"generation\" : 2"));
        assertNoTemporaries();
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void anAttemptThatDiesWhileItReplacesLosesNothing(int rename) throws IOException {
        save(store, 10, 1);
        CheckpointStore dying = pausing(rename, () -> {
            throw new IllegalStateException("killed");
        });
        assertThrows(IllegalStateException.class, () -> save(dying, 10, 1));
        store.fence(2);
        assertEquals(10, latestStep(new ArrayList<>()));
        assertNoTemporaries();
        assertThrows(IOException.class, () -> store.fence(1));
    }

    /** No byte of manifest, header or data can change what is read: it is refused, or only its layout as text differs. */
    @Test
    void everyByteIsChecked() throws IOException {
        Random random = new Random(120);
        Path checkpoint = Path.of(save(store, 10, 1));
        for (String name : List.of("manifest.json", "rank-00000-of-00002.safetensors")) {
            Path file = checkpoint.resolve(name);
            byte[] whole = Files.readAllBytes(file);
            for (int x = 0; x < whole.length; x += x < 800 ? 1 : 13) {
                byte[] damaged = whole.clone();
                damaged[x] ^= (byte) (1 << random.nextInt(8));
                Files.write(file, damaged);
                try {
                    Checkpoint read = store.open(checkpoint.toString());
                    float[] found = read(read, 0, COUNT);
                    assertEquals("manifest.json", name, "byte " + x);
                    assertEquals(10, read.step());
                    assertEquals(Json.mapper().createObjectNode().put("position", 10), read.state());
                    assertArrayEquals(values(10), found);
                } catch (CheckpointException e) {
                    assertTrue(e.getMessage().startsWith(checkpoint.toString()), e.getMessage());
                }
            }
            Files.write(file, whole);
        }
    }

    @Test
    void oldOnesAreRemoved() throws IOException {
        for (long step = 1; step <= 4; step++) {
            save(store, step, 1);
        }
        store.keepLast(2);
        assertEquals(List.of(4L, 3L), store.steps());
    }

    private void assertNoTemporaries() throws IOException {
        try (var files = Files.list(directory)) {
            assertTrue(files.noneMatch(f -> f.toString().matches(".*\\.(tmp|aside)")));
        }
    }

    private interface Damage {
        void apply(Path shard) throws IOException;
    }

    private static Damage truncate(long length) {
        return shard -> {
            try (var channel = Files.newByteChannel(shard, StandardOpenOption.WRITE)) {
                channel.truncate(length);
            }
        };
    }

    private static Damage flip(long position) {
        return shard -> {
            byte[] bytes = Files.readAllBytes(shard);
            int at = (int) (position < 0 ? bytes.length + position : position);
            bytes[at] ^= 4;
            Files.write(shard, bytes);
        };
    }

    /** Whatever is damaged in the newest checkpoint: it is refused whole, and the one before is taken. */
    @Test
    void damageFallsBackToTheOneBefore() throws IOException {
        List<Damage> damages = new ArrayList<>(List.of(
                truncate(0),
                truncate(7),
                truncate(8),
                truncate(40),
                truncate(2000),
                flip(0),
                flip(9),
                flip(100),
                flip(-1),
                flip(-2000),
                shard -> Files.write(shard, new byte[1], StandardOpenOption.APPEND),
                Files::delete,
                shard -> swap(shard, shard.resolveSibling("rank-00001-of-00002.safetensors")),
                shard -> Files.copy(
                        directory.resolve("step-00000001").resolve(shard.getFileName()),
                        shard,
                        StandardCopyOption.REPLACE_EXISTING),
                shard -> Files.delete(shard.resolveSibling("manifest.json")),
                shard -> truncate(30).apply(shard.resolveSibling("manifest.json")),
                shard -> flip(1).apply(shard.resolveSibling("manifest.json"))));
        save(store, 1, 1);
        for (int x = 0; x < damages.size(); x++) {
            Path newest = Path.of(save(store, 2, 1));
            assertEquals(2, latestStep(new ArrayList<>()));
            damages.get(x).apply(newest.resolve("rank-00000-of-00002.safetensors"));
            List<String> warnings = new ArrayList<>();
            assertEquals(1, latestStep(warnings), "damage " + x);
            assertEquals(1, warnings.size());
            assertTrue(warnings.get(0).contains("step-00000002"), warnings.get(0));
            assertThrows(CheckpointException.class, () -> read(store.open(newest.toString()), 0, COUNT));
            new LocalStorage().delete(newest.toString());
        }
    }

    @Test
    void aCheckpointInThePlaceOfAnotherIsNotTaken() throws IOException {
        for (long step = 1; step <= 3; step++) {
            save(store, step, 1);
        }
        swap(directory.resolve("step-00000002"), directory.resolve("step-00000003"));
        List<String> warnings = new ArrayList<>();
        assertEquals(1, latestStep(warnings));
        assertEquals(2, warnings.size(), warnings.toString());
    }

    /** An attempt that was given up goes on writing while the next one clears its files away. */
    @Test
    void fencingRacesWithAWriter() throws Exception {
        AtomicBoolean fenced = new AtomicBoolean();
        Thread zombie = new Thread(() -> {
            for (int file = 0; !fenced.get(); file++) {
                try {
                    Path temporary = directory.resolve(".step-00000010.g1.tmp");
                    Files.createDirectories(temporary);
                    Files.write(temporary.resolve("rank-" + file % 50), new byte[1]);
                } catch (IOException e) {
                    continue; // cleared away between the two lines
                }
            }
        });
        zombie.start();
        try {
            for (int generation = 2; generation < 200; generation++) {
                store.fence(generation);
                assertEquals(generation, store.generation());
            }
        } finally {
            fenced.set(true);
            zombie.join();
        }
    }

    private static void swap(Path a, Path b) throws IOException {
        Path c = a.resolveSibling("swap");
        Files.move(a, c);
        Files.move(b, a);
        Files.move(c, b);
    }

    /** The disk is full at every byte in turn. */
    @Test
    void aFullDiskLeavesThePreviousCheckpoint() throws IOException {
        save(store, 1, 1);
        byte[] before = Files.readAllBytes(directory.resolve("step-00000001/manifest.json"));
        long budget = 0;
        boolean saved = false;
        while (!saved) {
            CheckpointStore limited =
                    new CheckpointStore(new LimitedStorage(new LocalStorage(), budget), directory.toString());
            try {
                save(limited, 2, 1);
                saved = true;
            } catch (IOException e) {
                assertEquals("No space left on device", e.getMessage());
                limited.discard(2, 1);
                assertEquals(List.of(1L), store.steps());
                assertNoTemporaries();
            }
            budget += 97;
        }
        assertTrue(budget > 97 * 20);
        assertEquals(2, latestStep(new ArrayList<>()));
        assertArrayEquals(before, Files.readAllBytes(directory.resolve("step-00000001/manifest.json")));
    }
}
