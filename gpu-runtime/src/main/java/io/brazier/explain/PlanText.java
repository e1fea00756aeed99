package io.brazier.explain;

import io.brazier.nn.ModelConfig;
import io.brazier.pipeline.Action;
import io.brazier.pipeline.Timeline;
import io.brazier.plan.Layout;
import io.brazier.plan.Region;
import io.brazier.plan.Request;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A {@link PlanReport} as text: tables of the stages, of bytes, of messages, and the schedule as a drawing. */
final class PlanText {
    private static final int MAX_COLUMNS = 100;
    private static final String[] UNITS = {"B", "KiB", "MiB", "GiB", "TiB"};

    private PlanText() {}

    static String of(PlanReport report) {
        return String.join(
                "\n", head(report.request()), stages(report), bytes(report), traffic(report), schedule(report));
    }

    private static String head(Request r) {
        Mesh mesh = r.layout().mesh();
        ModelConfig model = r.model().config();
        long replicas = (long) mesh.dp() * mesh.ep();
        long rows = replicas * r.numMicroBatches() * r.microBatchSize();
        return text("layout  %s\n", r.layout())
                + text(
                        "model   %d blocks of width %d, %d heads, %d tokens in the vocabulary, %,d parameters\n",
                        model.numLayers(),
                        model.width(),
                        model.numHeads(),
                        model.vocabularySize(),
                        model.numParameters())
                + text(
                        "step    %,d rows = %d replicas * %d micro-batches * %d rows, of %,d tokens each\n",
                        rows, replicas, r.numMicroBatches(), r.microBatchSize(), r.sequenceLength());
    }

    private static String stages(PlanReport report) {
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("stage", "parameters", "pieces"));
        int numLayers = report.request().model().config().numLayers();
        for (int x = 0; x < report.stages().size(); x++) {
            PlanReport.Stage stage = report.stages().get(x);
            String pieces = stage.chunks().stream()
                    .map(chunk -> pieces(chunk, numLayers))
                    .collect(Collectors.joining(" | "));
            rows.add(List.of("" + x, text("%,d", stage.numParameters()), pieces));
        }
        StringBuilder out = new StringBuilder(table(rows));
        for (Axis axis : Axis.values()) {
            TreeSet<String> names = new TreeSet<>();
            report.stages().forEach(stage -> names.addAll(stage.cuts().getOrDefault(axis, List.of())));
            if (!names.isEmpty()) {
                out.append(text("cut over %s: %s\n", axis, String.join(", ", names)));
            }
        }
        return out.toString();
    }

    private static String pieces(List<Integer> pieces, int numLayers) {
        List<String> names = new ArrayList<>();
        List<Integer> blocks =
                pieces.stream().filter(p -> p > 0 && p <= numLayers).toList();
        if (pieces.contains(0)) {
            names.add("embedding");
        }
        if (!blocks.isEmpty()) {
            int first = blocks.get(0) - 1;
            int last = blocks.get(blocks.size() - 1) - 1;
            names.add(first == last ? "block " + first : "blocks " + first + "-" + last);
        }
        if (pieces.contains(numLayers + 1)) {
            names.add("head");
        }
        return String.join(", ", names);
    }

    /** A row for each kind of rank, a column for each part of the arena that some rank has. */
    private static String bytes(PlanReport report) {
        record Column(String name, Function<RankShare, Long> bytes) {}
        List<Column> columns = Stream.of(
                        new Column("weights", s -> s.bytesOf(Region.WEIGHTS)),
                        new Column("masters", s -> s.bytesOf(Region.MASTERS)),
                        new Column("gradients", s -> s.bytesOf(Region.GRADIENTS)),
                        new Column("optimizer", s -> s.bytesOf(Region.FIRST_MOMENTS, Region.SECOND_MOMENTS)),
                        new Column("scales", s -> s.bytesOf(Region.SCALES)),
                        new Column("inputs", s -> s.bytesOf(Region.INPUTS)),
                        new Column("stash", s -> s.bytesOf(Region.STASH)),
                        new Column("scratch", s -> s.bytesOf(Region.SCRATCH)),
                        new Column("arena", RankShare::arenaBytes))
                .filter(c -> report.ranks().stream().anyMatch(r -> c.bytes().apply(r.share()) > 0))
                .toList();
        List<List<String>> rows = new ArrayList<>();
        List<String> head = new ArrayList<>(List.of("bytes of rank", "parameters"));
        columns.forEach(c -> head.add(c.name()));
        head.add("stash = slots * bytes");
        rows.add(head);
        for (PlanReport.Ranks ranks : report.ranks()) {
            List<String> row = new ArrayList<>();
            row.add(ranges(ranks.ranks()));
            row.add(text("%,d", ranks.share().numParameters()));
            columns.forEach(c -> row.add(amount(c.bytes().apply(ranks.share()))));
            row.add(ranks.share().stashes().stream()
                    .map(stash -> stash.numSlots() + " * " + amount(stash.slotBytes()))
                    .collect(Collectors.joining(" + ")));
            rows.add(row);
        }
        return table(rows);
    }

    private static String traffic(PlanReport report) {
        TreeSet<String> groups = new TreeSet<>();
        report.ranks().forEach(r -> groups.addAll(r.share().sentBytes().keySet()));
        List<List<String>> rows = new ArrayList<>();
        List<String> head = new ArrayList<>(List.of("step of rank", "FLOPs"));
        groups.forEach(group -> head.add("sent over " + group));
        rows.add(head);
        for (PlanReport.Ranks ranks : report.ranks()) {
            List<String> row = new ArrayList<>();
            row.add(ranges(ranks.ranks()));
            row.add(text("%.4g", ranks.share().flops()));
            groups.forEach(
                    group -> row.add(amount(Math.round(ranks.share().sentBytes().getOrDefault(group, 0.0)))));
            rows.add(row);
        }
        return table(rows);
    }

    private static String schedule(PlanReport report) {
        Layout layout = report.request().layout();
        Timeline timeline = report.timeline();
        double shortest = timeline.stages().stream()
                .flatMap(List::stream)
                .filter(span -> span.action().phase() != Action.Phase.UPDATE)
                .mapToDouble(span -> span.end() - span.start())
                .filter(length -> length > 0)
                .min()
                .orElse(1);
        double tick = Math.max(shortest, timeline.seconds() / MAX_COLUMNS);
        return text(
                        "schedule %s: bubble %.1f %%, time by FLOPs (F forward, B backward, b of inputs, w of weights)\n",
                        layout.schedule(), 100 * timeline.bubble())
                + timeline.draw(tick, MAX_COLUMNS);
    }

    /** For example {@code 0-3, 6}. */
    static String ranges(List<Integer> sorted) {
        List<String> ranges = new ArrayList<>();
        for (int x = 0; x < sorted.size(); ) {
            int first = x;
            while (x + 1 < sorted.size() && sorted.get(x + 1) == sorted.get(x) + 1) {
                x++;
            }
            ranges.add(first == x ? "" + sorted.get(x) : sorted.get(first) + "-" + sorted.get(x));
            x++;
        }
        return String.join(", ", ranges);
    }

    /** Bytes with a unit, four digits. */
    static String amount(long bytes) {
        double value = bytes;
        int unit = 0;
        while (value >= 1024 && unit + 1 < UNITS.length) {
            value /= 1024;
            unit++;
        }
        int decimals = unit == 0 || value >= 1000 ? 0 : value >= 100 ? 1 : value >= 10 ? 2 : 3;
        return String.format(Locale.ROOT, "%." + decimals + "f %s", value, UNITS[unit]);
    }

    /** Columns side by side, numbers at the right, the last column at the left. */
    private static String table(List<List<String>> rows) {
        int numColumns = rows.get(0).size();
        int[] widths = new int[numColumns];
        rows.forEach(
                row -> Arrays.setAll(widths, x -> Math.max(widths[x], row.get(x).length())));
        StringBuilder out = new StringBuilder();
        for (List<String> row : rows) {
            List<String> cells = new ArrayList<>();
            for (int x = 0; x < numColumns; x++) {
                String blanks = " ".repeat(widths[x] - row.get(x).length());
                cells.add(x == numColumns - 1 ? row.get(x) : blanks + row.get(x));
            }
            out.append(String.join("  ", cells)).append('\n');
        }
        return out.toString();
    }

    private static String text(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }
}
