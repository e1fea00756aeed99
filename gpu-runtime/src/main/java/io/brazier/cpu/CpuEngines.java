package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.exec.InferenceEngine;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.PlannedInferenceEngine;
import io.brazier.exec.PlannedTrainingEngine;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.nn.WeightSource;
import io.brazier.plan.InferencePlan;
import io.brazier.plan.TrainingPlan;
import io.brazier.tensor.Mesh;

/** Makes engines on this machine's processor. */
public final class CpuEngines {
    private CpuEngines() {}

    /**
     * A data-parallel training rank.
     *
     * @param communicator of all ranks; its rank is this engine's
     * @param numThreads threads of the kernels
     * @param initial first weights
     */
    public static TrainingEngine training(
            TrainingSpec spec, Communicator communicator, int numThreads, WeightSource initial, Fill fill) {
        CpuBackend backend = new CpuBackend(numThreads, group -> communicator);
        TrainingPlan plan = TrainingPlan.make(
                new TrainingPlan.Request(
                        new Gpt(spec.model()),
                        Mesh.dataParallel(communicator.size()),
                        communicator.rank(),
                        spec.microBatchSize(),
                        spec.numMicroBatches(),
                        spec.sequenceLength(),
                        spec.dropout(),
                        spec.optimizer().weightDecay()),
                backend::workspaceBytes);
        return new PlannedTrainingEngine(plan, new LoadedPlan(plan.plan(), backend, fill), spec, initial);
    }

    /**
     * A model for scoring and generation.
     *
     * @param maxTokens longest sequence, at most the model's positions
     */
    public static InferenceEngine inference(
            GptConfig model, WeightSource weights, int numThreads, int maxBatch, int maxTokens) {
        CpuBackend backend = new CpuBackend(numThreads);
        InferencePlan plan = InferencePlan.make(new Gpt(model), maxBatch, maxTokens, backend::workspaceBytes);
        return new PlannedInferenceEngine(
                plan, new LoadedPlan(plan.plan(), backend, Fill.ZERO), model.vocabularySize(), weights);
    }
}
