package io.brazier.tests.cuda;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import java.time.Duration;

/** Trains two steps in a process of its own and prints the ranges that a profiler would have seen of each. */
public final class RangesProbe {
    static final TrainingSpec SPEC = new TrainingSpec(
            GptConfig.of(29, 8, 2, 2, 32),
            Layout.dataParallel(1),
            2,
            2,
            8,
            0.1,
            new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0),
            1);

    private RangesProbe() {}

    /** @param arguments the mode */
    public static void main(String[] arguments) {
        Cudasim.load();
        Communicator alone = CpuCommunicators.local(1, Duration.ofMinutes(1)).get(0);
        InitialWeights initial = new InitialWeights(SPEC.model().model().parameters(), 1);
        try (CudaDevice device = CudaDevice.open(0);
                TrainingEngine engine =
                        CudaEngines.training(SPEC, alone, device, Mode.valueOf(arguments[0]), initial, Fill.ZERO)) {
            Cudasim.takeRanges();
            for (int step = 0; step < 2; step++) {
                engine.step(step, 1e-4, (microBatch, tokens, targets) -> {
                    while (tokens.hasRemaining()) {
                        tokens.put(tokens.remaining() % 7);
                        targets.put(targets.remaining() % 5);
                    }
                });
                System.out.println("step " + String.join(" ", Cudasim.takeRanges()));
            }
        }
        for (String violation : Cudasim.takeViolations()) {
            System.out.println(violation);
        }
        alone.abort("probed");
    }
}
