package io.brazier.explain;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Region;
import io.brazier.plan.Request;
import io.brazier.tensor.Mesh;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a report says, against closed forms, and as text. */
class PlanReportTest {
    private static final Path GOLDEN = Path.of("src/test/resources/explain");

    private static final GptConfig MODEL = GptConfig.of(101, 32, 4, 4, 16);

    private static PlanReport report(Layout layout, int numMicroBatches) {
        return PlanReport.of(new Request(new Gpt(MODEL), layout, 0, 2, numMicroBatches, 32, 0, 0.1), i -> 0);
    }

    private static Layout layout(int dp, int pp, int cp, int tp) {
        return Layout.of(new Mesh(dp, pp, cp, 1, tp));
    }

    @Test
    void oneRankHoldsAllAndSendsNothing() {
        PlanReport report = report(layout(1, 1, 1, 1), 1);
        RankShare share = report.share(0);
        assertEquals(MODEL.numParameters(), share.numParameters());
        assertEquals(MODEL.numParameters(), report.stages().get(0).numParameters());
        assertEquals(List.of(List.of(0, 1, 2, 3, 4, 5)), report.stages().get(0).chunks());
        assertEquals(java.util.Map.of(), share.sentBytes());
        assertEquals(0, report.timeline().bubble(), 1e-9);
        assertTrue(share.bytesOf(Region.WEIGHTS) >= 4 * MODEL.numParameters());
    }

    @Test
    void dataParallelRanksSendTheirGradientsTwice() {
        for (int dp : new int[] {2, 4}) {
            // Losses, dropped tokens and norm are all else that is summed: three f32 and an f64.
            double summed = 4 * MODEL.numParameters() + 20;
            double sent =
                    report(layout(dp, 1, 1, 1), 2).share(dp - 1).sentBytes().get("dp");
            assertEquals(2 * (dp - 1.0) / dp * summed, sent, 1e-6 * summed);
        }
    }

    @Test
    void zeroSharesWhatItsStageSays() {
        long[] optimizer = new long[4];
        long[] gradients = new long[4];
        long[] weights = new long[4];
        for (int zero = 0; zero < 4; zero++) {
            RankShare share = report(layout(4, 1, 1, 1).withZeroStage(zero), 1).share(0);
            optimizer[zero] = share.bytesOf(Region.FIRST_MOMENTS, Region.SECOND_MOMENTS);
            gradients[zero] = share.bytesOf(Region.GRADIENTS);
            weights[zero] = share.bytesOf(Region.WEIGHTS);
        }
        for (int zero = 0; zero < 4; zero++) {
            assertEquals(optimizer[0] / (zero < 1 ? 1 : 4), optimizer[zero], 0.02 * optimizer[0]);
            assertEquals(gradients[0] / (zero < 2 ? 1 : 4), gradients[zero], 0.02 * gradients[0]);
            assertEquals(weights[0] / (zero < 3 ? 1 : 4), weights[zero], 0.02 * weights[0]);
        }
    }

    @Test
    void stagesStashMicroBatchesInFlightAndSendHiddenStates() {
        PlanReport report = report(layout(1, 2, 1, 1), 4);
        assertEquals(2, report.share(0).stashes().get(0).numSlots());
        assertEquals(1, report.share(1).stashes().get(0).numSlots());
        double hidden = 4 * 2.0 * 32 * 16 * Float.BYTES;
        // Forward goes to the second stage, gradients come back; both sum the table that they share, losses and norm.
        double table = 101 * 16 * Float.BYTES;
        assertEquals(hidden + 20, report.share(0).sentBytes().get("pp"), 1);
        assertEquals(hidden + 20, report.share(1).sentBytes().get("pp"), 1);
        assertEquals(table, report.share(0).sentBytes().get("pp ends"), 64 * Float.BYTES);
        assertTrue(report.timeline().bubble() > 0.05 && report.timeline().bubble() < 0.5);
    }

    @Test
    void manyRanksAreCountedByKind() {
        PlanReport report = report(layout(8, 2, 1, 4).withSequenceParallel(), 2);
        assertEquals(64, report.ranks().stream().mapToInt(r -> r.ranks().size()).sum());
        // 101 tokens over 4 ranks: 26, 26, 26 and 23, on both stages.
        assertEquals(4, report.ranks().size());
        assertEquals(List.of(0, 1, 2, 8), report.ranks().get(0).ranks().subList(0, 4));
    }

    @Test
    void jsonHasTheSameNumbers() throws IOException {
        PlanReport report = report(layout(1, 2, 1, 2).withSchedule(Schedule.ZB_H1, 1), 4);
        JsonNode json = report.json();
        assertEquals(report.peakBytes(), json.get("peakBytes").asLong());
        assertEquals(2, json.get("layout").get("tp").asInt());
        assertEquals(
                report.share(3).bytesOf(Region.STASH),
                json.get("ranks")
                        .get(json.get("ranks").size() - 1)
                        .get("bytes")
                        .get("stash")
                        .asLong());
        assertEquals(
                report.timeline().bubble(),
                json.get("schedule").get("bubbleShare").asDouble());
    }

    @Test
    void textOfAPipelineWithTensorParallelism() throws IOException {
        check("pp2-tp2", report(layout(1, 2, 1, 2).withSequenceParallel().withSchedule(Schedule.ZB_H1, 1), 4));
    }

    @Test
    void textOfVirtualStagesWithReplicas() throws IOException {
        check(
                "dp2-interleaved",
                report(layout(2, 2, 1, 1).withSchedule(Schedule.INTERLEAVED, 2).withZeroStage(1), 4));
    }

    private static void check(String name, PlanReport report) throws IOException {
        Path file = GOLDEN.resolve(name + ".txt");
        if (Boolean.getBoolean("golden.update")) {
            Files.createDirectories(GOLDEN);
            Files.writeString(file, report.toString(), StandardCharsets.UTF_8);
        }
        assertEquals(Files.readString(file), report.toString());
    }
}
