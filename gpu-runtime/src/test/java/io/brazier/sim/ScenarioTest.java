package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.LlamaConfig;
import io.brazier.plan.Layout;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A model as large as they come on as many devices. */
class ScenarioTest {
    private static final LlamaConfig LLAMA_405B = new LlamaConfig(
            128256,
            131072,
            126,
            128,
            8,
            128,
            16384,
            53248,
            1e-5,
            5e5,
            RotaryScaling.NONE,
            false,
            LlamaConfig.Experts.NONE);

    /** 16,384 devices are 16 plans. The layout is Llama 3's for sequences of 8192 (arXiv:2407.21783, table 4), in f32. */
    @Test
    void llamaOn16384Devices() {
        Layout layout = Layout.of(new Mesh(128, 16, 1, 1, 8)).withSequenceParallel();
        Scenario scenario = new Scenario(LLAMA_405B, layout, 1, 16, 8192);
        long start = System.nanoTime();
        List<RankPlan> stages = scenario.stages();
        SimulationReport r = Simulator.simulate(stages, Hardware.named("h100"), scenario.workload());
        System.out.printf("planned and simulated 16,384 devices in %.1f s%n", (System.nanoTime() - start) / 1e9);
        assertEquals(2048, scenario.batchSize());
        assertEquals(16, r.stages().size());
        assertEquals(16384, r.mesh().worldSize());
        assertEquals(2048 * 8192 / r.stepSeconds(), r.tokensPerSecond(), 1e-3);
        assertTrue(Double.isFinite(r.stepSeconds()) && r.modelFlopsUtilization() < 0.8, r.toString());
        double weights = stages.stream()
                .mapToDouble(plan -> plan.regions().get(Region.WEIGHTS))
                .sum();
        // Norms are whole on every rank of tp.
        double split = LLAMA_405B.numParameters() * 4.0 / 8;
        assertEquals(split, weights, 1e-4 * split);
    }
}
