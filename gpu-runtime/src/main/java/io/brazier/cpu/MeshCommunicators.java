package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.plan.RankPlan;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/** The communicators of a rank, one for each group that its plan names, so that no exchange waits for one of another axis. */
final class MeshCommunicators {
    private final Communicator world;
    private final Map<Group, Communicator> byGroup = new HashMap<>();

    /** @param world all ranks of the mesh; not closed here */
    MeshCommunicators(Communicator world) {
        this.world = world;
    }

    /** Connects the groups of a plan. Collective: groups are made in the order of their names, equal on all members. */
    void connect(RankPlan plan) {
        Map<String, Group> names = new TreeMap<>();
        plan.groups().forEach(group -> names.put(group.toString(), group));
        if (plan.mesh().size(Axis.PP) > 1) {
            names.put(Axis.PP.toString(), Group.of(Axis.PP));
        }
        names.forEach((name, group) -> byGroup.put(group, connect(plan, name, group)));
    }

    private Communicator connect(RankPlan plan, String name, Group group) {
        int[] members = plan.mesh().members(plan.rank(), group).stream()
                .mapToInt(Integer::intValue)
                .toArray();
        return members.length == world.size() ? world : world.group(name, members);
    }

    Communicator of(Group group) {
        return byGroup.get(group);
    }
}
