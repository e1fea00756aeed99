package io.brazier.spark.ml;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuEngines;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.WeightSource;
import io.brazier.plan.Layout.Precision;
import io.brazier.spark.barrier.RankContext;
import io.brazier.spark.plugin.ExecutorGpus;
import io.brazier.spark.plugin.ExecutorRuntime;
import io.brazier.tensor.DType;
import io.brazier.train.TrainingException;
import io.brazier.train.TrainingException.Category;
import java.nio.charset.StandardCharsets;
import org.apache.spark.SparkEnv;

/** What a rank computes on; all ranks of a job compute on the same kind. */
interface RankDevice extends AutoCloseable {

    /** A training rank. Collective. */
    TrainingEngine training(TrainingSpec spec, Communicator communicator, WeightSource initial);

    /** What products of a precision could reach at best, FLOP/s. */
    double peakFlops(Precision precision);

    /** Names the device, and says why where it was left open. */
    String description();

    @Override
    void close();

    /**
     * Takes what the param device wants. Collective: auto is a GPU where all ranks have one, else the CPU.
     *
     * @throws TrainingException on all ranks, when a GPU is wanted and a rank has none
     */
    static RankDevice agree(String wanted, RankContext context, Communicator communicator) {
        if (wanted.equals("cpu")) {
            return new Cpu(context.numThreads(), "");
        }
        ExecutorGpus.Lease lease = null;
        String missing = "";
        try {
            lease = ExecutorGpus.lease(context.gpuAddress());
        } catch (IllegalStateException e) {
            missing = e.getMessage();
        }
        byte[][] reasons = communicator.allGatherBytes(missing.getBytes(StandardCharsets.UTF_8));
        for (int rank = 0; rank < reasons.length; rank++) {
            if (reasons[rank].length > 0) {
                if (lease != null) {
                    lease.close();
                }
                String reason = "rank " + rank + " has no GPU: " + new String(reasons[rank], StandardCharsets.UTF_8);
                if (wanted.equals("cuda")) {
                    throw new TrainingException(Category.CONFIG, reason + "; or set device to cpu");
                }
                return new Cpu(context.numThreads(), ", as " + reason);
            }
        }
        return new Gpu(lease);
    }

    /** The threads of a task. */
    record Cpu(int numThreads, String reason) implements RankDevice {
        @Override
        public TrainingEngine training(TrainingSpec spec, Communicator communicator, WeightSource initial) {
            return CpuEngines.training(spec, communicator, numThreads, initial, Fill.ZERO);
        }

        @Override
        public double peakFlops(Precision precision) {
            return ExecutorRuntime.coreFlops() * numThreads;
        }

        @Override
        public String description() {
            return "the CPU" + reason;
        }

        @Override
        public void close() {}
    }

    /** The GPU of a task. */
    record Gpu(ExecutorGpus.Lease lease) implements RankDevice {
        @Override
        public TrainingEngine training(TrainingSpec spec, Communicator communicator, WeightSource initial) {
            return CudaEngines.training(
                    spec,
                    communicator,
                    lease.device(),
                    DeviceSettings.mode(SparkEnv.get().conf()),
                    initial,
                    Fill.ZERO);
        }

        @Override
        public double peakFlops(Precision precision) {
            return lease.device().peakFlops(precision == Precision.FP32 ? DType.F32 : DType.BF16);
        }

        @Override
        public String description() {
            return lease.device().toString();
        }

        @Override
        public void close() {
            lease.close();
        }
    }
}
