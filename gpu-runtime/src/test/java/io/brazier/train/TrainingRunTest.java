package io.brazier.train;

import static io.brazier.train.TrainerTest.assertSameState;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.checkpoint.CheckpointStore;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.plan.Layout;
import io.brazier.tensor.Mesh;
import io.brazier.train.LoopRanks.Killed;
import io.brazier.train.LoopRanks.Outcome;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Loop, engine, exchange and checkpoints together, on a text that can be learnt by heart. */
class TrainingRunTest {
    private static final int PERIOD = 23;
    private static final int NUM_TOKENS = 2000;
    private static final GptConfig MODEL = GptConfig.of(PERIOD, 16, 2, 2, 16);

    @TempDir
    Path directory;

    private static TrainingConfig.Builder config() {
        return TrainingConfig.builder()
                .batchSize(12)
                .sequenceLength(16)
                .numSteps(30)
                .warmupSteps(5)
                .learningRate(1e-2)
                .evaluationInterval(5)
                .checkpointInterval(5);
    }

    /** @param shares how many of the tokens each rank owns */
    private LoopRanks ranks(TrainingConfig config, int... shares) {
        int[] ends = shares.clone();
        Arrays.parallelPrefix(ends, Integer::sum);
        return LoopRanks.of(MODEL, config, new LoopRanks.Parts() {
                    @Override
                    public TrainingEngine engine(Communicator c) {
                        return CpuEngines.training(
                                config.spec(MODEL, Layout.dataParallel(c.size())),
                                c,
                                1,
                                new InitialWeights(new Gpt(MODEL).parameters(), config.seed()),
                                Fill.NAN);
                    }

                    @Override
                    public BatchSource batches(Communicator c) throws IOException {
                        int end = ends[c.rank()];
                        try (TokenStore.Writer writer = TokenStore.write(directory, PERIOD)) {
                            writer.append(IntStream.range(end - shares[c.rank()], end)
                                    .map(t -> t * t % PERIOD)
                                    .toArray());
                            return new ExchangedBatches(
                                    c, writer.finish(), c.rank(), config, Mesh.dataParallel(c.size()), 0.1);
                        }
                    }
                })
                .ranks(shares.length);
    }

    private static double[] losses(TrainingResult result) {
        return result.steps().stream().mapToDouble(StepReport::loss).toArray();
    }

    @Test
    void learnsAndRepeatsToTheLastBit() throws Exception {
        TrainingConfig config = config().dropout(0.1).build();
        Outcome first = ranks(config, 1500, 500).run().get(0);
        Outcome second = ranks(config, 400, 1600).run().get(1);
        assertSameState(first.state(), second.state());
        assertArrayEquals(losses(first.result()), losses(second.result()));
        assertEquals(first.result().evaluations(), second.result().evaluations());
        double[] losses = losses(first.result());
        assertEquals(Math.log(PERIOD), losses[0], 0.1);
        double validation = first.result().evaluations().get(5).loss();
        assertTrue(validation < 0.6 * losses[0], "validation loss " + validation + " after " + losses[0]);
    }

    /** Ranks cut sums up differently, so f32 rounds differently. */
    @ParameterizedTest
    @CsvSource({"2,1", "2,3", "3,2", "1,4"})
    void everyLayoutLearnsWhatOneRankDoes(int numRanks, int numMicroBatches) throws Exception {
        double[] one = losses(ranks(config().build(), NUM_TOKENS).run().get(0).result());
        int[] shares = new int[numRanks];
        Arrays.fill(shares, NUM_TOKENS / numRanks);
        shares[0] += NUM_TOKENS % numRanks;
        TrainingConfig split = config().numMicroBatches(numMicroBatches).build();
        double[] other = losses(ranks(split, shares).run().get(0).result());
        for (int s = 0; s < one.length; s++) {
            assertEquals(one[s], other[s], 1e-5 * one[s], "step " + (s + 1));
        }
    }

    @ParameterizedTest
    @CsvSource({"7, STEP", "14, EVALUATE", "15, CHECKPOINT_WRITE", "25, CHECKPOINT_COMMIT"})
    void resumesToTheLastBit(long step, TrainingListener.Phase phase) throws Exception {
        TrainingConfig config = config().dropout(0.1).patience(50).build();
        Outcome undisturbed = ranks(config, 1000, 1000).run().get(0);
        CheckpointStore store = new CheckpointStore(
                new LocalStorage(), directory.resolve("saved").toString());
        store.fence(1);
        LoopRanks killed = ranks(config, 1000, 1000)
                .checkpoints(store.directory(), r -> new LocalStorage())
                .listener(rank -> new TrainingListener() {
                    @Override
                    public void onPhase(long now, Phase what) {
                        if (rank == 0 && now >= step && what == phase) {
                            throw new Killed();
                        }
                    }
                });
        assertThrows(Killed.class, killed::run);
        store.fence(2);
        Outcome resumed = ranks(config, 1000, 1000)
                .checkpoints(store.directory(), r -> new LocalStorage())
                .generation(2)
                .run()
                .get(1);
        assertTrue(resumed.result().firstStep() > 0);
        assertSameState(undisturbed.state(), resumed.state());
        List<EvaluationReport> all = undisturbed.result().evaluations();
        List<EvaluationReport> rest = resumed.result().evaluations();
        assertEquals(all.subList(all.size() - rest.size(), all.size()), rest);
    }
}
