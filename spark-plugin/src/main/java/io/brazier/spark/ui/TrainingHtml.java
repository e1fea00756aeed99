package io.brazier.spark.ui;

import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;

/** Runs as well-formed markup: a line of figures and the loss curve of each. */
final class TrainingHtml {
    private static final int WIDTH = 640;
    private static final int HEIGHT = 240;
    private static final int MAX_POINTS = 640;

    private TrainingHtml() {}

    static String of(List<TrainingRun> runs) {
        if (runs.isEmpty()) {
            return "<div><p>No training run in this application yet.</p></div>";
        }
        return runs.stream().map(TrainingHtml::run).collect(Collectors.joining("", "<div>", "</div>"));
    }

    private static String run(TrainingRun run) {
        List<StepReport> steps = run.steps();
        List<EvaluationReport> evaluations = run.evaluations();
        String title = "<h4>" + escape(run.name()) + ": " + run.state().name().toLowerCase(Locale.ROOT) + "</h4>";
        if (steps.isEmpty()) {
            return title;
        }
        StepReport last = steps.get(steps.size() - 1);
        String figures = String.format(
                Locale.ROOT,
                "<p>step %d of %d, loss %.4f, gradient norm %.3f, %.0f tokens/s, %.1f MiB a rank%s</p><p>on %s</p>",
                last.step(),
                last.numSteps(),
                last.loss(),
                last.gradientNorm(),
                last.tokensPerSecond(),
                last.memoryBytes() / 1048576.0,
                evaluations.isEmpty() ? "" : validation(evaluations.get(evaluations.size() - 1)),
                escape(run.device()));
        return title + figures + curves(steps, evaluations);
    }

    private static String validation(EvaluationReport last) {
        return String.format(Locale.ROOT, "; validation loss %.4f (perplexity %.2f)", last.loss(), last.perplexity());
    }

    /** Training loss as a line, validation loss as a second one; the axes are labelled with their ends. */
    private static String curves(List<StepReport> steps, List<EvaluationReport> evaluations) {
        double least = Math.min(
                steps.stream().mapToDouble(StepReport::loss).min().orElse(0),
                evaluations.stream().mapToDouble(EvaluationReport::loss).min().orElse(Double.MAX_VALUE));
        double most = steps.stream().mapToDouble(StepReport::loss).max().orElse(1);
        long end = Math.max(1, steps.get(steps.size() - 1).step());
        Scale scale = new Scale(end, least, Math.max(most, least + 1e-9));
        return String.format(
                Locale.ROOT,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" role=\"img\">"
                        + "<rect width=\"100%%\" height=\"100%%\" fill=\"#f8f8f8\"/>%s%s"
                        + "<text x=\"4\" y=\"14\" font-size=\"12\">loss %.3f</text>"
                        + "<text x=\"4\" y=\"%d\" font-size=\"12\">%.3f</text>"
                        + "<text x=\"%d\" y=\"%d\" font-size=\"12\" text-anchor=\"end\">step %d</text></svg>",
                WIDTH,
                HEIGHT,
                scale.line(steps, StepReport::step, StepReport::loss, "#1f77b4"),
                scale.line(evaluations, EvaluationReport::step, EvaluationReport::loss, "#d62728"),
                most,
                HEIGHT - 4,
                least,
                WIDTH - 4,
                HEIGHT - 4,
                end);
    }

    private record Scale(double end, double least, double most) {
        <T> String line(List<T> points, ToDoubleFunction<T> x, ToDoubleFunction<T> y, String colour) {
            int stride = Math.max(1, points.size() / MAX_POINTS);
            StringBuilder text = new StringBuilder("<polyline fill=\"none\" stroke=\"" + colour + "\" points=\"");
            for (int i = 0; i < points.size(); i += stride) {
                double fraction = (y.applyAsDouble(points.get(i)) - least) / (most - least);
                text.append(String.format(
                        Locale.ROOT,
                        "%.1f,%.1f ",
                        WIDTH * x.applyAsDouble(points.get(i)) / end,
                        HEIGHT - 20 - (HEIGHT - 40) * fraction));
            }
            return text.append("\"/>").toString();
        }
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    }
}
