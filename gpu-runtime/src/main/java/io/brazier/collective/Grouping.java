package io.brazier.collective;

import java.util.List;

/** How a communicator's ranks meet again in a group. */
interface Grouping {

    /** Takes a place in a group of at least two ranks. */
    Formation begin(Membership group);

    /** A rank's place in a group that forms. */
    interface Formation extends AutoCloseable {

        /** What the other members must know of this one. */
        String endpoint();

        /**
         * Meets the others.
         *
         * @param rank of this member in the group
         * @param endpoints of all members
         */
        LinkCommunicator connect(int rank, List<String> endpoints);

        /** Gives up a group that has not formed. Any thread. */
        @Override
        void close();
    }
}
