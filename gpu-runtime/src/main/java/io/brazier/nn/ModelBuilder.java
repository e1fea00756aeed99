package io.brazier.nn;

import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Collective.ReduceScatter;
import io.brazier.program.Collective.Replicate;
import io.brazier.program.Elementwise;
import io.brazier.program.Loss.CrossEntropy;
import io.brazier.program.Loss.RowLogSumExp;
import io.brazier.program.Loss.ShardedCrossEntropy;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Ring.RingAttention;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Flat;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A program under construction together with the model's weights and the collectives that its layers need. */
public final class ModelBuilder {

    /** Whether weights are used as they are, or replicated where data differs, so that their gradients are partial sums. */
    public enum Mode {
        INFERENCE,
        TRAINING
    }

    /** Whether units are held whole, or as shards that are gathered where they are used (ZeRO stage 3). */
    public enum Weights {
        WHOLE,
        SHARDED
    }

    /**
     * What is built.
     *
     * @param sequenceLength T of whole sequences
     * @param dropout rate of every {@link #dropout}
     * @param balanceShare weight of this micro-batch in the step's balance loss of experts; 0 leaves that out
     */
    public record Setting(
            Mode mode,
            RankView view,
            Weights weights,
            int rows,
            int sequenceLength,
            double dropout,
            double balanceShare) {
        public Setting(Mode mode, RankView view, Weights weights, int rows, int sequenceLength, double dropout) {
            this(mode, view, weights, rows, sequenceLength, dropout, 0);
        }
    }

    private final ProgramBuilder program;
    private final Setting setting;
    private final Map<String, Unit> unitOf = new HashMap<>();
    private final Map<String, Value> inputs = new LinkedHashMap<>();
    private final Map<String, Value> weights = new LinkedHashMap<>();
    private final Map<String, Value> gathered = new HashMap<>();
    private Value balanceLoss;
    private Value droppedTokens;
    private int piece;
    private Value rng;

    public ModelBuilder(String name, Setting setting, List<Unit> units) {
        this.program = new ProgramBuilder(name);
        this.setting = setting;
        for (Unit unit : units) {
            unit.parameters().forEach(spec -> unitOf.put(spec.name(), unit));
            if (isSharded(unit)) {
                inputs.put(unit.name(), program.input(unit.name(), shardType(unit)));
            } else {
                unit.parameters().forEach(spec -> hold(unit, spec));
            }
        }
    }

    private void hold(Unit unit, ParameterSpec spec) {
        Value parameter = program.input(spec.name(), spec.type(view().mesh(), view().rank()));
        inputs.put(spec.name(), parameter);
        Group replicated = unit.replicated(view(), spec);
        boolean differs = setting.mode() == Mode.TRAINING && !replicated.isEmpty();
        weights.put(
                spec.name(),
                differs
                        ? program.applyAll(spec.name(), new Replicate(replicated), parameter)
                                .get(0)
                        : parameter);
    }

    private boolean isSharded(Unit unit) {
        return setting.weights() == Weights.SHARDED && !unit.group().isEmpty();
    }

    private TensorType shardType(Unit unit) {
        List<Shape> shapes =
                unit.weightTypes(view()).stream().map(TensorType::shape).toList();
        int size = view().mesh().size(unit.group());
        TensorType type = TensorType.of(DType.F32, Flat.of(shapes, size).numElements() / size);
        for (Axis axis : unit.group().axes()) {
            type = type.with(axis, Placement.shard(0));
        }
        return type;
    }

    public ProgramBuilder program() {
        return program;
    }

    public Setting setting() {
        return setting;
    }

    public RankView view() {
        return setting.view();
    }

    /** Says which piece of the model is being written: gathered weights do not outlive it. */
    public void startPiece(int index) {
        piece = index;
        gathered.clear();
    }

    /** A number that no other site of this kind in any piece or rank's program has. */
    private int site(int index) {
        return 8 * piece + index;
    }

    /** An i32 input [rows, T]: rows differ along dp and ep, tokens along cp. */
    public Value tokens(String name) {
        return tokens(name, view().tokens(setting.sequenceLength()), false);
    }

    private Value tokens(String name, List<Range> held, boolean splitsSequence) {
        return existing(name, placed(TensorType.of(DType.I32, setting.rows(), Range.total(held)), splitsSequence));
    }

    /** Input with a name, made when it is first asked for. */
    private Value existing(String name, TensorType type) {
        return inputs.computeIfAbsent(name, n -> program.input(n, type));
    }

    private TensorType placed(TensorType type, boolean splitsSequence) {
        if (setting.mode() == Mode.INFERENCE) {
            return type;
        }
        for (Axis axis : view().mesh().group(Axis.DP, Axis.EP).axes()) {
            type = type.with(axis, Placement.shard(0));
        }
        for (Axis axis : view().mesh().group(Axis.CP).axes()) {
            type = type.with(axis, Placement.shard(1));
        }
        return splitsSequence ? type.with(Axis.TP, Placement.shard(1)) : type;
    }

    /** An input with a name. */
    public Value input(String name, TensorType type) {
        return existing(name, type);
    }

    /** Positions of {@link #tokens}. */
    public Value positions() {
        return tokens("positions");
    }

    /** Positions of the tokens whose hidden states this rank keeps. */
    public Value sequencePositions() {
        return view().splitsSequence()
                ? tokens("sequence positions", view().sequenceTokens(setting.sequenceLength()), true)
                : positions();
    }

    /** Type of hidden states between pieces. */
    public TensorType hiddenType(int width) {
        long numTokens = Range.total(view().sequenceTokens(setting.sequenceLength()));
        return placed(TensorType.of(DType.F32, setting.rows(), numTokens, width), view().splitsSequence());
    }

    /** A weight of the current module, as data sees it. */
    public Value weight(String name) {
        String path = program.path().isEmpty() ? name : program.path() + "." + name;
        Unit unit = unitOf.get(path);
        if (unit == null) {
            throw new AssertionError("the model declares no parameter " + path);
        }
        if (!isSharded(unit)) {
            return weights.get(path);
        }
        if (!gathered.containsKey(path)) {
            GatherWeights gather =
                    new GatherWeights(unit.group(), view().mesh().size(unit.group()), unit.weightTypes(view()));
            List<Value> values = program.applyAll("unit." + unit.name() + "@" + piece, gather, inputs.get(unit.name()));
            for (int x = 0; x < values.size(); x++) {
                gathered.put(unit.parameters().get(x).name(), values.get(x));
            }
        }
        return gathered.get(path);
    }

    /** The program's inputs by name: parameters, or shards of units, and what else was asked for. */
    public Map<String, Value> inputs() {
        return inputs;
    }

    /** What gradients are taken of, by name of parameter or sharded unit. */
    public Map<String, Value> weights() {
        Map<String, Value> all = new LinkedHashMap<>(weights);
        unitOf.values().stream().filter(this::isSharded).forEach(unit -> all.put(unit.name(), inputs.get(unit.name())));
        return all;
    }

    /** Hidden states as column-parallel products want them: all tokens, gradient partial over tp (arXiv:1909.08053, f). */
    public Value enterColumns(Value x) {
        Group tensor = view().tensor();
        if (tensor.isEmpty()) {
            return x;
        }
        return program.apply(
                view().splitsSequence() ? new AllGather(tensor, view().size(Axis.TP), 1) : new Replicate(tensor), x);
    }

    /** The sum of row-parallel products (arXiv:1909.08053, g), or this rank's tokens of it. */
    public Value leaveRows(Value partial) {
        Group tensor = view().tensor();
        if (tensor.isEmpty()) {
            return partial;
        }
        return program.apply(
                view().splitsSequence() ? new ReduceScatter(tensor, view().size(Axis.TP), 1) : new AllReduce(tensor, 1),
                partial);
    }

    /** First id of the rows of the current module's vocabulary table that this rank holds. */
    public long firstId() {
        String path = program.path() + ".weight";
        ParameterSpec spec = unitOf.get(path).parameters().stream()
                .filter(p -> p.name().equals(path))
                .findFirst()
                .orElseThrow();
        return spec.shard(view().mesh(), view().rank()).ranges().get(0).get(0).start();
    }

    /**
     * scale times the sum of the cross-entropy over all targets, a partial sum where ranks see other tokens or other ids. Logits are
     * split over tp as the table is (arXiv:1909.08053, sec. 3).
     *
     * @param firstId id of the first logit
     */
    public Value loss(double scale, Value logits, Value targets, long firstId) {
        program.enter("loss");
        Value loss;
        if (view().tensor().isEmpty()) {
            loss = program.apply(new CrossEntropy(scale), logits, targets);
        } else {
            Value statistics = program.apply(new RowLogSumExp(), logits);
            statistics = program.apply(new AllGather(view().tensor(), view().size(Axis.TP), 0), statistics);
            loss = program.apply(new ShardedCrossEntropy(scale, firstId), logits, statistics, targets);
        }
        program.leave();
        return loss;
    }

    /** Adds to what backward minimises beside the cross-entropy: a partial sum over all axes on which data differs, and tp. */
    public void addBalanceLoss(Value loss) {
        balanceLoss = balanceLoss == null ? loss : program.apply(new Elementwise.Add(), balanceLoss, loss);
    }

    /** Adds to the count of assignments for which experts had no slot, a partial sum like a loss. */
    public void addDroppedTokens(Value count) {
        droppedTokens = droppedTokens == null ? count : program.apply(new Elementwise.Add(), droppedTokens, count);
    }

    /** What was added up, or null. */
    public Value balanceLoss() {
        return balanceLoss;
    }

    /** What was added up, or null. */
    public Value droppedTokens() {
        return droppedTokens;
    }

    /** Causal attention of whole sequences, around the ring of those who share them (arXiv:2310.01889). */
    public Value attend(Heads heads, Value qkv) {
        int cp = view().size(Axis.CP);
        return program.apply(
                cp == 1 ? new CausalAttention(heads) : new RingAttention(heads, cp, view().coordinate(Axis.CP)), qkv);
    }

    /**
     * Dropout at the model's rate; x itself when that is 0.
     *
     * @param site tells apart the dropouts of one piece
     */
    public Value dropout(int site, Value x) {
        if (setting.dropout() == 0) {
            return x;
        }
        if (rng == null) {
            rng = existing("rng", TensorType.of(DType.I64, 3));
        }
        List<Range> held = view().sequenceTokens(setting.sequenceLength());
        return program.apply(
                new Elementwise.Dropout(setting.dropout(), site(site), setting.sequenceLength(), held), x, rng);
    }

    /** Whether a row-parallel product can take bias and residual in its epilogue: nothing comes between them. */
    public boolean fusesResiduals() {
        return setting.dropout() == 0 && view().tensor().isEmpty();
    }
}
