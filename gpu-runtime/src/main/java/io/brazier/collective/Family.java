package io.brazier.collective;

import io.brazier.collective.Grouping.Formation;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** A rank's communicator and all groups made from it: when one fails, all do, and with them those of all peers. Any thread. */
final class Family {

    private final List<Worker> workers = new ArrayList<>();
    private final Set<Formation> forming = new HashSet<>();
    private CollectiveException failure;

    void add(Worker worker) {
        CollectiveException cause;
        synchronized (this) {
            workers.add(worker);
            cause = failure;
        }
        if (cause != null) {
            worker.end(cause);
        }
    }

    void begin(Formation formation) {
        boolean late;
        synchronized (this) {
            forming.add(formation);
            late = failure != null;
        }
        if (late) {
            formation.close();
        }
    }

    synchronized void formed(Formation formation) {
        forming.remove(formation);
    }

    /** Ends all; the first cause stays. */
    void fail(CollectiveException cause) {
        List<Worker> running;
        List<Formation> unfinished;
        synchronized (this) {
            if (failure != null) {
                return;
            }
            failure = cause;
            running = List.copyOf(workers);
            unfinished = List.copyOf(forming);
        }
        unfinished.forEach(Formation::close);
        running.forEach(worker -> worker.end(cause));
    }
}
