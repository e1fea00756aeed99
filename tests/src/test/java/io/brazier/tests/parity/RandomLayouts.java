package io.brazier.tests.parity;

import io.brazier.nn.GptConfig;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.LongStream;
import java.util.stream.Stream;

/** Layouts and models drawn at random among those that have no violation, odd sizes first. */
final class RandomLayouts {
    private static final List<Integer> AXIS_SIZES = List.of(1, 1, 1, 2, 2, 3, 4);

    private final Random random;

    private final boolean experts;

    private RandomLayouts(long seed, boolean experts) {
        random = new Random(seed);
        this.experts = experts;
    }

    /** Cases of dense models, of the seeds 0 to count - 1. */
    static Stream<LayoutCase> first(int count, int maxRanks, int numSteps) {
        return LongStream.range(0, count).mapToObj(seed -> new RandomLayouts(seed, false).draw(maxRanks, numSteps));
    }

    /**
     * Cases of mixtures of experts that drop no token. Tokens go to two: the gate of a single one is 1, its gradient rounding noise,
     * which AdamW blows up until tokens go elsewhere.
     */
    static Stream<LayoutCase> withExperts(int count, int maxRanks, int numSteps) {
        return LongStream.range(0, count).mapToObj(seed -> new RandomLayouts(seed, true).draw(maxRanks, numSteps));
    }

    private LayoutCase draw(int maxRanks, int numSteps) {
        Mesh mesh = mesh(maxRanks);
        Schedule schedule = one(List.of(Schedule.values()));
        int chunks = schedule == Schedule.INTERLEAVED && mesh.pp() > 1 ? 1 + random.nextInt(3) : 1;
        int numMicroBatches = schedule == Schedule.INTERLEAVED
                ? mesh.pp() * (1 + random.nextInt(2))
                : 1 + random.nextInt(2 * mesh.pp() + 1);
        Layout layout = new Layout(
                mesh,
                random.nextBoolean(),
                random.nextInt(4),
                one(List.of(Layout.Recompute.values())),
                Layout.Precision.FP32,
                schedule,
                chunks);
        int share = layout.sequenceParallel() ? mesh.tp() : 1;
        int unit = mesh.cp() == 1 ? share : 2 * mesh.cp() * (share % 2 == 0 ? share / 2 : share);
        int sequenceLength = Math.max(2, unit * (1 + random.nextInt(3)));
        int batchSize = mesh.dp() * mesh.ep() * numMicroBatches * (1 + random.nextInt(2));
        int minLayers = Math.max(1, mesh.pp() * chunks - 2);
        ModelConfig model = experts || random.nextBoolean()
                ? llama(mesh, minLayers, sequenceLength)
                : gpt(mesh.tp(), minLayers, sequenceLength);
        double dropout = random.nextBoolean() ? 0 : 0.15;
        return new LayoutCase(new Ranks(model, batchSize, sequenceLength, dropout, numSteps), layout, numMicroBatches);
    }

    private Mesh mesh(int maxRanks) {
        while (true) {
            int[] sizes =
                    random.ints(4, 0, AXIS_SIZES.size()).map(AXIS_SIZES::get).toArray();
            int ep = experts ? 1 + random.nextInt(3) : 1;
            int world = Arrays.stream(sizes).reduce(ep, (a, b) -> a * b);
            if (world > 1 && world <= maxRanks) {
                return new Mesh(sizes[0], sizes[1], sizes[2], ep, sizes[3]);
            }
        }
    }

    private GptConfig gpt(int tp, int minLayers, int sequenceLength) {
        int heads = tp * (1 + random.nextInt(2));
        int headWidth = 1 + random.nextInt(9);
        return new GptConfig(
                vocabulary(tp),
                sequenceLength + random.nextInt(3),
                minLayers + random.nextInt(2),
                heads,
                heads * headWidth,
                tp * (1 + random.nextInt(20)),
                1e-5,
                one(List.of(Function.GELU_TANH, Function.GELU, Function.SILU)),
                random.nextBoolean() ? Set.of() : Set.of(Variant.UNTIED_HEAD));
    }

    private LlamaConfig llama(Mesh mesh, int minLayers, int sequenceLength) {
        int tp = mesh.tp();
        int groups = tp * (1 + random.nextInt(2));
        return new LlamaConfig(
                vocabulary(tp),
                sequenceLength + random.nextInt(3),
                minLayers + random.nextInt(2),
                groups * (1 + random.nextInt(3)),
                groups,
                2 * (1 + random.nextInt(5)),
                1 + random.nextInt(40),
                tp * (1 + random.nextInt(20)),
                1e-5,
                one(List.of(500.0, 10000.0)),
                RotaryScaling.NONE,
                random.nextBoolean(),
                experts ? new Experts(mesh.ep() * (2 + random.nextInt(2)), 2, 0, 0) : Experts.NONE);
    }

    /** A size that leaves every rank a token, seldom as many as the others. */
    private int vocabulary(int tp) {
        List<Integer> sizes = new ArrayList<>(List.of(2 * tp + 1, 19, 32, 57));
        Collections.shuffle(sizes, random);
        return sizes.stream()
                .filter(v -> (v + tp - 1) / tp * (tp - 1) < v)
                .findFirst()
                .orElseThrow();
    }

    private <T> T one(List<T> choices) {
        return choices.get(random.nextInt(choices.size()));
    }
}
