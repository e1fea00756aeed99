package io.brazier.spark.ml;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuEngines;
import io.brazier.cuda.CudaBackend;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.InferenceEngine;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.WeightSource;
import io.brazier.plan.Layout.Precision;
import io.brazier.spark.plugin.ExecutorGpus;
import io.brazier.spark.plugin.ExecutorRuntime;
import io.brazier.tensor.DType;
import io.brazier.tensor.Mesh;
import io.brazier.train.TrainingException;
import io.brazier.train.TrainingException.Category;
import java.nio.charset.StandardCharsets;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;

/** What a task computes on, and the engines it makes there; the ranks of a job all compute on the same kind. */
interface TaskDevice extends AutoCloseable {

    /** A training rank. Collective. */
    TrainingEngine training(TrainingSpec spec, Communicator communicator, WeightSource initial);

    /** A whole model for scoring and generation. */
    InferenceEngine inference(ModelConfig model, WeightSource weights, int maxBatch, int maxTokens);

    /** A rank of a model that is split. Collective. */
    InferenceEngine inference(
            ModelConfig model, WeightSource weights, Communicator replica, Mesh mesh, int maxBatch, int maxTokens);

    /** What products of a precision could reach at best, FLOP/s. */
    double peakFlops(Precision precision);

    /** Names the device, and says why where it was left open. */
    String description();

    /** Gives a GPU back; engines are closed before. */
    @Override
    void close();

    /**
     * Takes what the param device wants, for a task alone.
     *
     * @throws IllegalStateException when a GPU is wanted and there is none
     */
    static TaskDevice take(String wanted, TaskContext task, int numThreads) {
        if (wanted.equals("cpu")) {
            return new Cpu(numThreads, "");
        }
        try {
            return lease(task);
        } catch (IllegalStateException e) {
            if (wanted.equals("cuda")) {
                throw new IllegalStateException(e.getMessage() + "; or set device to cpu", e);
            }
            return new Cpu(numThreads, ", as there is no GPU: " + e.getMessage());
        }
    }

    /**
     * Takes what the param device wants, for a rank. Collective: auto is a GPU where all ranks have one, else the CPU.
     *
     * @throws TrainingException on all ranks, when a GPU is wanted and a rank has none
     */
    static TaskDevice agree(String wanted, TaskContext task, Communicator communicator) {
        if (wanted.equals("cpu")) {
            return new Cpu(task.cpus(), "");
        }
        ExecutorModels.dropUnused();
        TaskDevice mine = null;
        String missing = "";
        try {
            mine = lease(task);
        } catch (IllegalStateException e) {
            missing = e.getMessage();
        }
        byte[][] reasons = communicator.allGatherBytes(missing.getBytes(StandardCharsets.UTF_8));
        for (int rank = 0; rank < reasons.length; rank++) {
            if (reasons[rank].length > 0) {
                if (mine != null) {
                    mine.close();
                }
                String reason = "rank " + rank + " has no GPU: " + new String(reasons[rank], StandardCharsets.UTF_8);
                if (wanted.equals("cuda")) {
                    throw new TrainingException(Category.CONFIG, reason + "; or set device to cpu");
                }
                return new Cpu(task.cpus(), ", as " + reason);
            }
        }
        return mine;
    }

    private static TaskDevice lease(TaskContext task) {
        return new Gpu(ExecutorGpus.lease(ExecutorGpus.assigned(task)));
    }

    /** Threads of this process. */
    record Cpu(int numThreads, String reason) implements TaskDevice {
        @Override
        public TrainingEngine training(TrainingSpec spec, Communicator communicator, WeightSource initial) {
            return CpuEngines.training(spec, communicator, numThreads, initial, Fill.ZERO);
        }

        @Override
        public InferenceEngine inference(ModelConfig model, WeightSource weights, int maxBatch, int maxTokens) {
            return CpuEngines.inference(model, weights, numThreads, maxBatch, maxTokens);
        }

        @Override
        public InferenceEngine inference(
                ModelConfig model, WeightSource weights, Communicator replica, Mesh mesh, int maxBatch, int maxTokens) {
            return CpuEngines.inference(model, weights, replica, mesh, numThreads, maxBatch, maxTokens);
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

    /** One GPU. */
    record Gpu(ExecutorGpus.Lease lease) implements TaskDevice {
        @Override
        public TrainingEngine training(TrainingSpec spec, Communicator communicator, WeightSource initial) {
            return CudaEngines.training(spec, communicator, lease.device(), mode(), initial, Fill.ZERO);
        }

        @Override
        public InferenceEngine inference(ModelConfig model, WeightSource weights, int maxBatch, int maxTokens) {
            return CudaEngines.inference(model, weights, lease.device(), mode(), maxBatch, maxTokens);
        }

        @Override
        public InferenceEngine inference(
                ModelConfig model, WeightSource weights, Communicator replica, Mesh mesh, int maxBatch, int maxTokens) {
            return CudaEngines.inference(model, weights, replica, mesh, lease.device(), mode(), maxBatch, maxTokens);
        }

        private static CudaBackend.Mode mode() {
            return DeviceSettings.mode(SparkEnv.get().conf());
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
