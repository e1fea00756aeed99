package io.brazier.collective;

/** A collective call that runs. */
public interface Work {

    /**
     * Waits until the call is done.
     *
     * @throws CollectiveException when it failed; when a peer did not move for the communicator's deadline, the message names
     *     call, sequence, rank and peer
     */
    void await();

    /** Whether {@link #await} would return, or throw, at once. */
    boolean isDone();
}
