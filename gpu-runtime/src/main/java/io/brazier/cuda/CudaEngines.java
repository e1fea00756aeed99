package io.brazier.cuda;

import io.brazier.collective.Communicator;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.PlannedTrainingEngine;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.WeightSource;
import io.brazier.plan.TrainingPlan;

/** Makes engines on GPUs. */
public final class CudaEngines {
    private CudaEngines() {}

    /**
     * A training rank on a GPU. Collective.
     *
     * @param communicator of all ranks of the layout's mesh, between their processes; it connects NCCL's, and its rank is this engine's
     * @param device of this rank alone; stays the caller's
     * @param initial first weights
     * @throws IllegalArgumentException naming every violation of the layout
     */
    public static TrainingEngine training(
            TrainingSpec spec,
            Communicator communicator,
            CudaDevice device,
            CudaBackend.Mode mode,
            WeightSource initial,
            Fill fill) {
        if (communicator.size() != spec.layout().mesh().worldSize()) {
            throw new IllegalArgumentException(spec.layout().mesh() + " = "
                    + spec.layout().mesh().worldSize() + " ranks, but there are " + communicator.size());
        }
        CudaBackend backend = new CudaBackend(device, mode);
        try {
            TrainingPlan plan = TrainingPlan.make(spec.request(communicator.rank()), backend::workspaceBytes);
            NcclGroups groups = new NcclGroups(communicator, device);
            backend.exchangeOver(groups, plan.plan());
            groups.connect(plan.plan());
            return new PlannedTrainingEngine(plan, new LoadedPlan(plan.plan(), backend, fill), spec, initial);
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
