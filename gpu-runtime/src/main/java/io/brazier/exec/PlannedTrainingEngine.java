package io.brazier.exec;

import io.brazier.nn.ParameterSpec;
import io.brazier.nn.RankView;
import io.brazier.nn.WeightSource;
import io.brazier.plan.PlacedUnit;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.plan.Segment;
import io.brazier.plan.Slice;
import io.brazier.plan.TrainingPlan;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shard;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Runs a {@link TrainingPlan} on a back end. */
public final class PlannedTrainingEngine implements TrainingEngine {
    private final TrainingPlan training;
    private final LoadedPlan loaded;
    private final TrainingSpec spec;
    private final RankView view;
    private final Map<Parameter, PlacedUnit> units = new LinkedHashMap<>();

    /** Takes ownership of loaded, which must hold training.plan(). Collective. */
    public PlannedTrainingEngine(TrainingPlan training, LoadedPlan loaded, TrainingSpec spec, WeightSource initial) {
        this.training = training;
        this.loaded = loaded;
        this.spec = spec;
        this.view = spec.layout().view(training.plan().rank());
        for (PlacedUnit unit : training.units()) {
            for (ParameterSpec p : unit.unit().parameters()) {
                hold(unit, p);
            }
        }
        writePositions("positions", view.tokens(spec.sequenceLength()));
        writePositions("sequence positions", view.sequenceTokens(spec.sequenceLength()));
        if (training.named().containsKey("loss.gradient")) {
            loaded.write(training.named().get("loss.gradient"), 0, Float.BYTES, b -> b.putFloat(1));
        }
        for (Parameter p : units.keySet()) {
            read(initial, p);
        }
        publish();
    }

    private void hold(PlacedUnit unit, ParameterSpec p) {
        Shard shard = p.shard(view.mesh(), view.rank());
        Range elements = unit.elements(p, shard.shape().numElements());
        long from = Math.max(elements.start(), unit.shard().start());
        long to = Math.min(elements.end(), unit.shard().end());
        if (from < to) {
            Range held = new Range(from - elements.start(), to - from);
            Group replicas = unit.replicas(p, view);
            boolean tied =
                    view.size(Axis.PP) > 1 && training.request().model().tied().contains(p.name());
            int ends = tied ? 2 : 1;
            int end = tied && view.coordinate(Axis.PP) > 0 ? 1 : 0;
            int index = view.mesh().coordinate(view.rank(), replicas) * ends + end;
            units.put(new Parameter(p.name(), shard, held, index, view.mesh().size(replicas) * ends), unit);
        }
    }

    private void read(WeightSource initial, Parameter p) {
        FloatBuffer chunk = FloatBuffer.allocate(LoadedPlan.maxTransferBytes() / Float.BYTES);
        p.forEachRun(0, p.numElements(), (global, local, count) -> {
            for (long done = 0; done < count; done += chunk.capacity()) {
                chunk.clear().limit((int) Math.min(chunk.capacity(), count - done));
                initial.read(p.name(), global + done, chunk);
                write(p, State.WEIGHT, local + done, chunk.flip());
            }
        });
    }

    private void writePositions(String name, List<Range> tokens) {
        Slice slice = training.named().get(name);
        if (slice == null) {
            return;
        }
        IntBuffer positions = IntBuffer.allocate((int) (slice.bytes() / Integer.BYTES));
        while (positions.hasRemaining()) {
            for (Range range : tokens) {
                for (long t = range.start(); t < range.end(); t++) {
                    positions.put((int) t);
                }
            }
        }
        writeInts(slice, positions.flip());
    }

    @Override
    public StepOutcome step(long step, double learningRate, Feed feed) {
        loaded.bindThread();
        int count = spec.microBatchSize() * spec.sequenceLength();
        IntBuffer[] tokens = new IntBuffer[spec.numMicroBatches()];
        IntBuffer[] targets = new IntBuffer[spec.numMicroBatches()];
        for (int x = 0; x < tokens.length; x++) {
            tokens[x] = IntBuffer.allocate(count);
            targets[x] = IntBuffer.allocate(count);
            feed.fill(x, tokens[x], targets[x]);
        }
        List<Sum> kept = new ArrayList<>();
        StepOutcome outcome = null;
        for (RankPlan.Step entry : loaded.plan().schedule()) {
            String segment = entry instanceof RankPlan.Launch launch ? launch.segment() : "";
            if (training.feeds().containsKey(segment)) {
                RankPlan.Launch launch = (RankPlan.Launch) entry;
                feed(launch, step, tokens[launch.microBatch()], targets[launch.microBatch()]);
                loaded.run(entry);
                boolean last = training.feeds().get(segment).containsKey("targets");
                String suffix = segment.substring(TrainingPlan.FORWARD.length());
                if (last) {
                    keep(Sum.LOSS, "loss", kept);
                }
                keep(Sum.BALANCE_LOSS, TrainingPlan.BALANCE_LOSS + suffix, kept);
                keep(Sum.DROPPED_TOKENS, TrainingPlan.DROPPED_TOKENS + suffix, kept);
            } else if (segment.equals(TrainingPlan.NORM)) {
                outcome = norm(kept);
            } else if (segment.equals(TrainingPlan.SCALES)) {
                float accepted = outcome.updated() ? 1 : 0;
                loaded.write(training.named().get(TrainingPlan.ACCEPTED), 0, Float.BYTES, b -> b.putFloat(accepted));
                loaded.run(entry);
            } else if (segment.equals(TrainingPlan.UPDATE)) {
                if (!outcome.updated()) {
                    break;
                }
                writeScalars(step, learningRate, outcome.gradientNorm());
                loaded.run(entry);
            } else {
                loaded.run(entry);
            }
        }
        return outcome;
    }

    private void feed(RankPlan.Launch launch, long step, IntBuffer tokens, IntBuffer targets) {
        Segment segment = loaded.plan().segments().get(launch.segment());
        training.feeds().get(launch.segment()).forEach((name, place) -> {
            Slice slice = segment.inSlot(place, launch.slot());
            switch (name) {
                case "tokens" -> writeInts(slice, columns(tokens));
                case "targets" -> writeInts(slice, columns(targets));
                case "rng" -> writeRng(slice, step, launch.microBatch());
                default -> throw new AssertionError(name);
            }
        });
    }

    /** This rank's tokens of each row. */
    private IntBuffer columns(IntBuffer rows) {
        List<Range> held = view.tokens(spec.sequenceLength());
        IntBuffer columns = IntBuffer.allocate((int) (spec.microBatchSize() * Range.total(held)));
        for (int row = 0; row < spec.microBatchSize(); row++) {
            for (Range range : held) {
                int first = (int) (row * spec.sequenceLength() + range.start());
                columns.put(columns.position(), rows, first, (int) range.length());
                columns.position(columns.position() + (int) range.length());
            }
        }
        return columns.flip();
    }

    /** What the micro-batches of a step are summed to. */
    private enum Sum {
        LOSS,
        BALANCE_LOSS,
        DROPPED_TOKENS
    }

    /** Puts a number that forward left, if it did, behind those that are kept: to read it now would be to wait for the device. */
    private void keep(Sum sum, String name, List<Sum> kept) {
        Slice left = training.named().get(name);
        if (left != null) {
            Slice all = training.named().get(TrainingPlan.KEPT);
            loaded.copy(left, new Slice(all.region(), all.offset() + (long) kept.size() * Float.BYTES, Float.BYTES));
            kept.add(sum);
        }
    }

    private StepOutcome norm(List<Sum> kept) {
        double[] partial = new double[Sum.values().length];
        if (!kept.isEmpty()) {
            ByteBuffer values = loaded.read(training.named().get(TrainingPlan.KEPT), 0, kept.size() * Float.BYTES);
            kept.forEach(sum -> partial[sum.ordinal()] += values.getFloat());
        }
        Slice stepLoss = training.named().get("step loss");
        loaded.write(stepLoss, 0, 3 * Float.BYTES, b -> {
            for (double part : partial) {
                b.putFloat((float) part);
            }
        });
        loaded.run(TrainingPlan.NORM, 0);
        ByteBuffer sums = loaded.read(stepLoss, 0, 3 * Float.BYTES);
        double loss = sums.getFloat();
        double balanceLoss = sums.getFloat();
        long dropped = Math.round(sums.getFloat());
        double norm = Math.sqrt(loaded.read(training.named().get("squared norm"), 0, Double.BYTES)
                .getDouble());
        return new StepOutcome(loss, norm, Double.isFinite(loss) && Double.isFinite(norm), balanceLoss, dropped);
    }

    private void writeRng(Slice slice, long step, int microBatch) {
        long firstRow = ((long) microBatch * view.dataSize() + view.dataIndex())
                * spec.microBatchSize()
                * spec.sequenceLength();
        loaded.write(slice, 0, 3 * Long.BYTES, b -> b.putLong(spec.seed())
                .putLong(step)
                .putLong(firstRow));
    }

    private void writeScalars(long step, double learningRate, double norm) {
        double[] scalars = spec.optimizer().scalars(step, learningRate, norm);
        loaded.write(training.named().get("scalars"), 0, scalars.length * Float.BYTES, b -> {
            for (double scalar : scalars) {
                b.putFloat((float) scalar);
            }
        });
    }

    @Override
    public double evaluate(IntBuffer tokens, IntBuffer targets) {
        loaded.bindThread();
        Map<String, Slice> named = training.named();
        if (named.containsKey("evaluation tokens")) {
            writeInts(named.get("evaluation tokens"), columns(tokens));
        }
        if (named.containsKey("evaluation targets")) {
            writeInts(named.get("evaluation targets"), columns(targets));
        }
        training.evaluation().forEach(loaded::run);
        return named.containsKey("evaluation loss")
                ? loaded.read(named.get("evaluation loss"), 0, Float.BYTES).getFloat()
                : 0;
    }

    @Override
    public void publish() {
        loaded.bindThread();
        loaded.run(TrainingPlan.PUBLISH, 0);
    }

    private void writeInts(Slice slice, IntBuffer values) {
        int perTransfer = LoadedPlan.maxTransferBytes() / Integer.BYTES;
        for (long offset = 0; values.hasRemaining(); ) {
            IntBuffer part = values.slice();
            part.limit(Math.min(perTransfer, part.remaining()));
            int count = part.remaining();
            loaded.write(
                    slice, offset, count * Integer.BYTES, b -> b.asIntBuffer().put(part));
            offset += (long) count * Integer.BYTES;
            values.position(values.position() + count);
        }
    }

    @Override
    public List<Parameter> parameters() {
        return List.copyOf(units.keySet());
    }

    private Slice slice(Parameter parameter, State state) {
        PlacedUnit unit = units.get(parameter);
        Slice shard =
                switch (state) {
                    case WEIGHT -> unit.masters();
                    case GRADIENT -> unit.held().get(Region.GRADIENTS).of(unit.shard());
                    case FIRST_MOMENT -> unit.held().get(Region.FIRST_MOMENTS).slice();
                    case SECOND_MOMENT -> unit.held().get(Region.SECOND_MOMENTS).slice();
                };
        ParameterSpec spec = unit.unit().parameters().stream()
                .filter(p -> p.name().equals(parameter.name()))
                .findFirst()
                .orElseThrow();
        long first = unit.elements(spec, 1).start()
                + parameter.held().start()
                - unit.shard().start();
        return new Slice(shard.region(), shard.offset() + first * Float.BYTES, parameter.numElements() * Float.BYTES);
    }

    @Override
    public void read(Parameter parameter, State state, long offset, FloatBuffer target) {
        read(slice(parameter, state), offset, target);
    }

    @Override
    public void write(Parameter parameter, State state, long offset, FloatBuffer source) {
        write(slice(parameter, state), offset, source);
    }

    private Slice scales() {
        return new Slice(Region.SCALES, 0, loaded.plan().regions().getOrDefault(Region.SCALES, 0L));
    }

    @Override
    public long numScales() {
        return scales().bytes() / Float.BYTES;
    }

    @Override
    public void readScales(long offset, FloatBuffer target) {
        read(scales(), offset, target);
    }

    @Override
    public void writeScales(long offset, FloatBuffer source) {
        write(scales(), offset, source);
    }

    private void read(Slice slice, long offset, FloatBuffer target) {
        long at = offset * Float.BYTES;
        while (target.hasRemaining()) {
            int bytes = Math.min(LoadedPlan.maxTransferBytes(), target.remaining() * Float.BYTES);
            ByteBuffer part = loaded.read(slice, at, bytes);
            target.put(part.asFloatBuffer());
            at += bytes;
        }
    }

    private void write(Slice slice, long offset, FloatBuffer source) {
        long at = offset * Float.BYTES;
        while (source.hasRemaining()) {
            FloatBuffer part = source.slice();
            part.limit(Math.min(LoadedPlan.maxTransferBytes() / Float.BYTES, part.remaining()));
            int count = part.remaining();
            loaded.write(slice, at, count * Float.BYTES, b -> b.asFloatBuffer().put(part));
            at += (long) count * Float.BYTES;
            source.position(source.position() + count);
        }
    }

    @Override
    public long memoryBytes() {
        return loaded.plan().totalBytes();
    }

    @Override
    public String describe() {
        return loaded.plan().summary();
    }

    @Override
    public void close() {
        loaded.close();
    }
}
