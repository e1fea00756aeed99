package io.brazier.pass;

import io.brazier.program.Attention.Heads;
import io.brazier.program.Cast;
import io.brazier.program.Collective;
import io.brazier.program.Elementwise;
import io.brazier.program.Instruction;
import io.brazier.program.Op;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Ring;
import io.brazier.program.Ring.RingAttention;
import io.brazier.program.Ring.RingAttentionGrad;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Replaces ring attention and its gradient by blocks and shifts (arXiv:2310.01889), so that each block is in flight while the one
 * before it is worked on. With N ranks and a block of 2 G K T B elements per rank:
 *
 * <ul>
 *   <li>Forward shifts N - 1 blocks of keys and values. The first travels while the rank works on its own block.
 *   <li>Backward shifts the same N - 1 again, and behind each goes the sum of the gradients that the ranks it has passed gave it:
 *       N - 1 sums, the last of which brings it home. A rank works on its own block last, meanwhile; the first block travels while
 *       the gradient of attention's output is being computed.
 * </ul>
 *
 * <p>Blocks of bf16 travel as they are; what is summed over blocks is f32, and rounded once.
 */
public final class RingExpansion {
    private static final Group CP = Group.of(Axis.CP);

    private final Program program;
    private final ProgramBuilder ids;
    private final Map<Value, Integer> definition = new HashMap<>();
    private final Map<Integer, List<Instruction>> early = new HashMap<>();
    private String path;
    private List<Instruction> instructions;

    private RingExpansion(Program program) {
        this.program = program;
        this.ids = new ProgramBuilder("ring", ProgramBuilder.nextId(program));
        for (int x = 0; x < program.instructions().size(); x++) {
            for (Value v : program.instructions().get(x).outputs()) {
                definition.put(v, x);
            }
        }
    }

    /** The same program with all ring attention expanded; inputs and outputs keep their values. */
    public static Program expand(Program program) {
        return new RingExpansion(program).run();
    }

    private Program run() {
        List<List<Instruction>> expanded = new ArrayList<>();
        for (Instruction i : program.instructions()) {
            path = i.path();
            instructions = new ArrayList<>();
            if (i.op() instanceof RingAttention op) {
                forward(op, i);
            } else if (i.op() instanceof RingAttentionGrad op) {
                backward(op, i);
            } else {
                instructions.add(i);
            }
            expanded.add(instructions);
        }
        List<Instruction> all = new ArrayList<>();
        for (int x = 0; x < expanded.size(); x++) {
            all.addAll(early.getOrDefault(x, List.of()));
            all.addAll(expanded.get(x));
        }
        return new Program(program.name(), program.inputs(), all, program.outputs());
    }

    private void forward(RingAttention op, Instruction i) {
        Heads heads = op.heads();
        Value qkv = i.inputs().get(0);
        if (op.size() == 1) {
            instructions.add(new Instruction(new Ring.OwnBlock(heads), i.inputs(), i.outputs(), path));
            return;
        }
        Value kv = emit(new Ring.PackKeyValues(heads), qkv).get(0);
        Value next = start(op.size(), kv);
        Value queries = wide(qkv);
        List<Value> results = emit(new Ring.OwnBlock(heads), queries);
        boolean rounds = !queries.equals(qkv);
        for (int step = 1; step < op.size(); step++) {
            kv = await(next, kv);
            boolean last = step == op.size() - 1;
            next = last ? null : start(op.size(), kv);
            Op block = op.block(step);
            List<Value> operands = List.of(queries, wide(kv), results.get(0), results.get(1));
            results = last && !rounds ? i.outputs() : ids.applyAll(path, block, operands.toArray(Value[]::new));
            results = last ? List.of(results.get(0), i.outputs().get(1)) : results;
            instructions.add(new Instruction(block, operands, results, path));
        }
        if (rounds) {
            round(results.get(0), i.outputs().get(0));
        }
    }

    private void backward(RingAttentionGrad op, Instruction i) {
        Heads heads = op.heads();
        if (op.size() == 1) {
            instructions.add(new Instruction(new Ring.OwnBlockGrad(heads), i.inputs(), i.outputs(), path));
            return;
        }
        Value qkv = i.inputs().get(0);
        List<Instruction> here = instructions;
        instructions = early.computeIfAbsent(earliest(i), k -> new ArrayList<>());
        Value kv = emit(new Ring.PackKeyValues(heads), qkv).get(0);
        Value next = start(op.size(), kv);
        instructions = here;
        Value[] kept = i.inputs().stream().map(this::wide).toArray(Value[]::new);
        Value dq = null;
        Value dkv = null;
        Value sum = null;
        for (int step = 1; step < op.size(); step++) {
            kv = await(next, kv);
            next = step == op.size() - 1 ? null : start(op.size(), kv);
            List<Value> operands = new ArrayList<>(List.of(kept[0], wide(kv), kept[1], kept[2], kept[3]));
            if (dq != null) {
                operands.add(dq);
            }
            List<Value> gradients = emit(op.gradient(step), operands.toArray(Value[]::new));
            dq = gradients.get(0);
            dkv = step == 1
                    ? gradients.get(1)
                    : emit(new Elementwise.Add(), await(sum, dkv), gradients.get(1))
                            .get(0);
            sum = start(op.size(), dkv);
        }
        Value own = emit(new Ring.OwnBlockGrad(heads), kept).get(0);
        List<Value> parts = List.of(own, dq, await(sum, dkv));
        if (kept[0].equals(qkv)) {
            instructions.add(new Instruction(new Ring.JoinGradients(heads), parts, i.outputs(), path));
        } else {
            Value joined = emit(new Ring.JoinGradients(heads), parts.toArray(Value[]::new))
                    .get(0);
            round(joined, i.outputs().get(0));
        }
    }

    private Value wide(Value v) {
        return v.type().dtype() == DType.F32 ? v : emit(new Cast(DType.F32), v).get(0);
    }

    private void round(Value v, Value to) {
        instructions.add(new Instruction(new Cast(to.type().dtype()), List.of(v), List.of(to), path));
    }

    /** The instruction that makes the gradient of attention's output, or the first one after the projection is there. */
    private int earliest(Instruction i) {
        int projection = definition.getOrDefault(i.inputs().get(0), -1) + 1;
        return Math.max(projection, definition.getOrDefault(i.inputs().get(3), 0));
    }

    private Value start(int size, Value block) {
        return emit(new Collective.Start(new Collective.Shift(CP, size)), block).get(0);
    }

    private Value await(Value inFlight, Value block) {
        return emit(new Collective.Wait(CP, 1), inFlight, block).get(0);
    }

    private List<Value> emit(Op op, Value... operands) {
        List<Value> outputs = ids.applyAll(path, op, operands);
        instructions.add(new Instruction(op, Arrays.asList(operands), outputs, path));
        return outputs;
    }
}
