package io.brazier.spark.cli;

import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingListener;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/**
 * Tells how training goes: one line that is drawn over and over on a terminal, one line a step elsewhere, and curves in a file
 * for TensorBoard on demand.
 */
final class ProgressReporter implements TrainingListener, AutoCloseable {

    /** What is written to. */
    enum Display {
        TERMINAL,
        LINES;

        private static final Path STANDARD_ERROR = Path.of("/proc/self/fd/2");

        /** What standard error is; System.console() tells of input and output only. */
        static Display ofStandardError() {
            try {
                String device = Files.readSymbolicLink(STANDARD_ERROR).toString();
                return device.matches("/dev/(pts/|tty|console).*") ? TERMINAL : LINES;
            } catch (IOException e) {
                return LINES; // no /proc: not Linux, and lines do no harm
            }
        }
    }

    private static final int BAR_WIDTH = 20;
    private static final double SMOOTHING = 0.1;

    private final PrintWriter out;
    private final Display display;
    private final EventFile events; // null when no curves are wanted
    private String device = "";
    private double peakFlops = Double.NaN;
    private double smoothSeconds;
    private boolean barDrawn;

    /** @param eventDirectory where TensorBoard's file goes, or null */
    ProgressReporter(PrintWriter out, Display display, Path eventDirectory) throws IOException {
        this.out = out;
        this.display = display;
        this.events = eventDirectory == null ? null : new EventFile(eventDirectory, now());
    }

    @Override
    public synchronized void onDevice(String description, double flopsPerSecond) {
        peakFlops = flopsPerSecond;
        if (!description.equals(device)) {
            device = description;
            print("training on " + description);
        }
    }

    @Override
    public synchronized void onStep(StepReport report) {
        smoothSeconds =
                smoothSeconds == 0 ? report.seconds() : (1 - SMOOTHING) * smoothSeconds + SMOOTHING * report.seconds();
        switch (display) {
            case TERMINAL -> {
                // To the line's start, and cleared to its end: the last one may have been longer.
                out.print("\r\u001b[K" + bar(report));
                barDrawn = true;
            }
            case LINES -> out.println(line(report));
        }
        out.flush();
        Map<String, Double> values = new LinkedHashMap<>();
        values.put("loss/train", report.loss());
        values.put("gradientNorm", report.gradientNorm());
        values.put("learningRate", report.learningRate());
        values.put("tokensPerSecond", report.tokensPerSecond());
        values.put("modelFlopsUtilization", utilization(report));
        if (report.balanceLoss() > 0 || report.droppedTokens() > 0) {
            values.put("experts/balanceLoss", report.balanceLoss());
            values.put("experts/droppedTokens", (double) report.droppedTokens());
        }
        record(report.step(), values);
    }

    @Override
    public synchronized void onEvaluation(EvaluationReport report) {
        print(String.format(
                Locale.ROOT,
                "step %d validation loss %.4f perplexity %.3f over %d tokens",
                report.step(),
                report.loss(),
                report.perplexity(),
                report.tokens()));
        Map<String, Double> values = new LinkedHashMap<>();
        values.put("loss/validation", report.loss());
        values.put("perplexity/validation", report.perplexity());
        record(report.step(), values);
    }

    @Override
    public synchronized void onCheckpoint(long step, String path) {
        print("step " + step + " checkpoint " + path);
    }

    @Override
    public synchronized void onWarning(String message) {
        print("warning: " + message);
    }

    /** {@code step 120/400 [=====>              ] loss 2.314 41k tok/s eta 02:10}. */
    private String bar(StepReport report) {
        int filled = (int) (BAR_WIDTH * report.step() / report.numSteps());
        String drawn = "=".repeat(filled) + (filled < BAR_WIDTH ? ">" : "");
        long seconds = Math.round((report.numSteps() - report.step()) * smoothSeconds);
        String eta = seconds < 3600
                ? String.format(Locale.ROOT, "%02d:%02d", seconds / 60, seconds % 60)
                : String.format(Locale.ROOT, "%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
        return String.format(
                Locale.ROOT,
                "step %d/%d [%-" + BAR_WIDTH + "s] loss %.3f %s tok/s eta %s",
                report.step(),
                report.numSteps(),
                drawn,
                report.loss(),
                rounded(report.tokens() / smoothSeconds),
                eta);
    }

    /** FLOPs that the model needed over those that the devices could have done; NaN as long as these are unknown. */
    private double utilization(StepReport report) {
        return report.modelFlops() / (report.seconds() * peakFlops);
    }

    private String line(StepReport report) {
        return String.format(
                        Locale.ROOT,
                        "step %d/%d loss %.4f gradientNorm %.3f learningRate %.2e tokensPerSecond %.0f memory %.0f MiB mfu %.2f",
                        report.step(),
                        report.numSteps(),
                        report.loss(),
                        report.gradientNorm(),
                        report.learningRate(),
                        report.tokensPerSecond(),
                        report.memoryBytes() / 1048576.0,
                        utilization(report))
                + (report.droppedTokens() > 0 ? " droppedTokens " + report.droppedTokens() : "");
    }

    /** Three digits at most, with k or M. */
    private static String rounded(double value) {
        if (value >= 1e6) {
            return String.format(Locale.ROOT, "%.1fM", value / 1e6);
        }
        return value >= 1e4
                ? String.format(Locale.ROOT, "%.0fk", value / 1e3)
                : String.format(Locale.ROOT, value >= 1e3 ? "%.1fk" : "%.0f", value >= 1e3 ? value / 1e3 : value);
    }

    /** A line of its own, below the bar. */
    private void print(String text) {
        out.println((barDrawn ? "\r\u001b[K" : "") + text);
        out.flush();
        barDrawn = false;
    }

    private void record(long step, Map<String, Double> values) {
        if (events == null) {
            return;
        }
        try {
            events.write(now(), step, values);
        } catch (IOException e) {
            throw new UncheckedIOException("the event file of TensorBoard", e);
        }
    }

    private static double now() {
        return System.currentTimeMillis() / 1e3;
    }

    @Override
    public synchronized void close() throws IOException {
        if (barDrawn) {
            out.println();
            out.flush();
        }
        if (events != null) {
            events.close();
        }
    }
}
