package io.brazier.train;

import static io.brazier.train.TrainerTest.assertSameState;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.checkpoint.CheckpointStore;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.checkpoint.Storage;
import io.brazier.train.LoopRanks.Killed;
import io.brazier.train.LoopRanks.Outcome;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingListener.Phase;
import io.brazier.train.TrainingResult.End;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A run that is interrupted anywhere ends with the bits of one that is not. */
class TrainingCheckpointsTest {
    private static final IntFunction<Storage> LOCAL = rank -> new LocalStorage();

    @TempDir
    Path directory;

    private static TrainingConfig.Builder config() {
        return TrainingConfig.builder()
                .batchSize(12)
                .sequenceLength(3)
                .numSteps(14)
                .warmupSteps(2)
                .evaluationInterval(2)
                .checkpointInterval(4);
    }

    private LoopRanks ranks(TrainingConfig config, int numRanks, int generation) throws IOException {
        store().fence(generation);
        return new LoopRanks(config)
                .ranks(numRanks)
                .checkpoints(directory.toString(), LOCAL)
                .generation(generation);
    }

    private CheckpointStore store() {
        return new CheckpointStore(new LocalStorage(), directory.toString());
    }

    /** Ends a rank when it is about to do something. */
    private static IntFunction<TrainingListener> killer(int victim, long step, Phase phase) {
        return rank -> new TrainingListener() {
            @Override
            public void onPhase(long now, Phase what) {
                if (rank == victim && now == step && what == phase) {
                    throw new Killed();
                }
            }
        };
    }

    private List<String> files() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    @ParameterizedTest
    @EnumSource(Phase.class)
    void goesOnToTheSameBits(Phase phase) throws Exception {
        Outcome undisturbed = new LoopRanks(config().build()).ranks(2).run().get(0);
        for (int victim = 0; victim < 2; victim++) {
            int generation = 2 * victim + 1;
            LoopRanks first = ranks(config().build(), 2, generation).listener(killer(victim, 8, phase));
            assertThrows(Killed.class, first::run);
            // When rank 1 dies at the commit, all shards are written, and rank 0 may be quicker.
            List<Long> possible = phase == Phase.STEP
                    ? List.of(8L)
                    : phase == Phase.CHECKPOINT_COMMIT && victim == 1 ? List.of(4L, 8L) : List.of(4L);
            for (Outcome outcome : ranks(config().build(), 2, generation + 1).run()) {
                assertTrue(possible.contains(outcome.result().firstStep()));
                assertEquals(14, outcome.result().numSteps());
                assertEquals(undisturbed.result().bestStep(), outcome.result().bestStep());
                assertSameState(undisturbed.state(), outcome.state());
            }
            assertEquals(List.of(".generation-" + (generation + 1), "step-00000012", "step-00000014"), files());
            store().keepLast(0);
        }
    }

    /** Saved by one number of ranks, taken up by another. */
    @ParameterizedTest
    @CsvSource({"1,3", "3,1", "2,4", "4,2"})
    void layoutMayChange(int before, int after) throws Exception {
        Outcome undisturbed = new LoopRanks(config().build()).run().get(0);
        assertThrows(Killed.class, () -> ranks(config().build(), before, 1)
                .listener(killer(before - 1, 9, Phase.STEP))
                .run());
        for (Outcome outcome : ranks(config().build(), after, 2).run()) {
            assertEquals(8, outcome.result().firstStep());
            assertSameState(undisturbed.state(), outcome.state());
        }
    }

    private static FakeEngine.Script losses(double... losses) {
        return new FakeEngine.Script() {
            @Override
            public double validationLoss(long numSteps) {
                return losses[(int) numSteps / 2 - 1];
            }
        };
    }

    @Test
    void patienceAndBestWeightsSurvive() throws Exception {
        FakeEngine.Script script = losses(5, 4, 4.5, 4.2, 4.1, 4.3, 1);
        TrainingConfig config = config().patience(4).build();
        Outcome undisturbed =
                new LoopRanks(config).ranks(2).script(script).run().get(0);
        assertEquals(End.PATIENCE, undisturbed.result().end());
        assertEquals(12, undisturbed.result().numSteps());
        assertThrows(Killed.class, () -> ranks(config, 2, 1)
                .script(script)
                .listener(killer(1, 9, Phase.STEP))
                .run());
        for (Outcome outcome : ranks(config, 2, 2).script(script).run()) {
            assertEquals(End.PATIENCE, outcome.result().end());
            assertEquals(12, outcome.result().numSteps());
            assertEquals(4, outcome.result().bestStep());
            assertSameState(undisturbed.state(), outcome.state());
        }
    }

    /** An attempt that died behind its last checkpoint has nothing left to do. */
    @ParameterizedTest
    @ValueSource(ints = {0, 4})
    void aFinishedRunStaysFinished(int patience) throws Exception {
        FakeEngine.Script script = losses(5, 4, 4.5, 4.2, 4.1, 4.3, 1);
        TrainingConfig config = config().patience(patience).build();
        Outcome first = ranks(config, 2, 1).script(script).run().get(0);
        List<String> before = files();
        for (Outcome outcome : ranks(config, 2, 2).script(script).run()) {
            assertEquals(first.result().numSteps(), outcome.result().firstStep());
            assertEquals(first.result().numSteps(), outcome.result().numSteps());
            assertEquals(first.result().end(), outcome.result().end());
            assertSameState(first.state(), outcome.state());
        }
        assertEquals(before.size(), files().size());
    }

    @Test
    void aStoppedRunGoesOn() throws Exception {
        TrainingConfig config = config().numSteps(25).build();
        Outcome undisturbed = new LoopRanks(config).ranks(2).run().get(0);
        Outcome stopped = ranks(config, 2, 1)
                .listener(rank -> new TrainingListener() {
                    @Override
                    public boolean stopRequested() {
                        return true;
                    }
                })
                .run()
                .get(0);
        assertEquals(End.STOP_REQUESTED, stopped.result().end());
        Outcome resumed = ranks(config, 2, 2).run().get(0);
        assertEquals(stopped.result().numSteps(), resumed.result().firstStep());
        assertSameState(undisturbed.state(), resumed.state());
    }

    /** Fails to write, or to remove, the paths that match. */
    private static final class FailingStorage implements Storage {
        private final Storage next = new LocalStorage();
        private final String unwritable;
        private final String irremovable;

        FailingStorage(String unwritable, String irremovable) {
            this.unwritable = unwritable;
            this.irremovable = irremovable;
        }

        @Override
        public OutputStream create(String path) throws IOException {
            if (!path.matches(unwritable)) {
                return next.create(path);
            }
            OutputStream file = next.create(path);
            return new OutputStream() {
                @Override
                public void write(int b) throws IOException {
                    throw new IOException("No space left on device");
                }

                @Override
                public void close() throws IOException {
                    file.close();
                }
            };
        }

        @Override
        public void rename(String from, String to) throws IOException {
            if (to.matches(unwritable)) {
                throw new IOException("No space left on device");
            }
            next.rename(from, to);
        }

        @Override
        public InputStream openAt(String path, long offset) throws IOException {
            return next.openAt(path, offset);
        }

        @Override
        public long size(String path) throws IOException {
            return next.size(path);
        }

        @Override
        public boolean exists(String path) throws IOException {
            return next.exists(path);
        }

        @Override
        public boolean isLink(String path) throws IOException {
            return next.isLink(path);
        }

        @Override
        public List<String> list(String where) throws IOException {
            return next.list(where);
        }

        @Override
        public void delete(String path) throws IOException {
            if (path.matches(irremovable)) {
                throw new IOException("Read-only file system");
            }
            next.delete(path);
        }

        @Override
        public void createDirectories(String where) throws IOException {
            next.createDirectories(where);
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                ".*step-00000008.*rank-00000.*",
                ".*step-00000008.*rank-00001.*",
                ".*step-00000008.*manifest.*",
                ".*/step-00000008"
            })
    void aFailedSaveIsAWarning(String victim) throws Exception {
        Outcome undisturbed = new LoopRanks(config().build()).ranks(2).run().get(0);
        LoopRanks ranks =
                ranks(config().build(), 2, 1).checkpoints(directory.toString(), r -> new FailingStorage(victim, ""));
        for (Outcome outcome : ranks.run()) {
            assertSameState(undisturbed.state(), outcome.state());
            assertEquals(
                    List.of("checkpoint 4", "warning", "checkpoint 12", "checkpoint 14"),
                    outcome.events().stream()
                            .filter(event -> !event.startsWith("evaluation"))
                            .map(event -> event.startsWith("warning") ? "warning" : event)
                            .toList());
            String warning = outcome.events().stream()
                    .filter(event -> event.startsWith("warning"))
                    .findFirst()
                    .orElseThrow();
            assertTrue(warning.contains("step 8 was not saved"), warning);
            assertTrue(warning.contains("No space left on device"), warning);
        }
        assertEquals(List.of(".generation-1", "step-00000012", "step-00000014"), files());
    }

    /** What cannot be removed is no reason to call a checkpoint unsaved. */
    @Test
    void anOldCheckpointThatStaysIsAWarning() throws Exception {
        for (Outcome outcome : ranks(config().build(), 2, 1)
                .checkpoints(directory.toString(), r -> new FailingStorage("", ".*/step-00000004"))
                .run()) {
            assertTrue(
                    outcome.events().contains("checkpoint 14"), outcome.events().toString());
        }
        assertTrue(files().contains("step-00000014"));
        assertTrue(files().contains("step-00000004"));
    }

    @Test
    void aDamagedCheckpointIsReplaced() throws Exception {
        Outcome undisturbed = new LoopRanks(config().build()).ranks(2).run().get(0);
        LoopRanks first = ranks(config().build(), 2, 1).listener(killer(0, 11, Phase.STEP));
        assertThrows(Killed.class, first::run);
        Path shard = directory.resolve("step-00000008/rank-00001-of-00002.safetensors");
        try (RandomAccessFile file = new RandomAccessFile(shard.toFile(), "rw")) {
            file.setLength(file.length() - 1);
        }
        LoopRanks second = ranks(config().build(), 2, 2).listener(killer(0, 9, Phase.STEP));
        assertThrows(Killed.class, second::run);
        assertEquals(List.of(".generation-2", "step-00000004", "step-00000008"), files());
        Outcome outcome = ranks(config().build(), 2, 3).run().get(0);
        assertEquals(8, outcome.result().firstStep());
        assertSameState(undisturbed.state(), outcome.state());
    }

    @Test
    void otherSettingsAreRefused() throws Exception {
        ranks(config().build(), 2, 1).run();
        for (TrainingConfig other : List.of(
                config().seed(5).build(),
                config().learningRate(2e-3).build(),
                config().batchSize(24).build(),
                config().numSteps(15).build(),
                config().patience(3).build(),
                config().weightDecay(0).build())) {
            TrainingException e = assertThrows(
                    TrainingException.class, () -> ranks(other, 2, 2).run());
            assertEquals(Category.CHECKPOINT, e.category());
            assertTrue(e.getMessage().contains("set resume to never"), e.getMessage());
        }
    }

    @Test
    void aPathIsTakenUpOrRefused() throws Exception {
        Outcome undisturbed = ranks(config().build(), 1, 1).run().get(0);
        String path = store().path(12);
        Outcome outcome = ranks(config().build(), 2, 2)
                .checkpoints(directory.resolve("other").toString(), LOCAL)
                .resume(new Resume.From(path))
                .run()
                .get(0);
        assertEquals(12, outcome.result().firstStep());
        assertSameState(undisturbed.state(), outcome.state());
        TrainingException e = assertThrows(TrainingException.class, () -> ranks(config().build(), 2, 2)
                .resume(new Resume.From(directory + "/step-00000003"))
                .run());
        assertEquals(Category.CHECKPOINT, e.category());
        assertTrue(e.getMessage().contains("step-00000003"), e.getMessage());
    }

    @Test
    void anOldGenerationCannotCommit() throws Exception {
        LoopRanks old = ranks(config().build(), 2, 1);
        store().fence(2);
        Map<String, float[]> undisturbed =
                new LoopRanks(config().build()).ranks(2).run().get(0).state();
        for (Outcome outcome : old.run()) {
            assertSameState(undisturbed, outcome.state());
            assertTrue(outcome.events().stream().noneMatch(event -> event.startsWith("checkpoint")));
            assertTrue(outcome.events().stream().anyMatch(event -> event.contains("generation 2 has begun")));
        }
        assertEquals(List.of(".generation-2"), files());
    }
}
