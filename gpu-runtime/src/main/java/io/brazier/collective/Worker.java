package io.brazier.collective;

import io.brazier.collective.CollectiveException.Category;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.locks.LockSupport;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The thread of a communicator and its queue. Calls run in order; sends and receives that stand next to each other in the queue
 * move together, so that two ranks may both send before they receive.
 */
final class Worker {

    private static final Logger LOG = LoggerFactory.getLogger(Worker.class);

    private static final long REASON_NANOS = 100_000_000;

    private final Progress progress;
    private final Waiter waiter;
    private final Control control;
    private final Lineage lineage;
    private final Runnable release;
    private final LinkedBlockingQueue<Task> queue = new LinkedBlockingQueue<>();
    private final Thread thread;
    private boolean closed;

    /** @param release frees the memory of the doorbell, after all else is closed */
    Worker(Progress progress, Waiter waiter, Control control, Lineage lineage, Runnable release) {
        this.progress = progress;
        this.waiter = waiter;
        this.control = control;
        this.lineage = lineage;
        this.release = release;
        this.thread = new Thread(this::run, lineage.threadName(progress.rank()));
        thread.setDaemon(true);
        thread.start();
    }

    /** A call in the queue: a body to run, a transfer to move, or neither at the end. */
    private final class Task implements Work {
        private final Call call;
        private final Runnable body;
        private final Transfer transfer;
        private final CountDownLatch done = new CountDownLatch(1);
        private CollectiveException error;

        Task(Call call, Runnable body, Transfer transfer) {
            this.call = call;
            this.body = body;
            this.transfer = transfer;
        }

        void finish(CollectiveException outcome) {
            error = outcome;
            done.countDown();
        }

        @Override
        public void await() {
            boolean interrupted = false;
            while (!isDone()) {
                try {
                    done.await();
                } catch (InterruptedException e) {
                    // The memory is in use until the thread lets go of it, which a failure makes it do at once.
                    interrupted = true;
                    fail(new CommunicatorAbortedException(
                            "the thread that waits for " + call + " on rank " + progress.rank() + " was interrupted"));
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
            if (error != null) {
                throw error.again();
            }
        }

        @Override
        public boolean isDone() {
            return done.getCount() == 0;
        }
    }

    Work enqueue(Call call, Runnable body) {
        return enqueue(new Task(call, body, null));
    }

    Work enqueue(Call call, Transfer transfer) {
        return enqueue(new Task(call, null, transfer));
    }

    private synchronized Work enqueue(Task task) {
        if (closed) {
            throw new IllegalStateException(
                    thread.getName() + ": " + task.call + " on rank " + progress.rank() + " comes after close");
        }
        queue.add(task);
        waiter.wake();
        return task;
    }

    /** Ends everything here and on the peers, for a cause that lies in this communicator. Any thread. */
    void fail(CollectiveException cause) {
        end(lineage.named(cause));
    }

    /** As {@link #fail}, for a cause from elsewhere, which says where from. */
    void end(CollectiveException cause) {
        if (progress.fail(cause)) {
            control.abort(cause.what());
            lineage.family().fail(cause);
        }
    }

    private void run() {
        while (true) {
            Task task = next();
            if (task.transfer != null) {
                runTransfers(task);
            } else if (task.body != null) {
                runBody(task);
            } else {
                task.finish(null);
                return;
            }
        }
    }

    /** The next task; what was posted leaves this process before the thread sleeps. */
    private Task next() {
        if (queue.isEmpty()) {
            guarded(() -> progress.await(
                    () -> progress.flushed() || !queue.isEmpty(),
                    () -> "rank " + progress.rank() + " waits for peers to take what it sent"));
        }
        while (true) {
            try {
                return queue.take();
            } catch (InterruptedException e) {
                LOG.warn("nobody should interrupt {}; the interrupt is ignored", thread.getName());
            }
        }
    }

    private void runBody(Task task) {
        task.finish(guarded(() -> {
            progress.checkFailure();
            task.body.run();
        }));
    }

    private void runTransfers(Task first) {
        List<Task> active = new ArrayList<>(List.of(first));
        while (!active.isEmpty()) {
            CollectiveException error = guarded(() -> progress.await(
                    () -> stepTransfers(active),
                    () -> String.join(
                            "; ",
                            active.stream()
                                    .map(task -> progress.waitsFor(task.call, "rank " + task.transfer.peer()))
                                    .toList())));
            if (error != null) {
                active.forEach(task -> task.finish(error));
                return;
            }
        }
    }

    /** Moves what can be moved, for each peer and direction in call order; returns whether anything was. */
    private boolean stepTransfers(List<Task> active) {
        while (queue.peek() != null && queue.peek().transfer != null) {
            active.add(queue.remove());
        }
        boolean moved = false;
        Set<Integer> blocked = new HashSet<>();
        for (Task task : active) {
            Transfer transfer = task.transfer;
            int lane = transfer.sends() ? transfer.peer() : -1 - transfer.peer();
            if (!blocked.contains(lane)) {
                moved |= transfer.step();
                if (!transfer.isDone()) {
                    blocked.add(lane);
                }
            }
        }
        active.removeIf(task -> {
            if (task.transfer.isDone()) {
                task.finish(null);
            }
            return task.transfer.isDone();
        });
        return moved;
    }

    /** Runs an action of this thread; what it throws ends the group. Returns the group's first failure, or null. */
    private CollectiveException guarded(Runnable action) {
        try {
            action.run();
            return null;
        } catch (CollectiveException e) {
            if (e.category() == Category.PEER_LOST) {
                awaitReason();
            }
            fail(e);
        } catch (RuntimeException | Error e) {
            fail(new CollectiveException(
                    Category.ABORTED, "rank " + progress.rank() + " failed: " + e.getMessage(), e));
        }
        return progress.failure();
    }

    /** A peer that ends the group says why on its control connection, which may come after the end of its data. */
    private void awaitReason() {
        long end = System.nanoTime() + REASON_NANOS;
        while (progress.failure() == null && System.nanoTime() < end) {
            LockSupport.parkNanos(REASON_NANOS / 100);
        }
    }

    void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
            queue.add(new Task(null, null, null));
            waiter.wake();
        }
        joinThread();
        CollectiveException cause = progress.failure();
        if (cause != null) {
            // Whoever hears that this rank leaves has heard why, even if another thread is about to tell it.
            control.abort(cause.what());
        }
        control.close();
        try {
            waiter.close();
        } catch (IOException e) {
            LOG.warn("rank {} could not close its selector: {}", progress.rank(), e.toString());
        }
        progress.close();
        release.run();
    }

    private void joinThread() {
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                // The thread's own waits end at the deadline, so this one ends as well.
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
                fail(new CommunicatorAbortedException("close of rank " + progress.rank() + " was interrupted"));
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
