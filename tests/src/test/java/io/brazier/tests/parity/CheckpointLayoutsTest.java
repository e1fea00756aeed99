package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.exec.TrainingEngine.State;
import io.brazier.nn.GptConfig;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Precision;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import io.brazier.tests.parity.CheckpointedRun.Outcome;
import io.brazier.train.Resume;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A run that one layout saved goes on under any other: with the bits that were saved, and to what the first would have learnt. */
class CheckpointLayoutsTest {
    private static final double LOSS_TOLERANCE = 1e-5;
    private static final double WEIGHT_TOLERANCE = 2e-4;

    /** The embedding is tied: under pp both ends of the pipeline keep it. */
    private static final ModelConfig GPT = GptConfig.of(CheckpointedRun.VOCABULARY, 16, 4, 4, 24);

    private static final ModelConfig MIXTRAL = new LlamaConfig(
            CheckpointedRun.VOCABULARY,
            16,
            2,
            4,
            2,
            6,
            20,
            28,
            1e-5,
            500,
            RotaryScaling.NONE,
            false,
            new Experts(4, 2, 0, 0.01));

    private static final Map<Name, Outcome> SAVED = new EnumMap<>(Name.class);

    @TempDir
    static Path directory;

    @TempDir
    Path other;

    /** Layouts by what they shard. */
    enum Name {
        ONE(Layout.dataParallel(1)),
        DP2(Layout.dataParallel(2)),
        DP4_ZERO1(Layout.dataParallel(4).withZeroStage(1)),
        DP4_ZERO3(Layout.dataParallel(4).withZeroStage(3)),
        TP2_SP(mesh(1, 1, 1, 2).withSequenceParallel()),
        TP4(mesh(1, 1, 1, 4)),
        PP2(mesh(1, 2, 1, 1)),
        PP2_INTERLEAVED(mesh(1, 2, 1, 1).withSchedule(Schedule.INTERLEAVED, 2)),
        PP2_TP2(mesh(1, 2, 1, 2)),
        CP2(mesh(1, 1, 2, 1)),
        DP2_PP2_ZERO2(mesh(2, 2, 1, 1).withZeroStage(2)),
        DP2_PP2_TP2_ZERO1(mesh(2, 2, 1, 2).withZeroStage(1));

        private final Layout layout;

        Name(Layout layout) {
            this.layout = layout;
        }

        private static Layout mesh(int dp, int pp, int cp, int tp) {
            return Layout.of(new Mesh(dp, pp, cp, 1, tp));
        }
    }

    private static Path directory(Name name) {
        return directory.resolve(name.toString());
    }

    private static Outcome saved(Name name) {
        return SAVED.computeIfAbsent(
                name, n -> CheckpointedRun.train(GPT, n.layout, directory(n).toString(), new Resume.Auto()));
    }

    @ParameterizedTest
    @CsvSource({
        "ONE, ONE",
        "ONE, DP2_PP2_TP2_ZERO1",
        "ONE, TP4",
        "DP2, DP4_ZERO3",
        "DP4_ZERO1, TP2_SP",
        "DP4_ZERO1, DP4_ZERO1",
        "DP4_ZERO3, PP2_TP2",
        "DP4_ZERO3, DP4_ZERO3",
        "TP2_SP, DP4_ZERO3",
        "TP4, TP2_SP",
        "PP2, PP2_INTERLEAVED",
        "PP2_INTERLEAVED, TP4",
        "PP2_TP2, CP2",
        "PP2_TP2, DP2_PP2_ZERO2",
        "CP2, PP2",
        "DP2_PP2_ZERO2, DP2",
        "DP2_PP2_TP2_ZERO1, ONE",
        "DP2_PP2_TP2_ZERO1, DP2_PP2_TP2_ZERO1",
    })
    void goesOn(Name before, Name after) {
        Outcome first = saved(before);
        String path = directory(before).resolve("step-00000003").toString();
        Outcome second = CheckpointedRun.train(GPT, after.layout, other.toString(), new Resume.From(path));
        assertEquals(3, second.firstStep());
        assertSame(first.at("saved 3"), second.at("begins 3"));
        // The best weights were those of step 2: what is restored at the end came through the checkpoint.
        assertSame(first.at("evaluated 2").whole(State.WEIGHT), second.at("end").whole(State.WEIGHT));
        assertSame(second.at("end").whole(State.WEIGHT), second.lent());
        for (int s = 3; s < CheckpointedRun.NUM_STEPS; s++) {
            double expected = first.losses().get(s);
            assertEquals(expected, second.losses().get(s - 3), before == after ? 0 : LOSS_TOLERANCE * expected);
        }
        Kept expected = first.at("saved 6");
        Kept actual = second.at("saved 6");
        if (before == after) {
            assertSame(expected, actual);
        } else {
            expected.whole(State.WEIGHT)
                    .forEach((name, values) ->
                            close(name, values, actual.whole(State.WEIGHT).get(name)));
        }
    }

    /** Experts are cut over ep, inside them over tp, and sharded by ZeRO over other ranks than the rest. */
    @Test
    void expertsMove() {
        List<Layout> layouts = List.of(
                Layout.of(new Mesh(2, 1, 1, 2, 1)).withZeroStage(1),
                Layout.dataParallel(1),
                Layout.of(new Mesh(1, 1, 1, 2, 2)),
                Layout.of(new Mesh(1, 2, 1, 1, 1)),
                Layout.of(new Mesh(1, 1, 1, 4, 1)).withZeroStage(3));
        Resume resume = new Resume.Auto();
        Outcome before = null;
        for (int x = 0; x < layouts.size(); x++) {
            Path saved = other.resolve("layout-" + x);
            Outcome after = CheckpointedRun.train(MIXTRAL, layouts.get(x), saved.toString(), resume);
            if (before != null) {
                assertSame(before.at("saved 3"), after.at("begins 3"));
            }
            assertSame(after.at("end").whole(State.WEIGHT), after.lent());
            before = before == null ? after : before;
            resume = new Resume.From(other.resolve("layout-0/step-00000003").toString());
        }
    }

    /** What moves are the f32 masters: weights in products are rounded from them again. */
    @Test
    void mastersMove() {
        Layout sharded = Layout.dataParallel(2).withZeroStage(1).withPrecision(Precision.BF16);
        Layout tensor = Name.TP2_SP.layout.withPrecision(Precision.BF16);
        Outcome before = CheckpointedRun.train(GPT, sharded, other.toString(), new Resume.Auto());
        Resume resume = new Resume.From(other.resolve("step-00000003").toString());
        Outcome same = CheckpointedRun.train(GPT, sharded, other.resolve("same").toString(), resume);
        assertEquals(before.losses().subList(3, CheckpointedRun.NUM_STEPS), same.losses());
        assertSame(before.at("saved 6"), same.at("saved 6"));
        Outcome after =
                CheckpointedRun.train(GPT, tensor, other.resolve("other").toString(), resume);
        assertSame(before.at("saved 3"), after.at("begins 3"));
        assertSame(after.at("end").whole(State.WEIGHT), after.lent());
    }

    /** Only the last rank reads what is damaged, but all go back, and nothing of what is damaged was used. */
    @Test
    void damageThatOneRankSeesSendsAllBack() throws IOException {
        Layout layout = Name.DP4_ZERO3.layout;
        Outcome undisturbed = CheckpointedRun.train(GPT, layout, other.toString(), new Resume.Auto());
        for (List<Integer> damaged : List.of(List.of(6), List.of(6, 3))) {
            for (int step : damaged) {
                damage(other.resolve("step-0000000" + step + "/rank-00003-of-00004.safetensors"));
            }
            int firstStep = damaged.contains(3) ? 0 : 3;
            Outcome outcome = CheckpointedRun.train(GPT, layout, other.toString(), new Resume.Auto());
            assertEquals(firstStep, outcome.firstStep());
            assertEquals(undisturbed.losses().subList(firstStep, CheckpointedRun.NUM_STEPS), outcome.losses());
            assertSame(undisturbed.at("end"), outcome.at("end"));
        }
    }

    /** Changes one bit of the last moment. */
    private static void damage(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 3] ^= 1;
        Files.write(file, bytes);
    }

    private static void assertSame(Kept expected, Kept actual) {
        for (State state : Kept.SAVED) {
            assertSame(expected.whole(state), actual.whole(state));
        }
    }

    private static void assertSame(Map<String, float[]> expected, Map<String, float[]> actual) {
        assertEquals(expected.keySet(), actual.keySet());
        expected.forEach((name, values) -> assertArrayEquals(values, actual.get(name), name));
    }

    /** A key's bias has no gradient but rounding noise, which AdamW blows up to its rate. */
    private static void close(String name, float[] expected, float[] actual) {
        for (int i = 0; i < expected.length && !name.contains("c_attn.bias"); i++) {
            double error = Math.abs(expected[i] - actual[i]);
            assertTrue(error <= WEIGHT_TOLERANCE, name + "[" + i + "] is " + actual[i] + ", not " + expected[i]);
        }
    }
}
