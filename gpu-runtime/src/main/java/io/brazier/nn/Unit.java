package io.brazier.nn;

import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.List;

/**
 * Parameters that lie in one range of memory, whose gradients are reduced together and, under ZeRO, sharded together
 * (arXiv:1910.02054; "unit" as in FSDP, arXiv:2304.11277, sec. 3.2.1).
 *
 * @param name for example {@code h.3}
 * @param group ranks that hold the same part of them and see other data; may be empty
 */
public record Unit(String name, Group group, List<ParameterSpec> parameters) {
    public Unit {
        parameters = List.copyOf(parameters);
    }

    /** Types of the weights as data sees them. */
    List<TensorType> weightTypes(RankView view) {
        return parameters.stream().map(spec -> weightType(view, spec)).toList();
    }

    private TensorType weightType(RankView view, ParameterSpec spec) {
        TensorType type = spec.type(view.mesh(), view.rank());
        for (Axis axis : replicated(view, spec).axes()) {
            type = type.with(axis, Placement.R);
        }
        return type;
    }

    /** Axes on which a weight's gradient is a partial sum. */
    Group replicated(RankView view, ParameterSpec spec) {
        return spec.besideSequence() && view.splitsSequence() ? group.union(view.tensor()) : group;
    }
}
