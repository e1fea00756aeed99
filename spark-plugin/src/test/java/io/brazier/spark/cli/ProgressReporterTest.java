package io.brazier.spark.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;

class ProgressReporterTest {
    private static final StepReport STEP = new StepReport(120, 400, 2.314, 0.5, 9.3e-4, 20_500, 0.5, 1e10, 222 << 20);

    private static String shown(ProgressReporter.Display display) throws IOException {
        StringWriter text = new StringWriter();
        try (ProgressReporter reporter = new ProgressReporter(new PrintWriter(text), display, null)) {
            reporter.onDevice("the CPU", 5e10);
            reporter.onStep(STEP);
            reporter.onEvaluation(new EvaluationReport(120, 2, 1000));
        }
        return text.toString();
    }

    @Test
    void drawsOneLineOverAndOverOnATerminal() throws IOException {
        String clear = "\r\u001b[K";
        assertEquals(
                "training on the CPU\n" + clear + "step 120/400 [======>             ] loss 2.314 41k tok/s eta 02:20"
                        + clear + "step 120 validation loss 2.0000 perplexity 7.389 over 1000 tokens\n",
                shown(ProgressReporter.Display.TERMINAL));
    }

    @Test
    void printsALineAStepElsewhere() throws IOException {
        assertEquals(
                "training on the CPU\nstep 120/400 loss 2.3140 gradientNorm 0.500 learningRate 9.30e-04 tokensPerSecond 41000 memory 222 MiB"
                        + " mfu 0.40\n"
                        + "step 120 validation loss 2.0000 perplexity 7.389 over 1000 tokens\n",
                shown(ProgressReporter.Display.LINES));
    }
}
