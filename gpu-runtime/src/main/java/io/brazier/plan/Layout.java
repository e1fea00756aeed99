package io.brazier.plan;

import io.brazier.nn.ModelConfig;
import io.brazier.nn.RankView;
import io.brazier.pipeline.Schedule;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * How ranks share a training step.
 *
 * @param mesh sizes of the axes
 * @param sequenceParallel whether tp ranks share the tokens of norms and residuals (arXiv:2205.05198)
 * @param zeroStage 0 replicates the optimizer over data-parallel ranks, 1 shards its state, 2 gradients too, 3 weights too
 *     (arXiv:1910.02054)
 * @param recompute what backward computes again instead of keeping it
 * @param precision of activations and of the weights that products see
 * @param schedule order of micro-batches on pipeline stages
 * @param chunksPerStage virtual stages of each pipeline stage; more than 1 with the interleaved schedule alone
 */
public record Layout(
        Mesh mesh,
        boolean sequenceParallel,
        int zeroStage,
        Recompute recompute,
        Precision precision,
        Schedule schedule,
        int chunksPerStage)
        implements java.io.Serializable {

    /** What backward computes again (arXiv:2205.05198). */
    public enum Recompute {
        NONE,
        /** Attention from the projections: its output is not kept. */
        SELECTIVE,
        /** Each block from its input. */
        FULL;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Type of activations and of the weights in products. */
    public enum Precision {
        FP32,
        /** Brain floats with f32 master weights, gradients and sums. */
        BF16,
        /** The same, but that the linear products of blocks multiply in eight bits with scales (arXiv:2209.05433), on GPUs alone. */
        FP8;

        /** Whether weights are brain floats, beside their masters. */
        public boolean hasMasters() {
            return this != FP32;
        }

        /** Evaluation uses the weights as they are published, with as many bits as they have. */
        Precision ofEvaluation() {
            return this == FP8 ? BF16 : this;
        }

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Plain data parallelism in f32. */
    public static Layout dataParallel(int dp) {
        return of(Mesh.dataParallel(dp));
    }

    /** Nothing but a mesh: no ZeRO, no recomputation, f32, 1F1B. */
    public static Layout of(Mesh mesh) {
        return new Layout(mesh, false, 0, Recompute.NONE, Precision.FP32, Schedule.ONE_F_ONE_B, 1);
    }

    public Layout withSequenceParallel() {
        return new Layout(mesh, true, zeroStage, recompute, precision, schedule, chunksPerStage);
    }

    public Layout withZeroStage(int stage) {
        return new Layout(mesh, sequenceParallel, stage, recompute, precision, schedule, chunksPerStage);
    }

    public Layout withRecompute(Recompute policy) {
        return new Layout(mesh, sequenceParallel, zeroStage, policy, precision, schedule, chunksPerStage);
    }

    public Layout withPrecision(Precision chosen) {
        return new Layout(mesh, sequenceParallel, zeroStage, recompute, chosen, schedule, chunksPerStage);
    }

    public Layout withSchedule(Schedule chosen, int chunks) {
        return new Layout(mesh, sequenceParallel, zeroStage, recompute, precision, chosen, chunks);
    }

    /** The mesh as a rank sees it. */
    public RankView view(int rank) {
        return new RankView(mesh, rank, sequenceParallel);
    }

    /** Stages of the pipeline, virtual ones counted. */
    public int numVirtualStages() {
        return mesh.pp() * chunksPerStage;
    }

    /**
     * Everything that keeps this layout from running a model.
     *
     * @param rows samples of a global step
     */
    public List<String> violations(ModelConfig model, int rows, int numMicroBatches, int sequenceLength) {
        List<String> v = new ArrayList<>();
        int tp = mesh.tp();
        require(v, model.numHeads() % tp == 0, "numHeads " + model.numHeads() + " is no multiple of tp " + tp);
        require(
                v,
                model.numKeyValueHeads() % tp == 0,
                "numKeyValueHeads " + model.numKeyValueHeads() + " is no multiple of tp " + tp);
        require(v, model.hiddenWidth() % tp == 0, "hiddenWidth " + model.hiddenWidth() + " is no multiple of tp " + tp);
        long share = (model.vocabularySize() + tp - 1L) / tp;
        require(
                v,
                share * (tp - 1) < model.vocabularySize(),
                "vocabularySize " + model.vocabularySize() + " leaves some of tp " + tp + " ranks without a token");
        int perData = mesh.dp() * mesh.ep() * numMicroBatches;
        require(
                v,
                rows % perData == 0,
                "batchSize " + rows + " is no multiple of dp " + mesh.dp() + " * ep " + mesh.ep()
                        + " * numMicroBatches " + numMicroBatches + " = " + perData + ": set batchSize to "
                        + (rows / perData + 1) * perData);
        int chunks = mesh.cp() == 1 ? 1 : 2 * mesh.cp();
        require(
                v,
                sequenceLength % chunks == 0,
                "sequenceLength " + sequenceLength + " is no multiple of 2 * cp = " + chunks);
        int tokens = sequenceLength / mesh.cp();
        require(
                v,
                !sequenceParallel || tokens % tp == 0,
                "sequenceParallel: the " + tokens + " tokens of a rank's sequence are no multiple of tp " + tp);
        require(
                v,
                mesh.ep() == 1 || model.numExperts() > 0 && model.numExperts() % mesh.ep() == 0,
                "ep " + mesh.ep() + " needs a model whose number of experts is a multiple of it, not "
                        + model.numExperts());
        require(
                v,
                numVirtualStages() <= model.numLayers() + 2,
                "pp " + mesh.pp() + " * chunksPerStage " + chunksPerStage + " = " + numVirtualStages()
                        + " stages, but the model has " + (model.numLayers() + 2) + " pieces (embedding, "
                        + model.numLayers() + " blocks, head)");
        long multiple = ScaledMatMul.MULTIPLE;
        long productRows = (long) rows / perData * tokens;
        require(
                v,
                precision != Precision.FP8 || model.width() % multiple == 0 && productRows % multiple == 0,
                "precision fp8: width " + model.width() + " and the " + productRows + " tokens of a rank's micro-batch "
                        + "must be multiples of " + multiple
                        + ", else no product runs in eight bits: set precision to bf16");
        require(v, zeroStage >= 0 && zeroStage <= 3, "zeroStage " + zeroStage + " must be 0, 1, 2 or 3");
        schedule.violation(mesh.pp(), numMicroBatches, chunksPerStage).ifPresent(v::add);
        return v;
    }

    private static void require(List<String> violations, boolean holds, String violation) {
        if (!holds) {
            violations.add(violation);
        }
    }

    /** For example {@code dp 2 * pp 2 * cp 1 * ep 1 * tp 2, sequence parallel, zero 1, recompute full, bf16, 1f1b}. */
    @Override
    public String toString() {
        return mesh + (sequenceParallel ? ", sequence parallel" : "") + ", zero " + zeroStage + ", recompute "
                + recompute + ", " + precision + ", " + schedule + (chunksPerStage > 1 ? " x " + chunksPerStage : "");
    }
}
