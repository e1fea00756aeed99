package io.brazier.collective;

/** How a group hears of failures and of ranks that leave. Any thread. */
interface Control {

    /** Tells all peers that the group has failed. */
    void abort(String reason);

    /** Tells all peers that this rank leaves in order, then hears no more. */
    void close();
}
