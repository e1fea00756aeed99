package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.collective.CommunicatorServer;
import io.brazier.collective.LocalCommunicators;
import io.brazier.collective.Transport;
import io.brazier.host.NativeLibrary;
import java.net.InetAddress;
import java.nio.file.Path;
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

    /**
     * This process's place in a group of processes; see {@link CommunicatorServer#open}.
     *
     * @param generation attempt of the job; other generations are refused
     * @param secret 32 bytes that only this job's processes know
     * @param localDirectory for shared memory where the host has no /dev/shm
     * @param bindAddress the process's own address, never a wildcard
     */
    public static CommunicatorServer open(
            long generation, byte[] secret, Path localDirectory, InetAddress bindAddress, Transport transport) {
        NativeLibrary.require();
        return CommunicatorServer.open(generation, secret, localDirectory, bindAddress, transport);
    }
}
