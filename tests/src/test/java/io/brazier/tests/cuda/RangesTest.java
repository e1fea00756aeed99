package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.plan.RankPlan;
import io.brazier.plan.TrainingPlan;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What a profiler sees of modules: it tells the process in its environment that it listens. */
@Tag("cuda")
class RangesTest {
    private static final RankPlan PLAN =
            TrainingPlan.make(RangesProbe.SPEC.request(0), i -> 0).plan();

    private static final List<String> SEGMENTS = PLAN.schedule().stream()
            .map(step -> ((RankPlan.Launch) step).segment())
            .toList();

    @Test
    void withoutAProfilerThereAreNone() throws IOException, InterruptedException {
        assertEquals(List.of("step ", "step "), probe(Map.of(), Mode.EAGER));
    }

    @Test
    void launchesOneByOneStandInTheRangesOfTheirModules() throws IOException, InterruptedException {
        List<String> steps = probe(profiler(), Mode.EAGER);
        assertEquals(2, steps.size(), steps::toString);
        steps.forEach(step -> assertModules(seen(step)));
    }

    @Test
    void graphsStandInTheRangesOfTheirSegments() throws IOException, InterruptedException {
        List<String> steps = probe(profiler(), Mode.GRAPH);
        assertEquals(2, steps.size(), steps::toString);
        assertModules(seen(steps.get(0)));
        List<List<String>> launched = SEGMENTS.stream().map(List::of).toList();
        assertEquals(launched, seen(steps.get(1)));
    }

    private static Map<String, String> profiler() {
        return Map.of("NVTX_INJECTION64_PATH", "profiler.so");
    }

    private static List<String> probe(Map<String, String> environment, Mode mode)
            throws IOException, InterruptedException {
        GpuProcess process = GpuProcess.java(environment, RangesProbe.class, mode.name());
        assertEquals(0, process.status(), process::toString);
        return process.lines();
    }

    /** What was open whenever a range was opened, from the outermost. */
    private static List<List<String>> seen(String step) {
        Deque<String> open = new ArrayDeque<>();
        List<List<String>> seen = new ArrayList<>();
        for (String event : step.substring("step ".length()).split(" (?=[+-])")) {
            if (event.equals("-")) {
                open.removeLast();
            } else {
                open.addLast(event.substring(1));
                seen.add(List.copyOf(open));
            }
        }
        assertEquals(List.of(), List.copyOf(open), "ranges that nobody closed");
        return seen;
    }

    /** Segments in their order; in each its modules, every one inside the module around it. */
    private static void assertModules(List<List<String>> seen) {
        Set<String> modules = new HashSet<>();
        List<String> segments = new ArrayList<>();
        for (List<String> open : seen) {
            int depth = open.size();
            String name = open.get(depth - 1);
            if (depth == 1) {
                segments.add(name);
            } else {
                modules.add(name);
                String around = name.contains(".") ? name.substring(0, name.lastIndexOf('.')) : open.get(0);
                assertEquals(around, open.get(depth - 2), open::toString);
            }
        }
        assertEquals(SEGMENTS, segments);
        Set<String> paths = new HashSet<>();
        for (String segment : SEGMENTS) {
            PLAN.segments().get(segment).program().instructions().forEach(i -> paths.add(i.path()));
        }
        Set<String> missing = new HashSet<>(paths);
        missing.removeAll(modules);
        assertEquals(Set.of(), missing);
        modules.forEach(module -> assertTrue(
                paths.stream().anyMatch(path -> path.equals(module) || path.startsWith(module + ".")), module));
    }
}
