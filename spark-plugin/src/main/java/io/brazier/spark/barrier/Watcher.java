package io.brazier.spark.barrier;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.spark.TaskContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Stands beside the thread of a task: beats for it, and ends what it waits for when Spark kills it, since Spark interrupts neither
 * sockets nor native code. A task that has not let go of its slot some seconds after that costs its executor the process.
 */
final class Watcher implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Watcher.class);
    private static final long POLL_MILLIS = 50;
    private static final long BEAT_NANOS = TimeUnit.SECONDS.toNanos(1);
    private static final int GRACE_SECONDS = 10;
    private static final int EXIT_STATUS = 52;

    private final TaskContext task;
    private final Runnable beat;
    private final Runnable abort;
    private final Runnable giveUp;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Thread thread;

    /**
     * @param beat called about once a second
     * @param abort called once when Spark has killed the task
     * @param isOwnProcess whether this JVM is an executor of its own, which may be ended
     */
    Watcher(TaskContext task, Runnable beat, Runnable abort, boolean isOwnProcess) {
        this.task = task;
        this.beat = beat;
        this.abort = abort;
        this.giveUp = isOwnProcess ? () -> Runtime.getRuntime().halt(EXIT_STATUS) : () -> {};
        this.thread = new Thread(this::watch, "brazier-watcher-" + task.partitionId());
        thread.setDaemon(true);
        thread.start();
    }

    /** Ends the thread; after that there is no further heartbeat. */
    @Override
    public void close() {
        ended.countDown();
        try {
            thread.join(TimeUnit.SECONDS.toMillis(1));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void watch() {
        try {
            long nextBeat = System.nanoTime();
            while (!task.isInterrupted()) {
                if (System.nanoTime() - nextBeat >= 0) {
                    nextBeat += BEAT_NANOS;
                    quietly(beat, "heartbeat");
                }
                if (ended.await(POLL_MILLIS, TimeUnit.MILLISECONDS)) {
                    return;
                }
            }
            quietly(abort, "abort");
            if (!ended.await(GRACE_SECONDS, TimeUnit.SECONDS)) {
                LOG.error(
                        "Partition {} has not ended {} s after Spark killed it: giving up this executor",
                        task.partitionId(),
                        GRACE_SECONDS);
                giveUp.run();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void quietly(Runnable action, String name) {
        try {
            action.run();
        } catch (RuntimeException e) {
            LOG.warn("The {} of this rank failed", name, e);
        }
    }
}
