package io.brazier.spark.barrier;

import io.brazier.collective.Communicator;
import io.brazier.train.TrainingListener;
import java.io.IOException;
import java.nio.file.Path;

/** A task of a barrier job, seen by the work it does. */
public interface RankContext {

    /** Attempt of the job; larger than that of every earlier attempt. */
    long generation();

    int partition();

    /** CPUs of this task. */
    int numThreads();

    /** A directory on this machine's disk, for this user only, which is deleted with the task. */
    Path localDirectory();

    /**
     * Waits until all tasks are here and connects them, those of a {@link BarrierStage} by replica; the task closes what it returns. Every task calls it once. Ranks are ordered by
     * host, device and executor, and so differ from partitions.
     */
    Communicator join();

    /** Takes rank 0's progress to the driver; that of other ranks is only remembered, for error messages. */
    TrainingListener progress();

    /** Tells the driver what this rank computes on, and what that could compute at best. */
    void reportDevice(String description, double peakFlops);

    /** Copies a file into the directory that the driver keeps for the result. */
    void sendFile(Path file) throws IOException;
}
