package io.brazier.pass;

import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Group;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reduces gradients in buckets while backward still runs: the all-reduce of a bucket starts right after the instruction that
 * completes it, and all are awaited at the end (arXiv:2006.15704, sec. 3.2). It is the dual of Replicate, moved past the sum over
 * micro-batches, which it commutes with.
 */
public final class Bucket {

    /** The overlapped program, and the reduced value of each gradient. */
    public record Result(Program program, Map<Value, Value> reduced) {}

    private Bucket() {}

    /**
     * Adds the all-reduces.
     *
     * @param backward program whose outputs are the gradients, P on the group
     * @param buckets gradients of one bucket each, in the order of their addresses
     */
    public static Result overlap(Program backward, List<List<Value>> buckets, Group group) {
        ProgramBuilder ids = new ProgramBuilder("bucket", ProgramBuilder.nextId(backward));
        Map<Integer, List<List<Value>>> complete = completion(backward, buckets);
        List<Instruction> instructions = new ArrayList<>();
        List<Instruction> waits = new ArrayList<>();
        Map<Value, Value> reduced = new HashMap<>();
        for (int x = 0; x < backward.instructions().size(); x++) {
            instructions.add(backward.instructions().get(x));
            for (List<Value> bucket : complete.getOrDefault(x, List.of())) {
                Value[] gradients = bucket.toArray(Value[]::new);
                Collective start = new Collective.Start(new Collective.AllReduce(group, bucket.size()));
                List<Value> inFlight = ids.applyAll("bucket", start, gradients);
                instructions.add(new Instruction(start, bucket, inFlight, "bucket"));
                Collective wait = new Collective.Wait(group, bucket.size());
                List<Value> held = new ArrayList<>(inFlight);
                held.addAll(bucket);
                List<Value> done = ids.applyAll("bucket", wait, held.toArray(Value[]::new));
                waits.add(new Instruction(wait, held, done, "bucket"));
                for (int g = 0; g < gradients.length; g++) {
                    reduced.put(gradients[g], done.get(g));
                }
            }
        }
        instructions.addAll(waits);
        List<Value> outputs =
                backward.outputs().stream().map(v -> reduced.getOrDefault(v, v)).toList();
        return new Result(new Program(backward.name() + ".reduce", backward.inputs(), instructions, outputs), reduced);
    }

    /** For each instruction the buckets that it completes. */
    private static Map<Integer, List<List<Value>>> completion(Program backward, List<List<Value>> buckets) {
        Map<Value, Integer> definition = new HashMap<>();
        for (int x = 0; x < backward.instructions().size(); x++) {
            for (Value v : backward.instructions().get(x).outputs()) {
                definition.put(v, x);
            }
        }
        Map<Integer, List<List<Value>>> complete = new HashMap<>();
        for (List<Value> bucket : buckets) {
            int last = bucket.stream().mapToInt(definition::get).max().orElseThrow();
            complete.computeIfAbsent(last, k -> new ArrayList<>()).add(bucket);
        }
        return complete;
    }
}
