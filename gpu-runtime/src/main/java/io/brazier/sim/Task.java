package io.brazier.sim;

/** What a rank does, in the order in which it does it. */
sealed interface Task {

    /** Occupies the compute stream. */
    record Compute(String name, double seconds) implements Task {}

    /**
     * Begins a communication that then runs on a stream of its own, behind what the stream already holds.
     *
     * @param token by which {@link Wait} names it; unique among those in flight
     * @param stream communications of one stream follow each other
     * @param processorFraction share of the processors that it takes from compute while it is in flight
     * @param meeting the other simulated ranks that must arrive, or null where the members of the group are replicas of this rank
     */
    record Start(String token, String name, String stream, double seconds, double processorFraction, Meeting meeting)
            implements Task {}

    /**
     * Simulated ranks that begin together, when the last of them is there.
     *
     * @param key equal on all members and on no other meeting of the step
     * @param link that meetings hold one after the other
     */
    record Meeting(String key, String link, int numMembers) {}

    /** Goes on when a communication is done. */
    record Wait(String token) implements Task {}

    /** What follows belongs to this launch; for traces alone. */
    record Launch(String name) implements Task {}
}
