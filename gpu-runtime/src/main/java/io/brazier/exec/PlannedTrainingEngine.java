package io.brazier.exec;

import io.brazier.nn.WeightSource;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.plan.Slice;
import io.brazier.plan.TrainingPlan;
import io.brazier.plan.TrainingPlan.Placed;
import io.brazier.tensor.Axis;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs a {@link TrainingPlan} on a back end. */
public final class PlannedTrainingEngine implements TrainingEngine {
    private final TrainingPlan training;
    private final LoadedPlan loaded;
    private final TrainingSpec spec;
    private final int dataParallelRank;
    private final Map<String, Placed> placed = new HashMap<>();
    private final List<Parameter> parameters;

    /** Takes ownership of loaded, which must hold training.plan(). */
    public PlannedTrainingEngine(TrainingPlan training, LoadedPlan loaded, TrainingSpec spec, WeightSource initial) {
        this.training = training;
        this.loaded = loaded;
        this.spec = spec;
        RankPlan plan = training.plan();
        this.dataParallelRank = plan.mesh().coordinate(plan.rank(), Axis.DP);
        training.parameters().forEach(p -> placed.put(p.spec().name(), p));
        this.parameters = training.parameters().stream()
                .map(p -> new Parameter(p.spec().name(), p.spec().shape().dims()))
                .toList();
        writePositions();
        loaded.write(training.lossGradient(), 0, Float.BYTES, b -> b.putFloat(1));
        FloatBuffer chunk = FloatBuffer.allocate(LoadedPlan.maxTransferBytes() / Float.BYTES);
        for (Parameter p : parameters) {
            for (long offset = 0; offset < p.numElements(); offset += chunk.capacity()) {
                chunk.clear().limit((int) Math.min(chunk.capacity(), p.numElements() - offset));
                initial.read(p.name(), offset, chunk);
                write(p, State.WEIGHT, offset, chunk.flip());
            }
        }
    }

    private void writePositions() {
        int numTokens = spec.sequenceLength();
        int count = (int) (training.positions().bytes() / Integer.BYTES);
        int[] positions = new int[count];
        for (int x = 0; x < count; x++) {
            positions[x] = x % numTokens;
        }
        writeInts(training.positions(), IntBuffer.wrap(positions));
    }

    @Override
    public StepOutcome step(long step, double learningRate, Feed feed) {
        loaded.bindThread();
        double partialLoss = 0;
        StepOutcome outcome = null;
        IntBuffer tokens = IntBuffer.allocate(inputInts());
        IntBuffer targets = IntBuffer.allocate(inputInts());
        for (RankPlan.Launch launch : loaded.plan().schedule()) {
            switch (launch.segment()) {
                case TrainingPlan.FORWARD -> {
                    feed.fill(launch.microBatch(), tokens.clear(), targets.clear());
                    writeInts(training.tokens(), tokens.clear());
                    writeInts(training.targets(), targets.clear());
                    writeRng(step, launch.microBatch());
                    loaded.run(launch.segment());
                    partialLoss += loaded.read(training.loss(), 0, Float.BYTES).getFloat();
                }
                case TrainingPlan.NORM -> outcome = norm((float) partialLoss);
                case TrainingPlan.UPDATE -> {
                    if (outcome.updated()) {
                        writeScalars(step, learningRate, outcome.gradientNorm());
                        loaded.run(launch.segment());
                    }
                }
                default -> loaded.run(launch.segment());
            }
        }
        return outcome;
    }

    private StepOutcome norm(float partialLoss) {
        loaded.write(training.stepLoss(), 0, Float.BYTES, b -> b.putFloat(partialLoss));
        loaded.run(TrainingPlan.NORM);
        double loss = loaded.read(training.stepLoss(), 0, Float.BYTES).getFloat();
        double norm =
                Math.sqrt(loaded.read(training.squaredNorm(), 0, Double.BYTES).getDouble());
        return new StepOutcome(loss, norm, Double.isFinite(loss) && Double.isFinite(norm));
    }

    private void writeRng(long step, int microBatch) {
        long rows = training.tokens().bytes() / Integer.BYTES;
        long firstRow = ((long) microBatch * loaded.plan().mesh().dp() + dataParallelRank) * rows;
        loaded.write(training.rng(), 0, 3 * Long.BYTES, b -> b.putLong(spec.seed())
                .putLong(step)
                .putLong(firstRow));
    }

    private void writeScalars(long step, double learningRate, double norm) {
        double[] scalars = spec.optimizer().scalars(step, learningRate, norm);
        loaded.write(training.scalars(), 0, scalars.length * Float.BYTES, b -> {
            for (double scalar : scalars) {
                b.putFloat((float) scalar);
            }
        });
    }

    @Override
    public double evaluate(IntBuffer tokens, IntBuffer targets) {
        loaded.bindThread();
        writeInts(training.tokens(), tokens);
        writeInts(training.targets(), targets);
        loaded.run(TrainingPlan.EVALUATE);
        return loaded.read(training.evaluationLoss(), 0, Float.BYTES).getFloat();
    }

    private int inputInts() {
        return (int) (training.tokens().bytes() / Integer.BYTES);
    }

    private void writeInts(Slice slice, IntBuffer values) {
        int perTransfer = LoadedPlan.maxTransferBytes() / Integer.BYTES;
        for (long offset = 0; values.hasRemaining(); ) {
            IntBuffer part = values.slice();
            part.limit(Math.min(perTransfer, part.remaining()));
            int count = part.remaining();
            loaded.write(
                    slice, offset, count * Integer.BYTES, b -> b.asIntBuffer().put(part));
            offset += (long) count * Integer.BYTES;
            values.position(values.position() + count);
        }
    }

    @Override
    public List<Parameter> parameters() {
        return parameters;
    }

    private Slice slice(Parameter parameter, State state) {
        Region region =
                switch (state) {
                    case WEIGHT -> Region.WEIGHTS;
                    case GRADIENT -> Region.GRADIENTS;
                    case FIRST_MOMENT -> Region.FIRST_MOMENTS;
                    case SECOND_MOMENT -> Region.SECOND_MOMENTS;
                };
        return placed.get(parameter.name()).in(region);
    }

    @Override
    public void read(Parameter parameter, State state, long offset, FloatBuffer target) {
        Slice slice = slice(parameter, state);
        while (target.hasRemaining()) {
            int bytes = Math.min(LoadedPlan.maxTransferBytes(), target.remaining() * Float.BYTES);
            ByteBuffer part = loaded.read(slice, offset * Float.BYTES, bytes);
            target.put(part.asFloatBuffer());
            offset += bytes / Float.BYTES;
        }
    }

    @Override
    public void write(Parameter parameter, State state, long offset, FloatBuffer source) {
        Slice slice = slice(parameter, state);
        while (source.hasRemaining()) {
            FloatBuffer part = source.slice();
            part.limit(Math.min(LoadedPlan.maxTransferBytes() / Float.BYTES, part.remaining()));
            int count = part.remaining();
            loaded.write(slice, offset * Float.BYTES, count * Float.BYTES, b -> b.asFloatBuffer()
                    .put(part));
            offset += count;
            source.position(source.position() + count);
        }
    }

    @Override
    public long memoryBytes() {
        return loaded.plan().totalBytes();
    }

    @Override
    public String describe() {
        return loaded.plan().summary();
    }

    @Override
    public void close() {
        loaded.close();
    }
}
