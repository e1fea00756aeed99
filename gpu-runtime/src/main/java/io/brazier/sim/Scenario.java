package io.brazier.sim;

import io.brazier.nn.ModelConfig;
import io.brazier.plan.Layout;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Request;
import io.brazier.plan.TrainingPlan;
import io.brazier.sim.Simulator.Workload;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A training step to simulate.
 *
 * @param microBatchSize rows of a micro-batch on each rank
 * @param numMicroBatches of a step
 * @param sequenceLength T
 */
public record Scenario(ModelConfig model, Layout layout, int microBatchSize, int numMicroBatches, int sequenceLength) {
    /** Any but none: it costs the same. */
    private static final double WEIGHT_DECAY = 0.1;

    /** Rows of a step on all ranks. */
    public long batchSize() {
        return (long) microBatchSize
                * numMicroBatches
                * layout.mesh().dp()
                * layout.mesh().ep();
    }

    /**
     * The plan of one rank of each pipeline stage, in order: the first on every other axis. Kernels get no workspace beside their
     * operands: fused attention and products of GPUs need none that grows with the batch, and reductions between ranks run in
     * place.
     *
     * @throws IllegalArgumentException naming every violation of the layout
     */
    public List<RankPlan> stages() {
        return IntStream.range(0, layout.mesh().pp())
                .parallel()
                .mapToObj(this::stage)
                .toList();
    }

    private RankPlan stage(int stage) {
        int rank = layout.mesh().members(0, Group.of(Axis.PP)).get(stage);
        Request request = new Request(
                model.model(), layout, rank, microBatchSize, numMicroBatches, sequenceLength, 0, WEIGHT_DECAY);
        return TrainingPlan.make(request, i -> 0).plan();
    }

    /** What a step does for the user. */
    public Workload workload() {
        long tokens = batchSize() * sequenceLength;
        return new Workload(tokens, tokens * model.trainingFlopsPerToken(sequenceLength));
    }
}
