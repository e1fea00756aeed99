package io.brazier.sim;

import io.brazier.sim.Task.Compute;
import io.brazier.sim.Task.Launch;
import io.brazier.sim.Task.Meeting;
import io.brazier.sim.Task.Start;
import io.brazier.sim.Task.Wait;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Plays the tasks of ranks against each other. Each rank has a compute stream and one stream for each way of communication.
 * Tasks are taken in order; a rank stands still where it waits for a communication whose other members have not arrived, and
 * goes on when they have. While a communication is in flight, compute runs slower by the share of processors that it takes.
 */
final class Clock {

    /**
     * Seconds of a stream of communication on a rank.
     *
     * @param total in which one of its calls was in flight
     * @param exposed of these, in which the rank did nothing else
     */
    record Communication(double total, double exposed) {
        Communication plus(double moreTotal, double moreExposed) {
            return new Communication(total + moreTotal, exposed + moreExposed);
        }
    }

    /**
     * A rank's step; compute, exposed communication and idle add up to it.
     *
     * @param computeSeconds in which the compute stream was busy, slowed down or not
     * @param slowdownSeconds part of these that is owed to communication in flight
     * @param idleSeconds in which the rank waited for others, at the end too
     */
    record Usage(
            double computeSeconds,
            double slowdownSeconds,
            double idleSeconds,
            Map<String, Communication> communication) {}

    /** The step as all ranks saw it. */
    record Result(double stepSeconds, List<Usage> ranks) {}

    /** The name of the compute stream. */
    static final String COMPUTE = "compute";

    private final Simulator.Listener listener;
    private final List<Rank> ranks = new ArrayList<>();
    private final Map<String, Encounter> encounters = new HashMap<>();
    private final Map<String, Double> freeLinks = new HashMap<>();

    private Clock(Simulator.Listener listener) {
        this.listener = listener;
    }

    /**
     * Runs all tasks.
     *
     * @throws IllegalArgumentException when ranks wait for each other for ever
     */
    static Result run(List<? extends Iterable<Task>> tasks, Simulator.Listener listener) {
        Clock clock = new Clock(listener);
        for (int x = 0; x < tasks.size(); x++) {
            clock.ranks.add(clock.new Rank(x, tasks.get(x).iterator()));
        }
        return clock.run();
    }

    private Result run() {
        boolean moved = true;
        while (moved) {
            moved = false;
            for (Rank rank : ranks) {
                moved |= rank.advance();
            }
        }
        List<String> stuck =
                ranks.stream().filter(r -> !r.done()).map(Rank::where).toList();
        if (!stuck.isEmpty()) {
            throw new IllegalArgumentException("the schedule never ends: " + String.join("; ", stuck));
        }
        double end = ranks.stream().mapToDouble(r -> r.now).max().orElse(0);
        return new Result(end, ranks.stream().map(r -> r.usage(end)).toList());
    }

    /** A communication; its time is known once all members are there. */
    private static final class Call {
        final Start task;
        double start = Double.NaN;
        double end = Double.NaN;

        Call(Start task) {
            this.task = task;
        }

        boolean scheduled() {
            return !Double.isNaN(end);
        }

        void schedule(double from) {
            start = from;
            end = from + task.seconds();
        }
    }

    /** Ranks that have arrived at a meeting. */
    private static final class Encounter {
        final List<Rank> members = new ArrayList<>();
        final List<Call> calls = new ArrayList<>();
        double latest;
    }

    private final class Rank {
        private final int index;
        private final Iterator<Task> tasks;
        private final Map<String, Double> freeStreams = new HashMap<>();
        private final Map<String, Call> calls = new HashMap<>();
        private final Map<String, Communication> communication = new TreeMap<>();
        private final List<Call> inFlight = new ArrayList<>();
        private Task next;
        private double now;
        private double compute;
        private double slowdown;
        private double idle;
        private String launch;
        private double launched;

        Rank(int index, Iterator<Task> tasks) {
            this.index = index;
            this.tasks = tasks;
            step();
        }

        boolean done() {
            return next == null;
        }

        String where() {
            return "stage " + index + " waits for "
                    + calls.get(((Wait) next).token()).task.name();
        }

        /** Runs until the end or until it must wait for another rank; says whether it got anywhere. */
        boolean advance() {
            boolean moved = false;
            while (next != null && run(next)) {
                step();
                moved = true;
            }
            return moved;
        }

        private void step() {
            next = tasks.hasNext() ? tasks.next() : null;
            if (next == null) {
                closeLaunch();
            }
        }

        private boolean run(Task task) {
            if (task instanceof Compute c) {
                compute(c);
            } else if (task instanceof Start s) {
                start(s);
            } else if (task instanceof Wait w) {
                return await(w);
            } else if (task instanceof Launch l) {
                closeLaunch();
                launch = l.name();
                launched = now;
            }
            return true;
        }

        private void closeLaunch() {
            if (launch != null) {
                listener.span(index, COMPUTE, launch, launched, now);
                launch = null;
            }
        }

        private void compute(Compute task) {
            double end = slowed(task.seconds());
            listener.span(index, COMPUTE, task.name(), now, end);
            compute += end - now;
            slowdown += Math.max(0, end - now - task.seconds());
            now = end;
        }

        /** When work that begins now ends, given what is in flight meanwhile. */
        private double slowed(double work) {
            inFlight.removeIf(call -> call.end <= now);
            if (inFlight.isEmpty()) {
                return now + work;
            }
            double at = now;
            double left = work;
            while (true) {
                double rate = 1;
                double change = Double.POSITIVE_INFINITY;
                for (Call call : inFlight) {
                    if (call.start <= at && at < call.end) {
                        rate = Math.min(rate, 1 - call.task.processorFraction());
                        change = Math.min(change, call.end);
                    } else if (at < call.start) {
                        change = Math.min(change, call.start);
                    }
                }
                if (at + left / rate <= change) {
                    return at + left / rate;
                }
                left -= (change - at) * rate;
                at = change;
            }
        }

        private void start(Start task) {
            Call call = new Call(task);
            if (calls.put(task.token(), call) != null) {
                throw new AssertionError("two communications in flight are named " + task.token());
            }
            if (task.meeting() == null) {
                double free = freeStreams.getOrDefault(task.stream(), 0.0);
                call.schedule(Math.max(now, free));
                freeStreams.put(task.stream(), call.end);
                note(call);
            } else {
                arrive(call);
            }
        }

        private void arrive(Call call) {
            Meeting meeting = call.task.meeting();
            Encounter e = encounters.computeIfAbsent(meeting.key(), k -> new Encounter());
            e.members.add(this);
            e.calls.add(call);
            e.latest = Math.max(e.latest, now);
            if (e.members.size() < meeting.numMembers()) {
                return;
            }
            encounters.remove(meeting.key());
            double from = Math.max(e.latest, freeLinks.getOrDefault(meeting.link(), 0.0));
            for (int x = 0; x < e.calls.size(); x++) {
                e.calls.get(x).schedule(from);
                e.members.get(x).note(e.calls.get(x));
            }
            freeLinks.put(meeting.link(), call.end);
        }

        private void note(Call call) {
            inFlight.add(call);
            Start task = call.task;
            add(task.stream(), call.end - call.start, 0);
            String row = task.meeting() == null ? task.stream() : task.meeting().link();
            listener.span(index, row, task.name(), call.start, call.end);
        }

        private boolean await(Wait task) {
            Call call = calls.get(task.token());
            if (call == null) {
                throw new AssertionError("nothing in flight is named " + task.token());
            }
            if (!call.scheduled()) {
                return false;
            }
            calls.remove(task.token());
            double exposed = Math.max(0, call.end - Math.max(now, call.start));
            idle += Math.max(0, call.start - now);
            add(call.task.stream(), 0, exposed);
            now = Math.max(now, call.end);
            return true;
        }

        private void add(String stream, double total, double exposed) {
            communication.merge(stream, new Communication(total, exposed), (a, b) -> a.plus(b.total(), b.exposed()));
        }

        Usage usage(double end) {
            return new Usage(compute, slowdown, idle + end - now, Map.copyOf(communication));
        }
    }
}
