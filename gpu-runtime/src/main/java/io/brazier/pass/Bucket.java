package io.brazier.pass;

import io.brazier.program.Collective;
import io.brazier.program.Collective.AllReduce;
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
 * Reduces gradients in buckets while backward still runs: the collective of a bucket starts right after the instruction that
 * completes it (arXiv:2006.15704, sec. 3.2). All-reduces, which are in place, are awaited at the end; {@link Overlap} says when
 * scatters are. A reduction is the dual of Replicate, moved past the sum over micro-batches, which it commutes with.
 */
public final class Bucket {

    /**
     * Gradients that are reduced together.
     *
     * @param gradients outputs of backward, P on the collective's group, in the order of their addresses
     * @param collective an {@link AllReduce} or a {@link ScatterGradients} of them
     * @param sum earlier sum that a scattered shard is added to, a new input of the program
     */
    public record Reduction(List<Value> gradients, Collective collective, Optional<Value> sum) {}

    /** The overlapped program, and the results of each reduction: the reduced gradients, or one flat shard. */
    public record Result(Program program, List<List<Value>> reduced) {}

    private Bucket() {}

    /** Adds the reductions. */
    public static Result overlap(Program backward, List<Reduction> reductions) {
        ProgramBuilder ids = new ProgramBuilder("bucket", firstId(backward, reductions));
        Map<Integer, List<Integer>> complete = completion(backward, reductions);
        List<Instruction> instructions = new ArrayList<>();
        List<Instruction> waits = new ArrayList<>();
        List<List<Value>> reduced = new ArrayList<>();
        reductions.forEach(r -> reduced.add(List.of()));
        for (int x = -1; x < backward.instructions().size(); x++) {
            if (x >= 0) {
                instructions.add(backward.instructions().get(x));
            }
            for (int r : complete.getOrDefault(x, List.of())) {
                Reduction reduction = reductions.get(r);
                List<Value> done;
                if (reduction.collective() instanceof ScatterGradients) {
                    done = apply(ids, instructions, reduction.collective(), reduction.gradients());
                } else {
                    Collective start = new Collective.Start(reduction.collective());
                    List<Value> inFlight = apply(ids, instructions, start, reduction.gradients());
                    List<Value> held = new ArrayList<>(inFlight);
                    held.addAll(reduction.gradients());
                    done = apply(ids, waits, new Collective.Wait(start.group(), inFlight.size()), held);
                }
                if (reduction.sum().isPresent()) {
                    List<Value> both = List.of(reduction.sum().get(), done.get(0));
                    done = apply(ids, waits, new Elementwise.Add(), both);
                }
                reduced.set(r, done);
            }
        }
        instructions.addAll(waits);
        List<Value> inputs = new ArrayList<>(backward.inputs());
        reductions.forEach(r -> r.sum().ifPresent(inputs::add));
        Set<Value> replaced = new HashSet<>();
        reductions.forEach(r -> replaced.addAll(r.gradients()));
        List<Value> outputs = new ArrayList<>(
                backward.outputs().stream().filter(v -> !replaced.contains(v)).toList());
        reduced.forEach(outputs::addAll);
        return new Result(new Program(backward.name(), inputs, instructions, outputs), reduced);
    }

    private static int firstId(Program backward, List<Reduction> reductions) {
        int first = ProgramBuilder.nextId(backward);
        for (Reduction r : reductions) {
            first = Math.max(first, r.sum().map(v -> v.id() + 1).orElse(0));
        }
        return first;
    }

    private static List<Value> apply(
            ProgramBuilder ids, List<Instruction> into, io.brazier.program.Op op, List<Value> in) {
        List<Value> out = ids.applyAll("bucket", op, in.toArray(Value[]::new));
        into.add(new Instruction(op, in, out, "bucket"));
        return out;
    }

    /** For each instruction the reductions whose gradients it completes; -1 stands for the program's inputs. */
    private static Map<Integer, List<Integer>> completion(Program backward, List<Reduction> reductions) {
        Map<Value, Integer> definition = new HashMap<>();
        for (int x = 0; x < backward.instructions().size(); x++) {
            for (Value v : backward.instructions().get(x).outputs()) {
                definition.put(v, x);
            }
        }
        Map<Integer, List<Integer>> complete = new HashMap<>();
        for (int r = 0; r < reductions.size(); r++) {
            int last = reductions.get(r).gradients().stream()
                    .mapToInt(v -> definition.getOrDefault(v, -1))
                    .max()
                    .orElseThrow();
            complete.computeIfAbsent(last, k -> new ArrayList<>()).add(r);
        }
        return complete;
    }
}
