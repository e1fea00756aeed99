package io.brazier.tests.bench;

import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Request;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.RotaryScaling;
import io.brazier.sim.Scenario;
import io.brazier.tensor.Mesh;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A training step of one micro-batch in bf16 whose instructions, those of the first rank, are listed and timed one by one. */
record RooflineCase(String name, String title, Scenario scenario) {

    /** The step that is timed as a whole, too. */
    static final BenchCase GPT2_STEP =
            new BenchCase("GPT-2 124M, one GPU, micro-batch 12 x 1024", "gpt2", BenchCase.GPT2, 12, 1024);

    static final BenchCase TINY_STEP =
            new BenchCase("GPT of 2 layers x 64, micro-batch 2 x 16", "tiny", GptConfig.of(257, 16, 2, 4, 64), 2, 16);

    static final RooflineCase GPT2 = of(GPT2_STEP);

    static final RooflineCase LLAMA3 = new RooflineCase(
            "llama3",
            "Llama-3-8B, one of 8 GPUs (tp 8), micro-batch 1 x 8192",
            scenario(
                    new LlamaConfig(
                            128256,
                            8192,
                            32,
                            32,
                            8,
                            128,
                            4096,
                            14336,
                            1e-5,
                            5e5,
                            RotaryScaling.NONE,
                            false,
                            Experts.NONE),
                    8,
                    1,
                    8192));

    private static final RooflineCase TINY_LLAMA = new RooflineCase(
            "tiny",
            "Llama of 1 layer x 64, one of 2 GPUs (tp 2), micro-batch 2 x 16",
            scenario(
                    new LlamaConfig(257, 16, 1, 4, 2, 16, 64, 96, 1e-5, 1e4, RotaryScaling.NONE, false, Experts.NONE),
                    2,
                    2,
                    16));

    static final List<RooflineCase> ALL = List.of(GPT2, LLAMA3, of(TINY_STEP), TINY_LLAMA);

    private static RooflineCase of(BenchCase bench) {
        return new RooflineCase(
                bench.name(), bench.title(), scenario(bench.model(), 1, bench.batchSize(), bench.sequenceLength()));
    }

    private static Scenario scenario(ModelConfig model, int tp, int rows, int sequenceLength) {
        return new Scenario(model, layout(tp), rows, 1, sequenceLength);
    }

    static Layout layout(int tp) {
        return Layout.of(new Mesh(1, 1, 1, 1, tp)).withPrecision(Layout.Precision.BF16);
    }

    /** @param runs in a step */
    record Kernel(Instruction instruction, int runs) {}

    /** What a GPU computes, each op once for all modules in which it has the same operands. */
    List<Kernel> kernels() {
        AdamWSettings optimizer = new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0);
        Request request = new TrainingSpec(
                        scenario.model(),
                        scenario.layout(),
                        scenario.microBatchSize(),
                        scenario.numMicroBatches(),
                        scenario.sequenceLength(),
                        0,
                        optimizer,
                        1)
                .request(0)
                .with(Request.Backward.FUSED);
        RankPlan plan = TrainingPlan.make(request, i -> 0).plan();
        Map<List<Object>, Kernel> kernels = new LinkedHashMap<>();
        for (RankPlan.Step step : plan.schedule()) {
            if (step instanceof RankPlan.Launch launch) {
                for (Instruction i :
                        plan.segments().get(launch.segment()).program().instructions()) {
                    if (!(i.op() instanceof Collective)) {
                        kernels.merge(
                                List.of(i.op(), i.inputTypes()),
                                new Kernel(i, 1),
                                (old, one) -> new Kernel(old.instruction(), old.runs() + 1));
                    }
                }
            }
        }
        return List.copyOf(kernels.values());
    }
}
