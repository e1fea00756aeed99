package io.brazier.plan;

import io.brazier.tensor.TensorType;
import java.util.LinkedHashMap;
import java.util.Map;

/** Places of small values that the host reads and writes, by name. */
final class NamedInputs {
    private final MemoryPlanner memory;
    private final Map<String, Slice> slices = new LinkedHashMap<>();

    NamedInputs(MemoryPlanner memory) {
        this.memory = memory;
    }

    Slice reserve(String name, TensorType type) {
        return slices.computeIfAbsent(name, n -> memory.reserve(Region.INPUTS, type.bytes()));
    }

    Map<String, Slice> all() {
        return Map.copyOf(slices);
    }

    /** The place of a name, or null when nobody reserved it. */
    Slice get(String name) {
        return slices.get(name);
    }
}
