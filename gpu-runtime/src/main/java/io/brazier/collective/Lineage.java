package io.brazier.collective;

/**
 * Where a communicator comes from.
 *
 * @param generation attempt of the job
 * @param group null for the communicator of all ranks
 */
record Lineage(long generation, Membership group, Family family, Grouping grouping) {

    /** Adds the group's name and ranks to an error. */
    CollectiveException named(CollectiveException error) {
        return group == null ? error : error.in(group.toString());
    }

    /** Of a thread that belongs to rank. */
    String threadName(int rank) {
        return "brazier-collective-" + (group == null ? "" : group.name() + "-") + rank;
    }
}
