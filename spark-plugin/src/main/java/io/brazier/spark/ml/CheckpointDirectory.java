package io.brazier.spark.ml;

import io.brazier.checkpoint.CheckpointStore;
import io.brazier.spark.data.HadoopStorage;
import java.io.IOException;
import java.io.Serializable;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.util.SerializableConfiguration;

/** Where the checkpoints of a run are; travels to the executors. */
final class CheckpointDirectory implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String path;
    private final SerializableConfiguration configuration;

    CheckpointDirectory(String path, Configuration configuration) {
        this.path = path;
        this.configuration = new SerializableConfiguration(configuration);
    }

    CheckpointStore open() {
        return new CheckpointStore(new HadoopStorage(configuration.value()), path);
    }

    /**
     * The number of the next attempt, larger than that of any attempt of this or an earlier driver, all of which are fenced off.
     *
     * @throws IllegalArgumentException when the directory cannot be written
     */
    long nextGeneration() {
        try {
            CheckpointStore store = open();
            int generation = store.generation() + 1;
            store.fence(generation);
            return generation;
        } catch (IOException e) {
            throw new IllegalArgumentException("checkpointDir " + path + " cannot be used: " + e.getMessage(), e);
        }
    }

    /**
     * Refuses a directory whose checkpoints would be mistaken for those of a run that does not go on from the newest of them.
     *
     * @param resume never, or the path of a checkpoint
     */
    void refuseOthers(String resume) {
        CheckpointStore store = open();
        List<String> others = store.steps().stream()
                .map(store::path)
                .filter(checkpoint -> !checkpoint.equals(resume))
                .collect(Collectors.toList());
        if (!others.isEmpty()) {
            throw new IllegalArgumentException("checkpointDir holds " + others + " of another run, but resume is "
                    + resume + ": remove them, choose another checkpointDir, or set resume to auto");
        }
    }
}
