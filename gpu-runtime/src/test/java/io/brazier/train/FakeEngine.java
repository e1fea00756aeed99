package io.brazier.train;

import io.brazier.collective.Communicator;
import io.brazier.exec.TrainingEngine;
import io.brazier.tensor.Mesh;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A model whose gradient is a whole number made of every token and target of the global batch, so that a lost, doubled or foreign
 * row shows in the weights and no layout rounds differently.
 */
final class FakeEngine implements TrainingEngine {
    private static final List<Parameter> PARAMETERS =
            List.of(parameter("a", 5L, 7L), parameter("b", 1L), parameter("c", 300L, 1000L));

    private static Parameter parameter(String name, long... dims) {
        Shard whole = Shard.whole(Shape.of(dims));
        return new Parameter(name, whole, new Range(0, whole.shape().numElements()), 0, 1);
    }

    /** What a test lets happen. */
    interface Script {
        /** Loss of a step, from 0. */
        default double loss(long step) {
            return 5.0 / (step + 1);
        }

        /** Validation loss after so many steps. */
        default double validationLoss(long numSteps) {
            return 6.0 / (numSteps + 1);
        }
    }

    private final Communicator communicator;
    private final TrainingConfig config;
    private final Script script;
    private final Map<String, EnumMap<State, float[]>> states = new HashMap<>();
    private long numSteps;

    FakeEngine(Communicator communicator, TrainingConfig config, Script script) {
        this.communicator = communicator;
        this.config = config;
        this.script = script;
        for (Parameter p : PARAMETERS) {
            EnumMap<State, float[]> arrays = new EnumMap<>(State.class);
            for (State state : State.values()) {
                arrays.put(state, new float[(int) p.numElements()]);
            }
            states.put(p.name(), arrays);
        }
    }

    @Override
    public StepOutcome step(long step, double learningRate, Feed feed) {
        int ids = config.microBatchSize(Mesh.dataParallel(communicator.size())) * config.sequenceLength();
        long sum = 0;
        for (int m = 0; m < config.numMicroBatches(); m++) {
            IntBuffer tokens = IntBuffer.allocate(ids);
            IntBuffer targets = IntBuffer.allocate(ids);
            feed.fill(m, tokens, targets);
            for (int i = 0; i < ids; i++) {
                sum += (long) tokens.get(i) * tokens.get(i) + 7L * targets.get(i);
            }
        }
        double loss = script.loss(step);
        long gradient = 0;
        for (byte[] part : communicator.allGatherBytes(
                ByteBuffer.allocate(Long.BYTES).putLong(sum).array())) {
            gradient += ByteBuffer.wrap(part).getLong();
        }
        numSteps = step + 1;
        if (!Double.isFinite(loss)) {
            return new StepOutcome(loss, Double.NaN, false);
        }
        update(gradient % 10_007, learningRate);
        return new StepOutcome(loss, gradient, true);
    }

    private void update(long gradient, double learningRate) {
        for (EnumMap<State, float[]> arrays : states.values()) {
            float[] weights = arrays.get(State.WEIGHT);
            float[] first = arrays.get(State.FIRST_MOMENT);
            float[] second = arrays.get(State.SECOND_MOMENT);
            for (int e = 0; e < weights.length; e++) {
                float g = gradient + e % 17;
                first[e] = 0.9f * first[e] + 0.1f * g;
                second[e] = 0.99f * second[e] + 0.01f * g * g;
                weights[e] -= (float) (learningRate * first[e] / (Math.sqrt(second[e]) + 1e-8));
            }
        }
    }

    @Override
    public double evaluate(IntBuffer tokens, IntBuffer targets) {
        double sum = 0;
        while (targets.hasRemaining()) {
            sum += targets.get() < 0 ? 0 : script.validationLoss(numSteps);
        }
        return sum;
    }

    @Override
    public List<Parameter> parameters() {
        return PARAMETERS;
    }

    @Override
    public void read(Parameter parameter, State state, long offset, FloatBuffer target) {
        target.put(states.get(parameter.name()).get(state), (int) offset, target.remaining());
    }

    @Override
    public void write(Parameter parameter, State state, long offset, FloatBuffer source) {
        source.get(states.get(parameter.name()).get(state), (int) offset, source.remaining());
    }

    @Override
    public long numScales() {
        return 0;
    }

    @Override
    public void readScales(long offset, FloatBuffer target) {
        throw new AssertionError("there are no scales");
    }

    @Override
    public void writeScales(long offset, FloatBuffer source) {
        throw new AssertionError("there are no scales");
    }

    @Override
    public void publish() {}

    @Override
    public long memoryBytes() {
        return 77;
    }

    @Override
    public String describe() {
        return "fake";
    }

    @Override
    public void close() {}
}
