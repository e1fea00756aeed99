package io.brazier.cuda;

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
import io.brazier.plan.RankPlan;
import io.brazier.plan.Request;
import io.brazier.plan.TrainingPlan;
import io.brazier.tensor.Mesh;
import java.util.function.Function;

/** Makes engines on GPUs. */
public final class CudaEngines {
    private CudaEngines() {}

    /**
     * A training rank on a GPU. Collective.
     *
     * @param communicator of all ranks of the layout's mesh, between their processes; it connects NCCL's, and its rank is this engine's
     * @param device of this rank alone; stays the caller's
     * @param initial first weights
     * @throws IllegalArgumentException naming every violation of the layout, or when the device lacks its precision
     */
    public static TrainingEngine training(
            TrainingSpec spec,
            Communicator communicator,
            CudaDevice device,
            CudaBackend.Mode mode,
            WeightSource initial,
            Fill fill) {
        spec.layout().mesh().requireRanks(communicator.size());
        requirePrecision(spec.layout(), device);
        return closedOnFailure(new CudaBackend(device, mode), backend -> {
            Request request = spec.request(communicator.rank()).with(Request.Backward.FUSED);
            TrainingPlan plan = TrainingPlan.make(request, backend::workspaceBytes);
            connect(backend, plan.plan(), communicator, device);
            return new PlannedTrainingEngine(plan, new LoadedPlan(plan.plan(), backend, fill), spec, initial);
        });
    }

    private static void requirePrecision(Layout layout, CudaDevice device) {
        int capability = device.computeCapability();
        if (layout.precision() == Layout.Precision.FP8 && capability < CudaScaled.LEAST_CAPABILITY) {
            throw new IllegalArgumentException("precision fp8 needs device cuda of compute capability "
                    + CudaScaled.LEAST_CAPABILITY / 10.0 + " or more, but " + device + " has " + capability / 10.0
                    + ": set precision to bf16");
        }
    }

    /**
     * A model for scoring and generation on one GPU.
     *
     * @param device stays the caller's
     * @param maxTokens longest sequence, at most the model's positions
     */
    public static InferenceEngine inference(
            ModelConfig model,
            WeightSource weights,
            CudaDevice device,
            CudaBackend.Mode mode,
            int maxBatch,
            int maxTokens) {
        return closedOnFailure(new CudaBackend(device, mode), backend -> {
            InferencePlan plan = InferencePlan.make(model.model(), maxBatch, maxTokens, backend::workspaceBytes);
            LoadedPlan loaded = new LoadedPlan(plan.plan(), backend, Fill.ZERO);
            return new PlannedInferenceEngine(plan, loaded, model.vocabularySize(), weights, Gather.ALONE);
        });
    }

    /**
     * A rank of a model that is split over tp and pp. Collective, and so are its engine's methods.
     *
     * @param communicator of all ranks of the mesh, between their processes; it connects NCCL's, carries logits, and its rank is this
     *     engine's
     * @param device of this rank alone; stays the caller's
     * @throws IllegalArgumentException naming every reason why the mesh does not fit
     */
    public static InferenceEngine inference(
            ModelConfig model,
            WeightSource weights,
            Communicator communicator,
            Mesh mesh,
            CudaDevice device,
            CudaBackend.Mode mode,
            int maxBatch,
            int maxTokens) {
        mesh.requireRanks(communicator.size());
        return closedOnFailure(new CudaBackend(device, mode), backend -> {
            InferencePlan plan = InferencePlan.make(
                    model.model(), mesh, communicator.rank(), maxBatch, maxTokens, backend::workspaceBytes);
            connect(backend, plan.plan(), communicator, device);
            LoadedPlan loaded = new LoadedPlan(plan.plan(), backend, Fill.ZERO);
            return new PlannedInferenceEngine(
                    plan, loaded, model.vocabularySize(), weights, communicator::allGatherBytes);
        });
    }

    private static void connect(CudaBackend backend, RankPlan plan, Communicator communicator, CudaDevice device) {
        NcclGroups groups = new NcclGroups(communicator, device);
        backend.exchangeOver(groups, plan);
        groups.connect(plan);
    }

    private static <T> T closedOnFailure(CudaBackend backend, Function<CudaBackend, T> make) {
        try {
            return make.apply(backend);
        } catch (RuntimeException | Error e) {
            closeAfter(e, backend);
            throw e;
        }
    }

    private static void closeAfter(Throwable failure, CudaBackend backend) {
        try {
            backend.close();
        } catch (CudaException e) {
            failure.addSuppressed(e);
        }
    }
}
