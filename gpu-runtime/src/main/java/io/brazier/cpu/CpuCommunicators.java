package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.collective.LocalCommunicators;
import java.time.Duration;
import java.util.List;

/** The door to the collectives over host memory: loads the native library first. */
public final class CpuCommunicators {

    private CpuCommunicators() {}

    /**
     * A group whose ranks are threads of this process, in rank order.
     *
     * @param deadline longest time that a rank waits for a peer that does not move
     */
    public static List<Communicator> local(int size, Duration deadline) {
        NativeLibrary.require();
        return LocalCommunicators.create(size, deadline);
    }
}
