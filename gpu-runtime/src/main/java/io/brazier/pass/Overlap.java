package io.brazier.pass;

import io.brazier.program.Collective;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Collective.ScatterGradients;
import io.brazier.program.Elementwise;
import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Lets the collectives of sharded weights fly while the program computes (arXiv:2304.11277, sec. 3.3): a gather of weights starts
 * some gathers early and is awaited by the first reader; a scatter of gradients starts where it stands and is awaited, and added
 * to the sum of earlier micro-batches, some scatters later. So at most distance + 1 units are gathered, and as many scattered, at a
 * time. Where the collectives end up depends only on the text of the program, which all ranks share, so all start them in one order.
 */
public final class Overlap {
    private final Program program;
    private final int distance;
    private final int size;
    private final ProgramBuilder ids;
    private final Map<Value, Integer> definition = new HashMap<>();
    private final Map<Value, Integer> firstUse = new HashMap<>();
    private final Set<Instruction> moved = new HashSet<>();
    /** Waits for scatters, starts of gathers and waits for gathers, by the index of the instruction that they go before. */
    private final Map<Integer, List<Instruction>> scattered = new HashMap<>();

    private final Map<Integer, List<Instruction>> starts = new HashMap<>();
    private final Map<Integer, List<Instruction>> gathered = new HashMap<>();

    private Overlap(Program program, int distance) {
        this.program = program;
        this.distance = distance;
        this.size = program.instructions().size();
        this.ids = new ProgramBuilder("overlap", ProgramBuilder.nextId(program));
        for (int x = 0; x < size; x++) {
            Instruction i = program.instructions().get(x);
            for (Value v : i.inputs()) {
                firstUse.putIfAbsent(v, x);
            }
            for (Value v : i.outputs()) {
                definition.put(v, x);
            }
        }
    }

    /**
     * Applies the pass; inputs and outputs keep their values.
     *
     * @param distance how many gathers early, and scatters late; at least 1
     */
    public static Program apply(Program program, int distance) {
        if (distance < 1) {
            throw new IllegalArgumentException("overlap distance " + distance + " must be at least 1");
        }
        return new Overlap(program, distance).run();
    }

    private Program run() {
        List<Integer> gathers = positions(GatherWeights.class);
        for (int k = 0; k < gathers.size(); k++) {
            int at = gathers.get(k);
            Instruction i = program.instructions().get(at);
            int ready = i.inputs().stream()
                    .mapToInt(v -> definition.getOrDefault(v, -1) + 1)
                    .max()
                    .orElse(0);
            int start = Math.max(ready, k < distance ? 0 : gathers.get(k - distance));
            put(i, start, firstUse(i), gathered);
        }
        List<Integer> scatters = positions(ScatterGradients.class);
        for (int k = 0; k < scatters.size(); k++) {
            Instruction i = program.instructions().get(scatters.get(k));
            int later = k + distance < scatters.size() ? scatters.get(k + distance) : size;
            Optional<Instruction> sum = sum(i);
            put(i, scatters.get(k), sum.isPresent() ? later : Math.min(later, firstUse(i)), scattered);
            sum.ifPresent(add -> {
                scattered.get(later).add(add);
                moved.add(add);
            });
        }
        List<Instruction> instructions = new ArrayList<>();
        for (int x = 0; x <= size; x++) {
            instructions.addAll(scattered.getOrDefault(x, List.of()));
            instructions.addAll(starts.getOrDefault(x, List.of()));
            instructions.addAll(gathered.getOrDefault(x, List.of()));
            if (x < size && !moved.contains(program.instructions().get(x))) {
                instructions.add(program.instructions().get(x));
            }
        }
        return new Program(program.name(), program.inputs(), instructions, program.outputs());
    }

    /** The collectives of a type, except those that take what another brings: they stay where they are. */
    private List<Integer> positions(Class<? extends Collective> type) {
        List<Integer> result = new ArrayList<>();
        for (int x = 0; x < size; x++) {
            Instruction i = program.instructions().get(x);
            boolean waits = i.inputs().stream()
                    .filter(definition::containsKey)
                    .map(v -> program.instructions().get(definition.get(v)).op())
                    .anyMatch(op -> op instanceof GatherWeights || op instanceof ScatterGradients);
            if (type.isInstance(i.op()) && !waits) {
                result.add(x);
            }
        }
        return result;
    }

    /** The addition of what is scattered to the sum of earlier micro-batches, which nobody in the program reads: it can wait. */
    private Optional<Instruction> sum(Instruction scatter) {
        int use = firstUse(scatter);
        return program.instructions().subList(use, Math.min(use + 1, size)).stream()
                .filter(i -> i.op() instanceof Elementwise.Add && firstUse(i) == size)
                .filter(i -> i.inputs().stream().filter(definition::containsKey).count() == 1)
                .findFirst();
    }

    private int firstUse(Instruction i) {
        return i.outputs().stream()
                .mapToInt(v -> firstUse.getOrDefault(v, size))
                .min()
                .orElse(size);
    }

    private void put(Instruction i, int start, int wait, Map<Integer, List<Instruction>> waitsBefore) {
        Collective.Start begin = new Collective.Start((Collective) i.op());
        List<Value> inFlight = ids.applyAll(i.path(), begin, i.inputs().toArray(Value[]::new));
        List<Value> held = new ArrayList<>(inFlight);
        held.addAll(i.inputs());
        Collective.Wait end = new Collective.Wait(begin.group(), inFlight.size());
        starts.computeIfAbsent(start, k -> new ArrayList<>())
                .add(new Instruction(begin, i.inputs(), inFlight, i.path()));
        waitsBefore
                .computeIfAbsent(wait, k -> new ArrayList<>())
                .add(new Instruction(end, held, i.outputs(), i.path()));
        moved.add(i);
    }
}
