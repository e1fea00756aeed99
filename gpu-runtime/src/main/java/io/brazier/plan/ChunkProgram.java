package io.brazier.plan;

import io.brazier.nn.ExpertMlp;
import io.brazier.nn.Model;
import io.brazier.nn.ModelBuilder;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ModelBuilder.Setting;
import io.brazier.nn.ModelBuilder.Weights;
import io.brazier.nn.Unit;
import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.pass.FuseEpilogues;
import io.brazier.pass.MixedPrecision;
import io.brazier.pass.Recompute;
import io.brazier.pass.ScaledProducts;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Cast;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.Ring.RingAttention;
import io.brazier.program.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** The program of one virtual stage and its derivative in the layout's precision, without places. */
final class ChunkProgram {
    /** Input that brings the hidden states of the stage before. */
    static final String BOUNDARY = "x";

    private final Request request;
    private final List<PlacedUnit> units;
    private final boolean isFirst;
    private final Map<Value, String> scopes = new HashMap<>();
    private final ModelBuilder model;
    private final Program wide;
    private final Value root;
    private final Optional<MixedPrecision> narrow;
    private final List<Value> scales;

    /**
     * Writes the program.
     *
     * @param precision what it computes in; that of the layout, or one with the same weights
     * @param pieces of the model that the stage holds
     * @param scale of the loss
     * @param balanceShare of the loss that balances experts
     */
    ChunkProgram(
            String name,
            Request request,
            Layout.Precision precision,
            List<Integer> pieces,
            List<PlacedUnit> units,
            double dropout,
            double scale,
            double balanceShare) {
        this.request = request;
        this.units = units;
        this.isFirst = pieces.contains(0);
        boolean sharded = request.layout().zeroStage() == 3;
        Setting setting = new Setting(
                Mode.TRAINING,
                request.view(),
                sharded ? Weights.SHARDED : Weights.WHOLE,
                request.microBatchSize(),
                request.sequenceLength(),
                dropout,
                balanceShare);
        List<Unit> held = units.stream().map(PlacedUnit::unit).toList();
        model = new ModelBuilder(name, setting, held);
        Model network = request.model();
        Set<Instruction> blocks = new HashSet<>();
        Value x = isFirst
                ? null
                : model.input(BOUNDARY, model.hiddenType(network.config().width()));
        for (int piece : pieces) {
            int written = model.program().instructions().size();
            if (piece == 0) {
                x = network.embed(model, model.tokens("tokens"));
            } else if (isBlock(piece)) {
                x = network.block(model, piece - 1, x, (layer, qkv) -> model.attend(network.heads(model, layer), qkv));
            } else {
                Model.Logits logits = network.head(model, x);
                x = model.loss(scale, logits.values(), model.tokens("targets"), logits.firstId());
            }
            List<Instruction> all = model.program().instructions();
            List<Instruction> made = all.subList(written, all.size());
            made.forEach(i ->
                    scope(i, piece).ifPresent(scope -> scopes.put(i.outputs().get(0), scope)));
            if (isBlock(piece)) {
                blocks.addAll(made);
            }
        }
        root = x;
        Program plain = model.program()
                .build(Stream.of(root, model.balanceLoss(), model.droppedTokens())
                        .filter(Objects::nonNull)
                        .toList());
        boolean scaled = precision == Layout.Precision.FP8;
        ScaledProducts.Result products =
                ScaledProducts.apply(plain, i -> scaled && blocks.contains(i) && !ExpertMlp.routes(i.path()));
        wide = products.program();
        scales = products.states();
        narrow = precision.hasMasters() ? Optional.of(MixedPrecision.of(wide, Set.copyOf(scales))) : Optional.empty();
    }

    /** A forward program and the backward program that goes with it. */
    record Pair(Program forward, Program backward, Autodiff.Result derivative) {}

    Program forward() {
        return narrow.map(MixedPrecision::forward).orElse(wide);
    }

    /** The value of a program in f32 as it is in the chosen precision. */
    private Value narrow(Value v) {
        return v == null ? null : narrow.map(n -> n.value(v)).orElse(v);
    }

    /** The loss, or the hidden states that the next stage takes. */
    Value root() {
        return narrow(root);
    }

    /** This chunk's part of the balance loss, or null. */
    Value balanceLoss() {
        return narrow(model.balanceLoss());
    }

    /** This chunk's count of assignments that found no slot, or null. */
    Value droppedTokens() {
        return narrow(model.droppedTokens());
    }

    /** The hidden states received, or null on the first stage. */
    Value boundary() {
        return narrow(model.inputs().get(BOUNDARY));
    }

    /** The shard of a unit, or null where its weights are whole. */
    Value shard(PlacedUnit unit) {
        return narrow(model.inputs().get(unit.unit().name()));
    }

    /** States of the products in eight bits, in their order. */
    List<Value> scales() {
        return scales.stream().map(this::narrow).toList();
    }

    /** A parameter that is whole. */
    Value parameter(String name) {
        return narrow(model.inputs().get(name));
    }

    /** A parameter as data sees it. */
    Value weight(String name) {
        return narrow(model.weights().get(name));
    }

    private boolean isBlock(int piece) {
        return piece > 0 && piece <= request.model().config().numLayers();
    }

    /** What backward computes again together with an instruction: a block, an attention, the gathering of sharded weights. */
    private Optional<String> scope(Instruction i, int piece) {
        Layout.Recompute policy = request.layout().recompute();
        if (isBlock(piece) && policy == Layout.Recompute.FULL) {
            return Optional.of("piece " + piece);
        }
        boolean attention = i.op() instanceof CausalAttention || i.op() instanceof RingAttention;
        if (attention && policy == Layout.Recompute.SELECTIVE) {
            return Optional.of("attention " + piece);
        }
        return i.op() instanceof GatherWeights ? Optional.of("gather " + piece) : Optional.empty();
    }

    /** Backward with what it computes again. */
    Pair differentiate(Gradients mode) {
        List<Value> accumulated = new ArrayList<>();
        List<Value> fresh = new ArrayList<>();
        for (PlacedUnit unit : units) {
            boolean scattered =
                    request.layout().zeroStage() == 2 && !unit.unit().group().isEmpty();
            (scattered ? fresh : accumulated).addAll(wideWeights(unit));
        }
        if (!isFirst) {
            fresh.add(model.inputs().get(BOUNDARY));
        }
        Autodiff.Result inFloats = Autodiff.differentiate(
                wide,
                model.balanceLoss() == null ? List.of(root) : List.of(root, model.balanceLoss()),
                accumulated,
                fresh,
                mode);
        Autodiff.Result derivative = narrow.map(n -> n.derivative(inFloats)).orElse(inFloats);
        Program backward = request.backward() == Request.Backward.FUSED
                ? FuseEpilogues.apply(derivative.backward())
                : derivative.backward();
        Map<Instruction, String> known = narrowScopes();
        Recompute.Result kept = Recompute.apply(forward(), backward, i -> Optional.ofNullable(known.get(i)));
        return new Pair(kept.forward(), kept.backward(), derivative);
    }

    /** Forward must not overwrite what it received where backward reads that. */
    Program keepingBoundary(Pair pair) {
        Program forward = pair.forward();
        if (isFirst || !pair.backward().inputs().contains(boundary())) {
            return forward;
        }
        List<Value> outputs = new ArrayList<>(forward.outputs());
        outputs.add(boundary());
        return new Program(forward.name(), forward.inputs(), forward.instructions(), outputs);
    }

    /** Scopes of the instructions; a cast belongs to what it was made for, which follows. */
    private Map<Instruction, String> narrowScopes() {
        Map<Value, String> byValue = new HashMap<>();
        scopes.forEach((v, scope) -> byValue.put(narrow(v), scope));
        Map<Instruction, String> result = new HashMap<>();
        List<Instruction> all = forward().instructions();
        for (int x = all.size() - 1; x >= 0; x--) {
            Instruction i = all.get(x);
            boolean cast = i.op() instanceof Cast;
            String scope =
                    cast ? result.get(all.get(x + 1)) : byValue.get(i.outputs().get(0));
            if (scope != null) {
                result.put(i, scope);
            }
        }
        return result;
    }

    /** What gradients are taken of: the unit's weights, or its shard. */
    List<Value> weights(PlacedUnit unit) {
        return wideWeights(unit).stream().map(this::narrow).toList();
    }

    private List<Value> wideWeights(PlacedUnit unit) {
        Value shard = model.inputs().get(unit.unit().name());
        return shard != null
                ? List.of(shard)
                : unit.unit().parameters().stream()
                        .map(spec -> model.weights().get(spec.name()))
                        .toList();
    }
}
