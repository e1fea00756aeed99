package io.brazier.tests.bench;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.WeightSource;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import java.util.List;

/**
 * A model and a batch that training is timed with.
 *
 * @param title as the table shows it
 * @param name as torch_training.py knows it
 * @param batchSize B, samples of a step on one rank
 * @param sequenceLength T
 */
record BenchCase(String title, String name, GptConfig model, int batchSize, int sequenceLength) {
    static final GptConfig GPT2 = GptConfig.of(50257, 1024, 12, 12, 768);

    static final BenchCase GPT2_T64 = new BenchCase("GPT-2 124M, B 4, T 64", "gpt2-124m-t64", GPT2, 4, 64);
    static final BenchCase GPT2_T256 = new BenchCase("GPT-2 124M, B 4, T 256", "gpt2-124m-t256", GPT2, 4, 256);
    static final BenchCase SMALL =
            new BenchCase("4 layers x 256, V 4096, B 16, T 128", "small", GptConfig.of(4096, 128, 4, 4, 256), 16, 128);

    static final List<BenchCase> ALL = List.of(GPT2_T64, GPT2_T256, SMALL);

    static BenchCase named(String name) {
        return ALL.stream().filter(one -> one.name().equals(name)).findFirst().orElseThrow();
    }

    /** One rank of a data-parallel run in which every rank has the whole batch B; the optimizer is the rival's. */
    TrainingEngine engine(Communicator communicator, int numThreads) {
        return engine(communicator, numThreads, Layout.dataParallel(communicator.size()), batchSize, 1);
    }

    /** One rank of a layout, with rows of each micro-batch. */
    TrainingEngine engine(
            Communicator communicator, int numThreads, Layout layout, int microBatchSize, int numMicroBatches) {
        return CpuEngines.training(
                spec(layout, microBatchSize, numMicroBatches),
                communicator,
                numThreads,
                weights(),
                LoadedPlan.Fill.ZERO);
    }

    WeightSource weights() {
        return new InitialWeights(new Gpt(model).parameters(), 1);
    }

    TrainingSpec spec(Layout layout, int microBatchSize, int numMicroBatches) {
        return new TrainingSpec(
                model,
                layout,
                microBatchSize,
                numMicroBatches,
                sequenceLength,
                0,
                new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0),
                1);
    }

    long tokens() {
        return (long) batchSize * sequenceLength;
    }
}
