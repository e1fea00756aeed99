package io.brazier.spark.ui;

import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingListener;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedDeque;

/**
 * Keeps what a run reports, on the driver, and passes it on. A step that is repeated after a restart replaces its first report. The
 * driver remembers its latest runs for the UI and the metrics.
 */
public final class TrainingRun implements TrainingListener {
    private static final int MAX_RUNS = 10;
    private static final Deque<TrainingRun> RUNS = new ConcurrentLinkedDeque<>();

    /** Where a run stands. */
    public enum State {
        RUNNING,
        FINISHED,
        FAILED
    }

    private final String name;
    private final TrainingListener next;
    private final NavigableMap<Long, StepReport> steps = new TreeMap<>();
    private final NavigableMap<Long, EvaluationReport> evaluations = new TreeMap<>();
    private volatile String lastCheckpoint;
    private volatile String device = "";
    private volatile State state = State.RUNNING;

    private TrainingRun(String name, TrainingListener next) {
        this.name = name;
        this.next = next;
    }

    /** A run that begins now. */
    public static TrainingRun begin(String name, TrainingListener next) {
        TrainingRun run = new TrainingRun(name, next);
        RUNS.addFirst(run);
        if (RUNS.size() > MAX_RUNS) {
            RUNS.removeLast();
        }
        return run;
    }

    /** The latest runs of this driver, the newest first. */
    static List<TrainingRun> latest() {
        return new ArrayList<>(RUNS);
    }

    /** The last step of the newest run. */
    public static Optional<StepReport> lastStep() {
        TrainingRun run = RUNS.peekFirst();
        return run == null ? Optional.empty() : run.last();
    }

    public void end(State outcome) {
        state = outcome;
    }

    String name() {
        return name;
    }

    /** What rank 0 computes on; empty as long as it has not said so. */
    String device() {
        return device;
    }

    State state() {
        return state;
    }

    public synchronized List<StepReport> steps() {
        return new ArrayList<>(steps.values());
    }

    public synchronized List<EvaluationReport> evaluations() {
        return new ArrayList<>(evaluations.values());
    }

    /** The checkpoint that this run committed last. */
    public Optional<String> lastCheckpoint() {
        return Optional.ofNullable(lastCheckpoint);
    }

    @Override
    public void onDevice(String description, double peakFlops) {
        device = description;
        next.onDevice(description, peakFlops);
    }

    @Override
    public void onStep(StepReport report) {
        synchronized (this) {
            steps.put(report.step(), report);
        }
        next.onStep(report);
    }

    @Override
    public void onEvaluation(EvaluationReport report) {
        synchronized (this) {
            evaluations.put(report.step(), report);
        }
        next.onEvaluation(report);
    }

    @Override
    public void onCheckpoint(long step, String path) {
        lastCheckpoint = path;
        next.onCheckpoint(step, path);
    }

    @Override
    public void onWarning(String message) {
        next.onWarning(message);
    }

    private synchronized Optional<StepReport> last() {
        return steps.isEmpty()
                ? Optional.empty()
                : Optional.of(steps.lastEntry().getValue());
    }
}
