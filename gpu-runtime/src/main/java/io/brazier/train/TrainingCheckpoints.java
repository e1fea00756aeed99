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
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import io.brazier.train.Trainer.Progress;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingListener.Phase;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Saves and restores a run, under any layout what any other saved. Each rank writes of what it keeps, and shares with the ranks that
 * keep the same, so that every element is written once; it reads what it keeps, wherever that lies.
 */
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

    /** What this rank keeps of an array of the state, with the ways in and out. */
    private record StateArray(
            String name, Parameter parameter, SafetensorsWriter.Elements read, SafetensorsWriter.Elements write) {}

    private List<StateArray> arrays(boolean withBest) {
        TrainingEngine engine = run.engine();
        List<StateArray> arrays = new ArrayList<>();
        for (Parameter p : engine.parameters()) {
            ARRAYS.forEach((state, prefix) -> arrays.add(new StateArray(
                    prefix + p.name(),
                    p,
                    (offset, target) -> engine.read(p, state, offset, target),
                    (offset, source) -> engine.write(p, state, offset, source))));
            if (best.isPresent() && withBest) {
                WeightsCopy copy = best.get();
                arrays.add(new StateArray(
                        BEST + p.name(),
                        p,
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
        if (run.resume() instanceof Resume.From from) {
            load(
                    open(() -> store.open(from.path()), damage -> {
                                throw new TrainingException(
                                        Category.CHECKPOINT, damage + ": set resume to auto or to another checkpoint");
                            })
                            .orElseThrow(),
                    progress);
            return;
        }
        for (long step : steps()) {
            Optional<Checkpoint> checkpoint = open(() -> store.open(step), damage -> run.listener()
                    .onWarning("checkpoint " + store.path(step) + " is damaged and not used: " + damage));
            if (checkpoint.isPresent()) {
                load(checkpoint.get(), progress);
                return;
            }
        }
    }

    /** Steps of the checkpoints that rank 0 sees, newest first. */
    private List<Long> steps() {
        ByteBuffer mine = ByteBuffer.allocate(0);
        if (communicator.rank() == 0) {
            try {
                List<Long> steps = store.steps();
                mine = ByteBuffer.allocate(steps.size() * Long.BYTES);
                steps.forEach(mine::putLong);
            } catch (CheckpointException e) {
                throw new TrainingException(Category.CHECKPOINT, e.getMessage() + ": check checkpointDir", e);
            }
        }
        ByteBuffer agreed = ByteBuffer.wrap(communicator.allGatherBytes(mine.array())[0]);
        List<Long> steps = new ArrayList<>();
        while (agreed.hasRemaining()) {
            steps.add(agreed.getLong());
        }
        return steps;
    }

    /** A checkpoint of which every rank finds whole what it is to read. Otherwise all ranks are told what the first one misses. */
    private Optional<Checkpoint> open(Supplier<Checkpoint> opening, Consumer<String> refuse) {
        Checkpoint checkpoint = null;
        String damage = "";
        try {
            Checkpoint opened = opening.get();
            checkSettings(opened.path(), opened.state().path("settings"));
            for (StateArray array : arrays(bestStep(opened) > 0)) {
                Parameter p = array.parameter();
                p.forEachRun(0, p.numElements(), (global, local, count) -> opened.verify(array.name(), global, count));
            }
            if (hasScales(opened)) {
                opened.verify(scales(), 0, run.engine().numScales());
            }
            checkpoint = opened;
        } catch (CheckpointException e) {
            damage = e.getMessage();
        }
        for (byte[] found : communicator.allGatherBytes(damage.getBytes(StandardCharsets.UTF_8))) {
            if (found.length > 0) {
                refuse.accept(new String(found, StandardCharsets.UTF_8));
                return Optional.empty();
            }
        }
        return Optional.of(checkpoint);
    }

    private static long bestStep(Checkpoint checkpoint) {
        return checkpoint.state().path("bestStep").asLong();
    }

    private void load(Checkpoint checkpoint, Progress progress) {
        JsonNode state = checkpoint.state();
        progress.step = checkpoint.step();
        progress.bestStep = bestStep(checkpoint);
        progress.bestLoss = Double.longBitsToDouble(state.path("bestLossBits").asLong());
        progress.evaluationsSinceBest = state.path("evaluationsSinceBest").asInt();
        FloatBuffer chunk = FloatBuffer.allocate(CHUNK);
        for (StateArray array : arrays(progress.bestStep > 0)) {
            Parameter p = array.parameter();
            for (long from = 0; from < p.numElements(); from += CHUNK) {
                long first = from;
                chunk.clear().limit((int) Math.min(CHUNK, p.numElements() - from));
                p.forEachRun(
                        from,
                        from + chunk.limit(),
                        (global, local, count) ->
                                checkpoint.read(array.name(), global, chunk.slice((int) (local - first), (int) count)));
                array.write().read(from, chunk);
            }
        }
        if (hasScales(checkpoint)) {
            FloatBuffer scales =
                    FloatBuffer.allocate(Math.toIntExact(run.engine().numScales()));
            checkpoint.read(scales(), 0, scales);
            run.engine().writeScales(0, scales.flip());
        }
        run.engine().publish();
    }

    /** The array of this rank's scales, which no other rank and no other layout can use. */
    private String scales() {
        return "scales/" + run.layout().mesh() + "/chunks " + run.layout().chunksPerStage() + "/rank "
                + communicator.rank();
    }

    private boolean hasScales(Checkpoint checkpoint) {
        long count = run.engine().numScales();
        return count > 0 && checkpoint.numElements(scales()) == count;
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

    /** What must agree between the run that saved and the one that goes on, for it to learn the same; the layout need not. */
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

    /** This rank's part: of what it keeps, its share among those who keep the same. */
    private List<Source> sources(Progress progress) {
        List<Source> sources = new ArrayList<>();
        for (StateArray array : arrays(progress.bestStep > 0)) {
            Parameter p = array.parameter();
            long from = p.numElements() * p.replica() / p.numReplicas();
            long to = p.numElements() * (p.replica() + 1) / p.numReplicas();
            if (from < to) {
                Range share = new Range(p.held().start() + from, to - from);
                sources.add(new Source(new Slice(array.name(), p.shard(), share), (offset, target) -> array.read()
                        .read(from + offset, target)));
            }
        }
        long count = run.engine().numScales();
        if (count > 0) {
            Slice all = new Slice(scales(), Shard.whole(Shape.of(count)), new Range(0, count));
            sources.add(new Source(all, run.engine()::readScales));
        }
        return sources;
    }
}
