package io.brazier.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Checkpoint;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.CheckpointStore;
import io.brazier.checkpoint.CheckpointStore.Source;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.SafetensorsWriter;
import io.brazier.checkpoint.ShardRecord;
import io.brazier.checkpoint.Slice;
import io.brazier.collective.Communicator;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.train.Trainer.Progress;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingListener.Phase;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Saves and restores a run. Ranks hold equal states, so each writes an equal part of it and reads all. */
final class TrainingCheckpoints {
    private static final int CHUNK = 1 << 18;

    /** Checkpoints that are kept; the one before the newest is for the case that the newest is damaged. */
    private static final int KEPT = 2;

    private static final String BEST = "best/";
    private static final Map<State, String> ARRAYS =
            new TreeMap<>(Map.of(State.WEIGHT, "weight/", State.FIRST_MOMENT, "m/", State.SECOND_MOMENT, "v/"));

    private final Trainer.Run run;
    private final CheckpointStore store;
    private final Optional<WeightsCopy> best;
    private final Communicator communicator;

    TrainingCheckpoints(Trainer.Run run, CheckpointStore store, Optional<WeightsCopy> best) {
        this.run = run;
        this.store = store;
        this.best = best;
        this.communicator = run.communicator();
    }

    /** An array of the state, with its length and its ways in and out. */
    private record StateArray(
            String name, long count, SafetensorsWriter.Elements read, SafetensorsWriter.Elements write) {}

    private List<StateArray> arrays(Progress progress) {
        TrainingEngine engine = run.engine();
        List<StateArray> arrays = new ArrayList<>();
        for (Parameter p : engine.parameters()) {
            ARRAYS.forEach((state, prefix) -> arrays.add(new StateArray(
                    prefix + p.name(),
                    p.numElements(),
                    (offset, target) -> engine.read(p, state, offset, target),
                    (offset, source) -> engine.write(p, state, offset, source))));
            if (best.isPresent() && progress.bestStep > 0) {
                WeightsCopy copy = best.get();
                arrays.add(new StateArray(
                        BEST + p.name(),
                        p.numElements(),
                        (offset, target) -> target.put(copy.window(p, offset, target.remaining())),
                        (offset, source) ->
                                copy.window(p, offset, source.remaining()).put(source)));
            }
        }
        return arrays;
    }

    /** Takes up the state that the run asks for; all ranks the same one. */
    void resume(Progress progress) {
        if (run.resume() instanceof Resume.Never) {
            return;
        }
        byte[] mine = new byte[0];
        if (communicator.rank() == 0) {
            mine = choose().orElse("").getBytes(StandardCharsets.UTF_8);
        }
        String path = new String(communicator.allGatherBytes(mine)[0], StandardCharsets.UTF_8);
        if (!path.isEmpty()) {
            load(path, progress);
        }
    }

    private Optional<String> choose() {
        if (run.resume() instanceof Resume.From from) {
            return Optional.of(from.path());
        }
        try {
            return store.latest(run.listener()::onWarning).map(Checkpoint::path);
        } catch (CheckpointException e) {
            throw new TrainingException(Category.CHECKPOINT, e.getMessage() + ": check checkpointDir", e);
        }
    }

    private void load(String path, Progress progress) {
        try {
            Checkpoint checkpoint = store.open(path);
            JsonNode state = checkpoint.state();
            checkSettings(path, state.path("settings"));
            progress.step = checkpoint.step();
            progress.bestStep = state.path("bestStep").asLong();
            progress.bestLoss =
                    Double.longBitsToDouble(state.path("bestLossBits").asLong());
            progress.evaluationsSinceBest = state.path("evaluationsSinceBest").asInt();
            FloatBuffer chunk = FloatBuffer.allocate(CHUNK);
            for (StateArray array : arrays(progress)) {
                for (long offset = 0; offset < array.count(); offset += CHUNK) {
                    chunk.clear().limit((int) Math.min(CHUNK, array.count() - offset));
                    checkpoint.read(array.name(), offset, chunk);
                    array.write().read(offset, chunk.flip());
                }
            }
        } catch (CheckpointException e) {
            throw new TrainingException(
                    Category.CHECKPOINT, e.getMessage() + ": set resume to auto or to another checkpoint", e);
        }
    }

    private void checkSettings(String path, JsonNode theirs) {
        // Through text, as theirs went: trees tell a long from an int.
        JsonNode ours = Json.parse("settings", Json.bytes(settings()));
        List<String> differences = new ArrayList<>();
        ours.fieldNames().forEachRemaining(name -> {
            if (!ours.get(name).equals(theirs.get(name))) {
                differences.add(name + " " + theirs.path(name) + " there and " + ours.get(name) + " here");
            }
        });
        if (!differences.isEmpty()) {
            throw new TrainingException(
                    Category.CHECKPOINT,
                    path + " is of a run with other settings, " + String.join(", ", differences)
                            + ": restore the settings, give another checkpointDir, or set resume to never");
        }
    }

    /** What must agree between the run that saved and the one that goes on, for it to learn the same. */
    private ObjectNode settings() {
        ObjectNode node = Json.mapper().createObjectNode();
        TrainingConfig c = run.config();
        node.put("model", run.model().toString());
        node.put("batchSize", c.batchSize()).put("sequenceLength", c.sequenceLength());
        node.put("numSteps", c.numSteps()).put("seed", c.seed()).put("dropout", c.dropout());
        node.put("optimizer", c.spec(run.model(), run.layout()).optimizer().toString());
        node.put("learningRate", c.learningRate()).put("minLearningRate", c.minLearningRate());
        node.put("warmupSteps", c.warmupSteps());
        node.put("trainingSamples", run.batches().numTrainingSamples());
        node.put("textFingerprint", Long.toHexString(run.batches().fingerprint()));
        node.put("keepsBestWeights", best.isPresent());
        return node;
    }

    /** Saves; a failure is a warning on all ranks and the run goes on. */
    void save(Progress progress) {
        long step = progress.step;
        run.listener().onPhase(step, Phase.CHECKPOINT_WRITE);
        ObjectNode mine;
        try {
            mine = store.writeShard(step, run.generation(), communicator.rank(), communicator.size(), sources(progress))
                    .toJson();
        } catch (IOException | CheckpointException e) {
            mine = failure(e);
        }
        byte[][] all = communicator.allGatherBytes(Json.bytes(mine));
        run.listener().onPhase(step, Phase.CHECKPOINT_COMMIT);
        ObjectNode outcome = Json.mapper().createObjectNode();
        if (communicator.rank() == 0) {
            outcome = commit(progress, all);
        }
        JsonNode agreed = Json.parse("outcome", communicator.allGatherBytes(Json.bytes(outcome))[0]);
        if (agreed.has("failure")) {
            run.listener()
                    .onWarning("step " + step + " was not saved, training goes on: "
                            + agreed.get("failure").asText());
        } else {
            run.listener().onCheckpoint(step, agreed.path("path").asText());
        }
    }

    private static ObjectNode failure(Exception e) {
        return Json.mapper().createObjectNode().put("failure", e.toString());
    }

    private ObjectNode commit(Progress progress, byte[][] parts) {
        try {
            List<ShardRecord> shards = new ArrayList<>();
            for (int r = 0; r < parts.length; r++) {
                JsonNode part = Json.parse("shard of rank " + r, parts[r]);
                if (part.has("failure")) {
                    throw new IOException(
                            "rank " + r + ": " + part.get("failure").asText());
                }
                shards.add(ShardRecord.fromJson("shard of rank " + r, part));
            }
            ObjectNode state = Json.mapper().createObjectNode();
            state.set("settings", settings());
            state.put("bestStep", progress.bestStep)
                    .put("bestLossBits", Double.doubleToRawLongBits(progress.bestLoss))
                    .put("evaluationsSinceBest", progress.evaluationsSinceBest);
            String path = store.commit(progress.step, run.generation(), shards, state);
            removeOld();
            return Json.mapper().createObjectNode().put("path", path);
        } catch (IOException | CheckpointException e) {
            try {
                store.discard(progress.step, run.generation());
            } catch (IOException cleanup) {
                e.addSuppressed(cleanup);
            }
            return failure(e);
        }
    }

    private void removeOld() {
        try {
            store.keepLast(KEPT);
        } catch (IOException | CheckpointException e) {
            run.listener().onWarning("checkpoints that are no longer needed were not removed: " + e);
        }
    }

    /** This rank's part: an equal share of all elements, cut wherever it falls. */
    private List<Source> sources(Progress progress) {
        List<StateArray> arrays = arrays(progress);
        long total = arrays.stream().mapToLong(StateArray::count).sum();
        long from = total * communicator.rank() / communicator.size();
        long to = total * (communicator.rank() + 1) / communicator.size();
        List<Source> sources = new ArrayList<>();
        long first = 0;
        for (StateArray array : arrays) {
            long begin = Math.max(from, first);
            long end = Math.min(to, first + array.count());
            if (begin < end) {
                sources.add(new Source(new Slice(array.name(), begin - first, end - begin), array.read()));
            }
            first += array.count();
        }
        return sources;
    }
}
