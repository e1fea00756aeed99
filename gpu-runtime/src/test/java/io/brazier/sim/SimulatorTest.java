package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.brazier.checkpoint.Json;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.plan.Layout;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.plan.Request;
import io.brazier.plan.TrainingPlan;
import io.brazier.sim.Simulator.Workload;
import io.brazier.tensor.Mesh;
import java.io.ByteArrayOutputStream;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Real plans on the clock. */
class SimulatorTest {
    /** Devices of one rate, so that a step of one is comparable with that of many. */
    private static final Hardware A100 =
            Hardware.parse("a100.json", HardwareTest.file("a100.json").put("rateDeviation", 0));

    private static final GptConfig MODEL = GptConfig.of(50257, 1024, 4, 16, 1024);
    private static final int ROWS = 4;

    private static RankPlan plan(int dp, int numMicroBatches) {
        return plan(MODEL, Layout.dataParallel(dp), 0, numMicroBatches);
    }

    private static RankPlan plan(GptConfig model, Layout layout, int rank, int numMicroBatches) {
        Request request = new Request(new Gpt(model), layout, rank, ROWS, numMicroBatches, 1024, 0, 0.1);
        return TrainingPlan.make(request, i -> 0).plan();
    }

    private static SimulationReport simulate(int dp, int numMicroBatches) {
        return simulate(MODEL, Layout.dataParallel(dp), numMicroBatches);
    }

    private static SimulationReport simulate(GptConfig model, Layout layout, int numMicroBatches) {
        long tokens = (long) layout.mesh().dp() * numMicroBatches * ROWS * 1024;
        Workload workload = new Workload(tokens, tokens * model.trainingFlopsPerToken(1024));
        List<RankPlan> stages = IntStream.range(0, layout.mesh().pp())
                .mapToObj(s -> plan(model, layout, s * layout.mesh().tp(), numMicroBatches))
                .toList();
        return Simulator.simulate(stages, A100, workload);
    }

    /** Compute, exposed communication and idle time fill the step on every stage. */
    private static void addsUp(SimulationReport r) {
        for (SimulationReport.Stage s : r.stages()) {
            double exposed = s.communication().values().stream()
                    .mapToDouble(SimulationReport.Communication::exposed)
                    .sum();
            assertEquals(r.stepSeconds(), s.computeSeconds() + exposed + s.idleSeconds(), 1e-9, r.toString());
        }
    }

    /** A pipeline of equal stages idles for (p - 1) / (m + p - 1), but for embedding, head and update (arXiv:2104.04473). */
    @ParameterizedTest
    @CsvSource({"2, 4", "4, 8", "4, 16"})
    void pipelinesOfEqualBlocksHaveTheBubbleOfTheFormula(int numStages, int numMicroBatches) {
        GptConfig model = GptConfig.of(64, 1024, 32, 16, 1024);
        Layout layout = Layout.of(new Mesh(1, numStages, 1, 1, 1));
        SimulationReport r = simulate(model, layout, numMicroBatches);
        addsUp(r);
        double bubble = (numStages - 1.0) / (numMicroBatches + numStages - 1);
        assertEquals(bubble, r.bubbleShare(), 0.15 * bubble, r.toString());
        assertTrue(r.stages().get(0).communication().containsKey("pp"));
    }

    @Test
    void tensorParallelRanksTalkAndPipelinesMeet() {
        SimulationReport r = simulate(MODEL, Layout.of(new Mesh(2, 2, 1, 1, 2)).withSequenceParallel(), 4);
        addsUp(r);
        for (SimulationReport.Stage s : r.stages()) {
            assertTrue(s.communication().get("tp").total() > 0, r.toString());
            assertTrue(s.communication().get("dp").total() > 0, r.toString());
            assertTrue(s.communication().get("pp ends").total() > 0, r.toString());
        }
    }

    /** Of weights, gradients and two moments ZeRO 1, 2 and 3 shard two, three and all (arXiv:1910.02054, fig. 1, in f32). */
    @ParameterizedTest
    @CsvSource({"0, 4", "1, 2", "2, 1", "3, 0"})
    void zeroShardsAsItsTableSays(int zeroStage, int numWhole) {
        int dp = 8;
        RankPlan plan = plan(MODEL, Layout.dataParallel(dp).withZeroStage(zeroStage), 0, 1);
        double bytes = List.of(Region.WEIGHTS, Region.GRADIENTS, Region.FIRST_MOMENTS, Region.SECOND_MOMENTS).stream()
                .mapToDouble(region -> plan.regions().getOrDefault(region, 0L))
                .sum();
        double expected = MODEL.numParameters() * 4.0 * (numWhole + (4.0 - numWhole) / dp);
        assertEquals(expected, bytes, 0.001 * expected);
    }

    @Test
    void oneRankComputesAndNothingElse() {
        SimulationReport r = simulate(1, 1);
        SimulationReport.Stage s = r.stages().get(0);
        assertEquals(r.stepSeconds(), s.computeSeconds(), 1e-12);
        assertEquals(List.of(), List.copyOf(s.communication().keySet()));
        assertEquals(0, r.bubbleShare(), 1e-12);
        assertEquals(ROWS * 1024 / r.stepSeconds(), r.tokensPerSecond(), 1e-6);
        assertTrue(r.modelFlopsUtilization() > 0.1 && r.modelFlopsUtilization() < 0.87, r.toString());
        assertEquals(plan(1, 1).totalBytes(), s.memoryBytes());
    }

    /** What does not hide behind backward, and what communication takes from compute, lengthens the step. */
    @Test
    void gradientsTravelBehindBackward() {
        SimulationReport alone = simulate(1, 1);
        SimulationReport eight = simulate(8, 1);
        SimulationReport.Stage s = eight.stages().get(0);
        SimulationReport.Communication dp = s.communication().get("dp");
        assertTrue(dp.overlapped() > 0, eight.toString());
        assertEquals(
                alone.stepSeconds() + dp.exposed() + s.slowdownSeconds(), eight.stepSeconds(), 1e-9, eight.toString());
        double bytes = MODEL.numParameters() * 4.0;
        double atLeast = 2 * 7 / 8.0 * bytes / (300e9 * 0.783);
        assertTrue(dp.total() > atLeast && dp.total() < 1.2 * atLeast + 0.002, dp + " against " + atLeast);
    }

    @Test
    void gradientsTravelOnceAStep() {
        double once = simulate(8, 1).stages().get(0).communication().get("dp").total();
        double four = simulate(8, 4).stages().get(0).communication().get("dp").total();
        assertEquals(once, four, 1e-9);
    }

    @Test
    void theTraceIsWhatChromeReads() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (ChromeTrace trace = new ChromeTrace(out)) {
            Simulator.simulate(List.of(plan(2, 2)), A100, new Workload(1, 1), trace);
        }
        JsonNode events = Json.parse("trace", out.toByteArray()).get("traceEvents");
        double compute = 0;
        int launches = 0;
        for (JsonNode event : events) {
            boolean named = event.get("ph").asText().equals("M");
            launches += event.get("name").asText().startsWith("forward(") ? 1 : 0;
            compute += !named && event.get("name").asText().startsWith("mat_mul ")
                    ? event.get("dur").asDouble()
                    : 0;
        }
        assertEquals(2, launches);
        assertTrue(compute > 0);
    }

    @Test
    void theReportIsTextAndJson() {
        SimulationReport r = simulate(2, 1);
        assertTrue(r.toString().contains("weights"), r.toString());
        assertEquals(r.stepSeconds(), r.json().get("stepSeconds").asDouble());
        assertEquals(2, r.json().get("numRanks").asInt());
    }

    @Test
    void stagesMustBeComplete() {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> Simulator.simulate(List.of(plan(1, 1), plan(1, 1)), A100, new Workload(1, 1)));
        assertTrue(e.getMessage().contains("one plan for each pipeline stage"), e.getMessage());
    }
}
