package io.brazier.plan;

import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Op.Alias;
import io.brazier.program.Program;
import io.brazier.program.Value;
import io.brazier.tensor.Flat;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.ToLongFunction;

/**
 * Gives every value of a rank's programs an address. Long-lived memory is reserved by name; what lives inside one program shares
 * the scratch region by liveness, first fit. Outputs take over the memory of inputs that die where the op allows it.
 */
final class MemoryPlanner {
    private final ToLongFunction<Instruction> workspaceBytes;
    private final Map<Region, Long> sizes = new EnumMap<>(Region.class);

    MemoryPlanner(ToLongFunction<Instruction> workspaceBytes) {
        this.workspaceBytes = workspaceBytes;
    }

    /** Bytes of each region so far. */
    Map<Region, Long> sizes() {
        return sizes;
    }

    /** Takes bytes at the end of a region. */
    Slice reserve(Region region, long bytes) {
        long offset = sizes.getOrDefault(region, 0L);
        sizes.put(region, offset + Slice.align(bytes));
        return new Slice(region, offset, bytes);
    }

    /**
     * Places a program.
     *
     * @param bound places of all its inputs, and of those outputs whose place is given
     */
    Segment place(Program program, Map<Value, Slice> bound) {
        return place(program, bound, Region.SCRATCH);
    }

    /** Places a program whose temporaries may use a region that is otherwise empty while it runs. */
    Segment place(Program program, Map<Value, Slice> bound, Region temporaries) {
        return new Placer(program, bound, temporaries).run();
    }

    private final class Placer {
        private final Program program;
        private final Map<Value, Slice> slices;
        private final Set<Value> bound;
        private final Map<Value, Integer> lastUse = new HashMap<>();
        private final Map<Value, Integer> definitions = new HashMap<>();
        private final Map<Slice, Set<Value>> holders = new HashMap<>();
        private final Map<Value, Block> blocks = new HashMap<>();
        private final Map<Slice, Block> blockOf = new HashMap<>();
        private final Map<Value, Slice> inFlight = new HashMap<>();
        private final FreeList free;

        Placer(Program program, Map<Value, Slice> bound, Region temporaries) {
            this.program = program;
            this.free = new FreeList(temporaries);
            this.slices = new HashMap<>(bound);
            this.bound = Set.copyOf(bound.keySet());
            for (int x = 0; x < program.instructions().size(); x++) {
                Instruction i = program.instructions().get(x);
                for (Value v : i.inputs()) {
                    lastUse.put(v, x);
                }
                for (Value v : i.outputs()) {
                    definitions.put(v, x);
                    lastUse.putIfAbsent(v, x);
                }
            }
            program.outputs().forEach(v -> lastUse.put(v, Integer.MAX_VALUE));
            for (Instruction i : program.instructions()) {
                List<Value> members =
                        switch (i.op().neighbours()) {
                            case NONE -> List.of();
                            case INPUTS -> i.inputs();
                            case OUTPUTS -> i.outputs();
                        };
                if (members.stream().noneMatch(bound::containsKey)) {
                    Block block = new Block(members);
                    for (Value v : members) {
                        blocks.put(v, block);
                        builtUpFrom(v).forEach(u -> blocks.put(u, block));
                    }
                }
            }
        }

        private Instruction definition(Value v) {
            Integer at = definitions.get(v);
            return at == null ? null : program.instructions().get(at);
        }

        /** Values that a value is built up from in place. */
        private List<Value> builtUpFrom(Value v) {
            List<Value> chain = new ArrayList<>();
            Value u = v;
            while (u != null) {
                Value last = u;
                Instruction i = definition(last);
                u = i == null
                        ? null
                        : i.op().aliases().stream()
                                .filter(a -> a.need() == Alias.Need.REQUIRED
                                        && i.outputs().get(a.output()).equals(last))
                                .map(a -> i.inputs().get(a.input()))
                                .findFirst()
                                .orElse(null);
                if (u != null) {
                    chain.add(u);
                }
            }
            return chain;
        }

        /** Values that lie side by side, taken and given back together. */
        private final class Block {
            private final List<Value> members;
            private Slice slice;
            private int living;

            Block(List<Value> members) {
                this.members = members;
                this.living = members.size();
            }

            void take() {
                Flat flat = Flat.of(members.stream().map(v -> v.type().shape()).toList(), blockRanks());
                int width = members.get(0).type().dtype().bytes();
                slice = free.take(flat.numElements() * width);
                for (int x = 0; x < members.size(); x++) {
                    Value v = members.get(x);
                    long offset = slice.offset() + flat.offsets().get(x) * width;
                    Slice place = new Slice(slice.region(), offset, v.type().bytes());
                    slices.put(v, place);
                    blockOf.put(place, this);
                    builtUpFrom(v).forEach(u -> slices.put(u, place));
                }
            }

            private int blockRanks() {
                return program.instructions().stream()
                        .filter(i -> i.inputs().equals(members) || i.outputs().equals(members))
                        .mapToInt(i -> Collective.shards(i.op()))
                        .max()
                        .orElseThrow();
            }

            void release() {
                living--;
                if (living == 0) {
                    free.give(slice);
                }
            }
        }

        Segment run() {
            for (Value v : program.inputs()) {
                if (!slices.containsKey(v)) {
                    throw new AssertionError("input " + v + " of " + program.name() + " has no place");
                }
            }
            for (Instruction i : program.instructions()) {
                i.outputs().stream().filter(bound::contains).forEach(this::carryBack);
            }
            List<Optional<Slice>> workspaces = new ArrayList<>();
            for (int x = 0; x < program.instructions().size(); x++) {
                workspaces.add(step(program.instructions().get(x), x));
            }
            sizes.merge(free.region(), free.peak(), Math::max);
            return new Segment(program, slices, workspaces, 1, 0);
        }

        /** Gives the place of a bound value to the values it is built up from in place. */
        private void carryBack(Value v) {
            Instruction i = definition(v);
            int at = definitions.get(v);
            Slice place = slices.get(v);
            List<Value> sources = i.op().aliases().stream()
                    .filter(a -> i.outputs().get(a.output()).equals(v))
                    .filter(a -> a.need() == Alias.Need.REQUIRED || dies(i, a, at))
                    .map(a -> i.inputs().get(a.input()))
                    .toList();
            if (sources.stream().anyMatch(u -> place.equals(slices.get(u)))) {
                return;
            }
            for (Value u : sources) {
                if (!slices.containsKey(u) && u.type().bytes() == v.type().bytes()) {
                    slices.put(u, place);
                    carryBack(u);
                    return;
                }
            }
        }

        private boolean dies(Instruction i, Alias alias, int at) {
            Value u = i.inputs().get(alias.input());
            long uses = i.inputs().stream().filter(u::equals).count();
            return lastUse.get(u) == at && uses == 1;
        }

        private Optional<Slice> step(Instruction i, int at) {
            for (int x = 0; x < i.outputs().size(); x++) {
                Value v = i.outputs().get(x);
                if (!slices.containsKey(v)) {
                    if (blocks.containsKey(v)) {
                        blocks.get(v).take();
                    } else {
                        slices.put(v, choose(i, x, at));
                    }
                } else {
                    checkRequired(i, x);
                }
                holders.computeIfAbsent(slices.get(v), k -> new HashSet<>()).add(v);
            }
            long bytes = workspaceBytes.applyAsLong(i);
            Optional<Slice> workspace = bytes == 0 ? Optional.empty() : Optional.of(free.take(bytes));
            if (i.op() instanceof Collective.Start && workspace.isPresent()) {
                inFlight.put(i.outputs().get(0), workspace.get());
            } else {
                workspace.ifPresent(free::give);
            }
            if (i.op() instanceof Collective.Wait
                    && inFlight.containsKey(i.inputs().get(0))) {
                free.give(inFlight.remove(i.inputs().get(0)));
            }
            Set<Value> touched = new HashSet<>(i.inputs());
            touched.addAll(i.outputs());
            for (Value v : touched) {
                if (lastUse.get(v) == at) {
                    release(v);
                }
            }
            return workspace;
        }

        private Slice choose(Instruction i, int output, int at) {
            Value v = i.outputs().get(output);
            for (Alias alias : i.op().aliases()) {
                if (alias.output() != output) {
                    continue;
                }
                Slice place = slices.get(i.inputs().get(alias.input()));
                boolean reusable = place.region() == free.region() || place.region() == Region.STASH;
                boolean fits = place.bytes() == v.type().bytes();
                if (alias.need() == Alias.Need.REQUIRED || reusable && fits && dies(i, alias, at) && alone(i, alias)) {
                    return place;
                }
            }
            return free.take(v.type().bytes());
        }

        /** Whether the input is the only living value at its place. */
        private boolean alone(Instruction i, Alias alias) {
            Value u = i.inputs().get(alias.input());
            return holders.getOrDefault(slices.get(u), Set.of()).stream().allMatch(u::equals);
        }

        private void checkRequired(Instruction i, int output) {
            for (Alias alias : i.op().aliases()) {
                Value u = i.inputs().get(alias.input());
                if (alias.output() == output
                        && alias.need() == Alias.Need.REQUIRED
                        && !slices.get(u).equals(slices.get(i.outputs().get(output)))) {
                    throw new AssertionError(i + " must be in place, but " + u + " lies at " + slices.get(u));
                }
            }
        }

        private void release(Value v) {
            Slice place = slices.get(v);
            Set<Value> living = holders.get(place);
            if (living == null || !living.remove(v) || !living.isEmpty() || place.region() != free.region()) {
                return;
            }
            Block block = blockOf.remove(place);
            if (block == null) {
                free.give(place);
            } else {
                block.release();
            }
        }
    }
}
