package io.brazier.plan;

import io.brazier.nn.Model;
import io.brazier.nn.ModelBuilder;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ModelBuilder.Setting;
import io.brazier.nn.ModelBuilder.Weights;
import io.brazier.nn.Unit;
import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.pass.Recompute;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.Ring.RingAttention;
import io.brazier.program.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The program of one virtual stage and its derivative, without places. */
final class ChunkProgram {
    /** Input that brings the hidden states of the stage before. */
    static final String BOUNDARY = "x";

    private final Request request;
    private final List<PlacedUnit> units;
    private final boolean isFirst;
    private final Map<Instruction, String> scopes = new HashMap<>();
    private final ModelBuilder model;
    private final Program forward;
    private final Value root;

    /**
     * Writes the program.
     *
     * @param pieces of the model that the stage holds
     * @param scale of the loss
     */
    ChunkProgram(
            String name, Request request, List<Integer> pieces, List<PlacedUnit> units, double dropout, double scale) {
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
                dropout);
        List<Unit> held = units.stream().map(PlacedUnit::unit).toList();
        model = new ModelBuilder(name, setting, held);
        Model network = request.model();
        Value x = isFirst
                ? null
                : model.input(BOUNDARY, model.hiddenType(network.config().width()));
        for (int piece : pieces) {
            int written = model.program().instructions().size();
            if (piece == 0) {
                x = network.embed(model, model.tokens("tokens"));
            } else if (piece <= network.config().numLayers()) {
                x = network.block(model, piece - 1, x, (layer, qkv) -> model.attend(network.heads(model, layer), qkv));
            } else {
                Model.Logits logits = network.head(model, x);
                x = model.loss(scale, logits.values(), model.tokens("targets"), logits.firstId());
            }
            List<Instruction> all = model.program().instructions();
            all.subList(written, all.size()).forEach(i -> scope(i, piece).ifPresent(scope -> scopes.put(i, scope)));
        }
        root = x;
        forward = model.program().build(List.of(root));
    }

    /** A forward program and the backward program that goes with it. */
    record Pair(Program forward, Program backward, Autodiff.Result derivative) {}

    ModelBuilder model() {
        return model;
    }

    Program forward() {
        return forward;
    }

    /** The loss, or the hidden states that the next stage takes. */
    Value root() {
        return root;
    }

    /** The hidden states received, or null on the first stage. */
    Value boundary() {
        return model.inputs().get(BOUNDARY);
    }

    /** The shard of a unit, or null where its weights are whole. */
    Value shard(PlacedUnit unit) {
        return model.inputs().get(unit.unit().name());
    }

    /** What backward computes again together with an instruction: a block, an attention, the gathering of sharded weights. */
    private Optional<String> scope(Instruction i, int piece) {
        boolean block = piece > 0 && piece <= request.model().config().numLayers();
        Layout.Recompute policy = request.layout().recompute();
        if (block && policy == Layout.Recompute.FULL) {
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
            (scattered ? fresh : accumulated).addAll(weights(unit));
        }
        if (!isFirst) {
            fresh.add(boundary());
        }
        Autodiff.Result derivative = Autodiff.differentiate(forward, List.of(root), accumulated, fresh, mode);
        Recompute.Result kept =
                Recompute.apply(forward, derivative.backward(), i -> Optional.ofNullable(scopes.get(i)));
        return new Pair(kept.forward(), kept.backward(), derivative);
    }

    /** What gradients are taken of: the unit's weights, or its shard. */
    List<Value> weights(PlacedUnit unit) {
        Value shard = model.inputs().get(unit.unit().name());
        return shard != null
                ? List.of(shard)
                : unit.unit().parameters().stream()
                        .map(spec -> model.weights().get(spec.name()))
                        .toList();
    }
}
