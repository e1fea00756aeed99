package io.brazier.nn;

import io.brazier.program.BatchedMatMul;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.AllToAll;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Elementwise.Share;
import io.brazier.program.Experts.Combine;
import io.brazier.program.Experts.Dispatch;
import io.brazier.program.Gated;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Routing.AssignSlots;
import io.brazier.program.Routing.Gates;
import io.brazier.program.Routing.LoadBalance;
import io.brazier.program.Routing.Softmax;
import io.brazier.program.Routing.TopK;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import java.util.List;

/**
 * Mixtral's MLP (arXiv:2401.04088, sec. 2.1): y = sum over a token's top k experts e of g_e w2_e (silu(w1_e x) w3_e x), the gates g the
 * softmax of the router's logits, divided by their sum over the chosen.
 *
 * <p>Experts are spread over ep: each rank routes its own tokens, an all-to-all brings them to the ranks of their experts and another
 * one back (arXiv:2006.16668, sec. 3.2). Over tp an expert's hidden layer is split as a plain MLP's is; all tp ranks route alike.
 */
public final class ExpertMlp {
    private static final String MODULE = "block_sparse_moe";
    private static final String ROUTER = "gate";

    private final LlamaConfig config;

    ExpertMlp(LlamaConfig config) {
        this.config = config;
    }

    /** Router [E, D], gate and up of all experts [E, 2 F, D], down [E, D, F]. */
    List<ParameterSpec> parameters(String block) {
        long count = config.experts().count();
        long f = config.hiddenWidth();
        long d = config.width();
        String module = block + MODULE;
        return List.of(
                matrix(module + "." + ROUTER, count, d).atSequence(),
                matrix(module + ".experts.gate_up_proj", count, 2 * f, d)
                        .cut(Axis.EP, 0)
                        .cut(Axis.TP, 1, List.of(f, f)),
                matrix(module + ".experts.down_proj", count, d, f)
                        .cut(Axis.EP, 0)
                        .cut(Axis.TP, 2));
    }

    private static ParameterSpec matrix(String module, long... dims) {
        return ParameterSpec.normal(module + ".weight", Llama.STANDARD_DEVIATION, dims);
    }

    /** y of x [B, T, D], a partial sum over tp. */
    Value apply(ModelBuilder m, Value x) {
        ProgramBuilder p = m.program();
        p.enter(MODULE);
        Value columns = m.enterColumns(x);
        Value logits = m.enterColumns(product(m, ROUTER, x));
        int count = config.experts().count();
        TopK topK = new TopK(config.experts().perToken(), Gates.RENORMALISED);
        Value probabilities = p.apply(new Softmax(), logits);
        List<Value> chosen = p.applyAll(p.path(), topK, probabilities);
        long capacity = capacity(columns.type().shape().rows());
        List<Value> assigned = p.applyAll(p.path(), new AssignSlots(count, capacity), chosen.get(1));
        Value slots = assigned.get(0);
        account(m, probabilities, assigned);
        Value buffer = p.apply(new Dispatch(count, capacity, Operand.ABSENT), columns, slots);
        p.enter("experts");
        Value hidden = product(m, "gate_up_proj", exchange(m, buffer, 1, 0));
        Value y = product(m, "down_proj", p.apply(new Gated(Function.SILU), hidden));
        y = exchange(m, y, 0, 1);
        p.leave();
        y = p.apply(new Combine(Operand.PRESENT), y, slots, chosen.get(0));
        p.leave();
        return y;
    }

    /** The loss that spreads tokens evenly, over the micro-batch of all ranks, and the count of what found no slot. */
    private void account(ModelBuilder m, Value probabilities, List<Value> assigned) {
        double share = m.setting().balanceShare();
        LlamaConfig.Experts e = config.experts();
        if (share > 0 && e.balanceCoefficient() > 0) {
            Group data = m.view().mesh().group(Axis.DP, Axis.CP, Axis.EP);
            Value counts =
                    data.isEmpty() ? assigned.get(1) : m.program().apply(new AllReduce(data, 1), assigned.get(1));
            long numTokens =
                    probabilities.type().shape().rows() * m.view().mesh().size(data);
            LoadBalance loss = new LoadBalance(share * e.balanceCoefficient(), e.perToken(), numTokens);
            m.addBalanceLoss(once(m, m.program().apply(loss, probabilities, counts)));
        }
        if (share > 0 && e.capacityFactor() > 0) {
            m.addDroppedTokens(once(m, assigned.get(2)));
        }
    }

    /** All tp ranks compute the same, which counts once. */
    private static Value once(ModelBuilder m, Value x) {
        Group tensor = m.view().tensor();
        return tensor.isEmpty()
                ? x
                : m.program().apply(new Share(tensor, m.view().size(Axis.TP)), x);
    }

    /** Slots of an expert for a rank's tokens: capacityFactor times an even share, or one for each token. */
    private long capacity(long numTokens) {
        LlamaConfig.Experts e = config.experts();
        double even = (double) numTokens * e.perToken() / e.count();
        return e.capacityFactor() == 0 ? numTokens : Math.min(numTokens, (long) Math.ceil(e.capacityFactor() * even));
    }

    /** Whether an instruction's path is that of a router, whose rounding would send tokens elsewhere. */
    public static boolean routes(String path) {
        return path.endsWith(MODULE + "." + ROUTER);
    }

    private static Value product(ModelBuilder m, String module, Value x) {
        m.program().enter(module);
        Value weight = m.weight("weight");
        Value y = m.program()
                .apply(
                        weight.type().shape().rank() == 2
                                ? MatMul.plain(Transpose.W)
                                : BatchedMatMul.plain(Transpose.W),
                        x,
                        weight);
        m.program().leave();
        return y;
    }

    /** Tokens for experts, or the other way. */
    private static Value exchange(ModelBuilder m, Value x, int from, int to) {
        Group group = m.view().mesh().group(Axis.EP);
        return group.isEmpty()
                ? x
                : m.program().apply(new AllToAll(group, m.view().size(Axis.EP), from, to), x);
    }
}
