package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.exec.InferenceEngine;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.PlannedInferenceEngine;
import io.brazier.exec.PlannedInferenceEngine.Gather;
import io.brazier.exec.PlannedTrainingEngine;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.WeightSource;
import io.brazier.plan.InferencePlan;
import io.brazier.plan.Layout;
import io.brazier.plan.TrainingPlan;
import io.brazier.tensor.Mesh;

/** Makes engines on this machine's processor. */
public final class CpuEngines {
    private CpuEngines() {}

    /**
     * A training rank. Collective.
     *
     * @param communicator of all ranks of the layout's mesh; its rank is this engine's
     * @param numThreads threads of the kernels
     * @param initial first weights
     * @throws IllegalArgumentException naming every violation of the layout, or when its precision needs a GPU
     */
    public static TrainingEngine training(
            TrainingSpec spec, Communicator communicator, int numThreads, WeightSource initial, Fill fill) {
        spec.layout().mesh().requireRanks(communicator.size());
        if (spec.layout().precision() == Layout.Precision.FP8) {
            throw new IllegalArgumentException("precision fp8 needs device cuda of compute capability 8.9 or more: set "
                    + "precision to bf16 or fp32 on CPUs");
        }
        MeshCommunicators communicators = new MeshCommunicators(communicator);
        CpuBackend backend = new CpuBackend(numThreads, communicators::of);
        TrainingPlan plan = TrainingPlan.make(spec.request(communicator.rank()), backend::workspaceBytes);
        communicators.connect(plan.plan());
        return new PlannedTrainingEngine(plan, new LoadedPlan(plan.plan(), backend, fill), spec, initial);
    }

    /**
     * A model for scoring and generation.
     *
     * @param maxTokens longest sequence, at most the model's positions
     */
    public static InferenceEngine inference(
            ModelConfig model, WeightSource weights, int numThreads, int maxBatch, int maxTokens) {
        CpuBackend backend = new CpuBackend(numThreads);
        InferencePlan plan = InferencePlan.make(model.model(), maxBatch, maxTokens, backend::workspaceBytes);
        LoadedPlan loaded = new LoadedPlan(plan.plan(), backend, Fill.ZERO);
        return new PlannedInferenceEngine(plan, loaded, model.vocabularySize(), weights, Gather.ALONE);
    }

    /**
     * A rank of a model that is split over tp and pp. Collective, and so are its engine's methods.
     *
     * @param communicator of all ranks of the mesh; its rank is this engine's
     * @throws IllegalArgumentException naming every reason why the mesh does not fit
     */
    public static InferenceEngine inference(
            ModelConfig model,
            WeightSource weights,
            Communicator communicator,
            Mesh mesh,
            int numThreads,
            int maxBatch,
            int maxTokens) {
        mesh.requireRanks(communicator.size());
        MeshCommunicators communicators = new MeshCommunicators(communicator);
        CpuBackend backend = new CpuBackend(numThreads, communicators::of);
        InferencePlan plan = InferencePlan.make(
                model.model(), mesh, communicator.rank(), maxBatch, maxTokens, backend::workspaceBytes);
        communicators.connect(plan.plan());
        LoadedPlan loaded = new LoadedPlan(plan.plan(), backend, Fill.ZERO);
        return new PlannedInferenceEngine(plan, loaded, model.vocabularySize(), weights, communicator::allGatherBytes);
    }
}
