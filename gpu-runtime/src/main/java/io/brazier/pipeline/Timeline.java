package io.brazier.pipeline;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * The lists of all stages, run on a clock. A stage runs its list in order, each action as soon as its message is there; a
 * message is on its way while both stages work.
 *
 * @param stages what each stage does, and when
 * @param seconds until the last action of all has ended
 */
public record Timeline(List<List<Span>> stages, double seconds) {

    /** An action from start to end, in seconds. */
    public record Span(Action action, double start, double end) {}

    /** How long things take, in seconds. */
    public interface Cost {
        double of(int stage, Action action);

        double of(Transfer transfer);
    }

    /** The same times everywhere; updates take none. */
    public record Uniform(double forward, double backward, double backwardInput, double backwardWeight, double transfer)
            implements Cost {
        @Override
        public double of(int stage, Action action) {
            return switch (action.phase()) {
                case FORWARD -> forward;
                case BACKWARD -> backward;
                case BACKWARD_INPUT -> backwardInput;
                case BACKWARD_WEIGHT -> backwardWeight;
                case UPDATE -> 0;
            };
        }

        @Override
        public double of(Transfer message) {
            return transfer;
        }
    }

    /**
     * Runs the lists.
     *
     * @throws IllegalArgumentException when a list is incomplete, or when the stages wait for each other: it names what each
     *     waits for
     */
    public static Timeline of(List<List<Action>> lists, Cost cost) {
        StageLists.check(lists);
        return new Clock(lists, cost).run();
    }

    /** Share of the time in which the stage does nothing. */
    public double bubble(int stage) {
        return 1 - busy(stage) / seconds;
    }

    /** Share of the time in which the stages do nothing, over all of them. */
    public double bubble() {
        return IntStream.range(0, stages.size())
                .mapToDouble(this::bubble)
                .average()
                .orElseThrow();
    }

    /** Largest number of micro-batches between forward and end of backward on a chunk: the stash slots it needs. */
    public int maxInFlight(int stage, int chunk) {
        return Slots.of(stages.get(stage).stream().map(Span::action).toList()).count(chunk);
    }

    /**
     * One line per stage, one cell per tick, as in the papers' figures; chunks after the first are letters behind the number.
     * Where there are more ticks than columns, only the first are drawn.
     *
     * @param tickSeconds what a cell stands for: what starts in the middle of it is shown
     */
    public String draw(double tickSeconds, int maxColumns) {
        int columns = (int) Math.min(maxColumns, Math.ceil(seconds / tickSeconds - 1e-9));
        int width = 1
                + stages.stream()
                        .flatMap(List::stream)
                        .mapToInt(span -> cell(span.action()).length())
                        .max()
                        .orElse(1);
        StringBuilder out = new StringBuilder();
        for (int stage = 0; stage < stages.size(); stage++) {
            StringBuilder line = new StringBuilder("stage " + stage + " |");
            int next = 0;
            for (int x = 0; x < columns; x++) {
                double middle = (x + 0.5) * tickSeconds;
                List<Span> spans = stages.get(stage);
                while (next < spans.size() && spans.get(next).end() <= middle) {
                    next++;
                }
                boolean works = next < spans.size() && spans.get(next).start() <= middle;
                String text = works ? cell(spans.get(next).action()) : ".";
                line.append(" ".repeat(width - text.length())).append(text);
            }
            out.append(line).append(columns * tickSeconds < seconds - 1e-9 * seconds ? " ..\n" : "\n");
        }
        return out.toString();
    }

    private static String cell(Action action) {
        return action.phase().symbol()
                + action.microBatch()
                + (action.chunk() == 0 ? "" : (char) ('a' + action.chunk()));
    }

    private double busy(int stage) {
        return stages.get(stage).stream().mapToDouble(s -> s.end() - s.start()).sum();
    }

    private static final class Clock {
        private final List<List<Action>> lists;
        private final Cost cost;
        private final int numChunks;
        private final List<List<Span>> spans = new ArrayList<>();
        private final Map<Transfer, Double> arrivals = new HashMap<>();

        Clock(List<List<Action>> lists, Cost cost) {
            this.lists = lists;
            this.cost = cost;
            this.numChunks = StageLists.numChunks(lists);
            lists.forEach(list -> spans.add(new ArrayList<>()));
        }

        Timeline run() {
            boolean moved = true;
            while (moved) {
                moved = false;
                for (int stage = 0; stage < lists.size(); stage++) {
                    while (spans.get(stage).size() < lists.get(stage).size()
                            && awaited(stage).isEmpty()) {
                        step(stage);
                        moved = true;
                    }
                }
            }
            refuseDeadlock();
            double seconds = spans.stream()
                    .flatMap(List::stream)
                    .mapToDouble(Span::end)
                    .max()
                    .orElseThrow();
            return new Timeline(spans.stream().map(List::copyOf).toList(), seconds);
        }

        /** The message that the stage's next action lacks. */
        private Optional<Transfer> awaited(int stage) {
            return Transfer.before(next(stage), stage, lists.size(), numChunks)
                    .filter(message -> !arrivals.containsKey(message));
        }

        private void step(int stage) {
            Action action = next(stage);
            List<Span> done = spans.get(stage);
            double free = done.isEmpty() ? 0 : done.get(done.size() - 1).end();
            double start = Transfer.before(action, stage, lists.size(), numChunks)
                    .map(message -> Math.max(free, arrivals.get(message)))
                    .orElse(free);
            double end = start + cost.of(stage, action);
            done.add(new Span(action, start, end));
            Transfer.after(action, stage, lists.size(), numChunks)
                    .ifPresent(message -> arrivals.put(message, end + cost.of(message)));
        }

        private Action next(int stage) {
            return lists.get(stage).get(spans.get(stage).size());
        }

        private void refuseDeadlock() {
            List<String> blocked = new ArrayList<>();
            for (int stage = 0; stage < lists.size(); stage++) {
                if (spans.get(stage).size() < lists.get(stage).size()) {
                    blocked.add("stage " + stage + " cannot start " + next(stage) + " before "
                            + awaited(stage).orElseThrow());
                }
            }
            if (!blocked.isEmpty()) {
                throw new IllegalArgumentException(
                        "schedule: the stages wait for each other: " + String.join("; ", blocked));
            }
        }
    }
}
