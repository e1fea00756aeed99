package io.brazier.nn;

import io.brazier.nn.ParameterSpec.Init;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Elementwise.Add;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Gated;
import io.brazier.program.Lookup.Embedding;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Norm.RmsNorm;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Rotary;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import java.util.ArrayList;
import java.util.List;

/**
 * Llama (arXiv:2302.13971, sec. 2.2; grouped queries as in arXiv:2307.09288). Names and shapes as in Hugging Face's llama, weights of
 * linear layers stored [out, in], but with one product for queries, keys and values and one for gate and up:
 * {@code qkv_proj} [(H + 2 G) K, D] and {@code gate_up_proj} [2 F, D]. All matrices are drawn with standard deviation 0.02.
 */
public final class Llama implements Model {
    static final double STANDARD_DEVIATION = 0.02;
    private static final String EMBEDDING = "model.embed_tokens";

    private final LlamaConfig config;

    public Llama(LlamaConfig config) {
        this.config = config;
    }

    @Override
    public LlamaConfig config() {
        return config;
    }

    @Override
    public Heads heads(ModelBuilder m, int layer) {
        int tp = m.view().size(Axis.TP);
        return new Heads(
                config.numHeads() / tp,
                config.numKeyValueHeads() / tp,
                config.headWidth(),
                1 / Math.sqrt(config.headWidth()));
    }

    @Override
    public List<ParameterSpec> parameters(int piece) {
        if (piece == 0) {
            return List.of(vocabulary(EMBEDDING));
        }
        if (piece > config.numLayers()) {
            return List.of(norm("model.norm"), vocabulary(headModule()));
        }
        List<ParameterSpec> specs = new ArrayList<>();
        String block = block(piece - 1) + ".";
        long queries = (long) config.numHeads() * config.headWidth();
        long keys = (long) config.numKeyValueHeads() * config.headWidth();
        specs.add(norm(block + "input_layernorm"));
        specs.add(columns(block + "self_attn.qkv_proj", List.of(queries, keys, keys)));
        specs.add(rows(block + "self_attn.o_proj", queries));
        specs.add(norm(block + "post_attention_layernorm"));
        if (config.numExperts() > 0) {
            specs.addAll(new ExpertMlp(config).parameters(block));
        } else {
            long hidden = config.hiddenWidth();
            specs.add(columns(block + "mlp.gate_up_proj", List.of(hidden, hidden)));
            specs.add(rows(block + "mlp.down_proj", hidden));
        }
        return specs;
    }

    private static String block(int layer) {
        return "model.layers." + layer;
    }

    private String headModule() {
        return config.tiedHead() ? EMBEDDING : "lm_head";
    }

    private ParameterSpec vocabulary(String module) {
        return ParameterSpec.normal(module + ".weight", STANDARD_DEVIATION, config.vocabularySize(), config.width())
                .cut(Axis.TP, 0);
    }

    private ParameterSpec norm(String module) {
        return ParameterSpec.constant(module + ".weight", Init.ONES, config.width())
                .atSequence();
    }

    private ParameterSpec columns(String module, List<Long> parts) {
        long out = parts.stream().mapToLong(Long::longValue).sum();
        return ParameterSpec.normal(module + ".weight", STANDARD_DEVIATION, out, config.width())
                .cut(Axis.TP, 0, parts);
    }

    private ParameterSpec rows(String module, long in) {
        return ParameterSpec.normal(module + ".weight", STANDARD_DEVIATION, config.width(), in)
                .cut(Axis.TP, 1);
    }

    @Override
    public Value embed(ModelBuilder m, Value tokens) {
        m.startPiece(0);
        m.program().enter(EMBEDDING);
        boolean whole = m.view().tensor().isEmpty();
        Embedding op = new Embedding(Operand.ABSENT, whole ? 0 : m.firstId());
        Value x = m.leaveRows(m.program().apply(op, tokens, m.weight("weight")));
        x = m.dropout(0, x);
        m.program().leave();
        return x;
    }

    @Override
    public Value block(ModelBuilder m, int layer, Value x, AttentionRule attention) {
        ProgramBuilder p = m.program();
        m.startPiece(layer + 1);
        p.enter(block(layer));
        Value qkv = columns(m, "self_attn.qkv_proj", m.enterColumns(normalise(m, "input_layernorm", x)));
        p.enter("self_attn");
        Rotary rotary = new Rotary(heads(m, layer), config.ropeTheta(), config.ropeScaling());
        Value o = attention.attend(layer, p.apply(rotary, qkv, m.positions()));
        p.leave();
        x = project(m, "self_attn.o_proj", 0, o, x);
        x = mlp(m, normalise(m, "post_attention_layernorm", x), x);
        p.leave();
        return x;
    }

    /** residual + mlp(x). */
    private Value mlp(ModelBuilder m, Value x, Value residual) {
        if (config.numExperts() > 0) {
            Value sum = m.leaveRows(new ExpertMlp(config).apply(m, x));
            return m.program().apply(new Add(), residual, m.dropout(2, sum));
        }
        Value gateAndUp = columns(m, "mlp.gate_up_proj", m.enterColumns(x));
        m.program().enter("mlp");
        Value h = m.program().apply(new Gated(Function.SILU), gateAndUp);
        m.program().leave();
        return project(m, "mlp.down_proj", 1, h, residual);
    }

    @Override
    public Logits head(ModelBuilder m, Value x) {
        m.startPiece(config.numLayers() + 1);
        Value y = m.enterColumns(normalise(m, "model.norm", x));
        m.program().enter(headModule());
        Value logits = m.program().apply(MatMul.plain(Transpose.W), y, m.weight("weight"));
        long firstId = m.firstId();
        m.program().leave();
        return new Logits(logits, firstId);
    }

    private Value normalise(ModelBuilder m, String module, Value x) {
        m.program().enter(module);
        Value y = m.program().apply(new RmsNorm(config.rmsNormEpsilon()), x, m.weight("weight"));
        m.program().leave();
        return y;
    }

    /** Column-parallel x w^T. */
    private static Value columns(ModelBuilder m, String module, Value x) {
        m.program().enter(module);
        Value y = m.program().apply(MatMul.plain(Transpose.W), x, m.weight("weight"));
        m.program().leave();
        return y;
    }

    /** residual + row-parallel x w^T, with dropout on the branch. */
    private static Value project(ModelBuilder m, String module, int branch, Value x, Value residual) {
        ProgramBuilder p = m.program();
        p.enter(module);
        Value weight = m.weight("weight");
        Value y;
        if (m.fusesResiduals()) {
            MatMul op = new MatMul(Transpose.W, Operand.ABSENT, Operand.PRESENT, Activation.NONE);
            y = p.apply(op, x, weight, residual);
        } else {
            Value sum = m.leaveRows(p.apply(MatMul.plain(Transpose.W), x, weight));
            y = p.apply(new Add(), residual, m.dropout(1 + branch, sum));
        }
        p.leave();
        return y;
    }
}
