package io.brazier.tests.bench;

import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import io.brazier.plan.RankPlan;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.RotaryScaling;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A training step in bf16 on one GPU whose instructions are timed one by one.
 *
 * @param batchSize B
 * @param sequenceLength T
 */
record RooflineCase(String name, String title, ModelConfig model, int batchSize, int sequenceLength) {

    /** The step that is timed as a whole, too. */
    static final BenchCase GPT2 =
            new BenchCase("GPT-2 124M, B 16, T 1024", "gpt2", GptConfig.of(50257, 1024, 12, 12, 768), 16, 1024);

    static final BenchCase TINY =
            new BenchCase("GPT of 2 layers x 64, B 2, T 16", "tiny", GptConfig.of(257, 16, 2, 4, 64), 2, 16);

    /** One layer has the shapes of all; the optimizer's is smaller than the model's. */
    private static final LlamaConfig LLAMA3 = new LlamaConfig(
            128256, 8192, 1, 32, 8, 128, 4096, 14336, 1e-5, 500000, RotaryScaling.NONE, false, Experts.NONE);

    private static final LlamaConfig TINY_LLAMA =
            new LlamaConfig(257, 16, 1, 4, 2, 16, 64, 96, 1e-5, 10000, RotaryScaling.NONE, false, Experts.NONE);

    static final List<RooflineCase> ALL = List.of(
            of(GPT2),
            new RooflineCase("llama3", "Llama 3 8B, one layer, B 1, T 4096", LLAMA3, 1, 4096),
            of(TINY),
            new RooflineCase("tiny", "Llama of 1 layer x 64, B 2, T 16", TINY_LLAMA, 2, 16));

    private static RooflineCase of(BenchCase bench) {
        return new RooflineCase(bench.name(), bench.title(), bench.model(), bench.batchSize(), bench.sequenceLength());
    }

    /** @param runs in a step */
    record Kernel(Instruction instruction, int runs) {}

    static Layout layout() {
        return Layout.dataParallel(1).withPrecision(Layout.Precision.BF16);
    }

    /** What a step computes, each op once for all modules in which it has the same operands. */
    List<Kernel> kernels() {
        AdamWSettings optimizer = new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0);
        TrainingSpec spec = new TrainingSpec(model, layout(), batchSize, 1, sequenceLength, 0, optimizer, 1);
        RankPlan plan = TrainingPlan.make(spec.request(0), i -> 0).plan();
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
