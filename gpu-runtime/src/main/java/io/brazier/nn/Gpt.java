package io.brazier.nn;

import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ParameterSpec.Init;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Elementwise.Activate;
import io.brazier.program.Elementwise.Add;
import io.brazier.program.Elementwise.AddBias;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Lookup.Embedding;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Norm.LayerNorm;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import java.util.ArrayList;
import java.util.List;

/**
 * GPT-2: pre-norm blocks of causal attention and an MLP, learned positions, as a rule a head tied to the embedding (Radford et al. 2019;
 * names and shapes as in Hugging Face's gpt2, weights of linear layers stored [in, out]). Residual projections are drawn with
 * standard deviation 0.02 / sqrt(2 L).
 */
public final class Gpt implements Model {
    private static final double STANDARD_DEVIATION = 0.02;

    private final GptConfig config;

    public Gpt(GptConfig config) {
        this.config = config;
    }

    @Override
    public GptConfig config() {
        return config;
    }

    @Override
    public Heads heads(ModelBuilder m, int layer) {
        double scale = config.variants().contains(Variant.UNSCALED_ATTENTION) ? 1 : 1 / Math.sqrt(config.headWidth());
        if (config.variants().contains(Variant.ATTENTION_SCALED_BY_LAYER)) {
            scale /= layer + 1;
        }
        int local = config.numHeads() / m.view().size(Axis.TP);
        return new Heads(local, local, config.headWidth(), scale);
    }

    @Override
    public List<ParameterSpec> parameters(int piece) {
        List<ParameterSpec> specs = new ArrayList<>();
        int d = config.width();
        if (piece == 0) {
            specs.add(vocabulary("wte.weight"));
            specs.add(ParameterSpec.normal("wpe.weight", STANDARD_DEVIATION, config.maxPositions(), d)
                    .atSequence());
        } else if (piece <= config.numLayers()) {
            double residual = STANDARD_DEVIATION / Math.sqrt(2.0 * config.numLayers());
            String block = "h." + (piece - 1) + ".";
            norm(specs, block + "ln_1");
            columns(specs, block + "attn.c_attn", d, List.of((long) d, (long) d, (long) d));
            rows(specs, block + "attn.c_proj", residual, d, d);
            norm(specs, block + "ln_2");
            columns(specs, block + "mlp.c_fc", d, List.of((long) config.hiddenWidth()));
            rows(specs, block + "mlp.c_proj", residual, config.hiddenWidth(), d);
        } else {
            norm(specs, "ln_f");
            specs.add(vocabulary(headModule() + ".weight"));
        }
        return specs;
    }

    private String headModule() {
        return config.variants().contains(Variant.UNTIED_HEAD) ? "lm_head" : "wte";
    }

    private ParameterSpec vocabulary(String name) {
        return ParameterSpec.normal(name, STANDARD_DEVIATION, config.vocabularySize(), config.width())
                .cut(Axis.TP, 0);
    }

    private static void columns(List<ParameterSpec> specs, String path, int in, List<Long> parts) {
        long out = parts.stream().mapToLong(Long::longValue).sum();
        specs.add(ParameterSpec.normal(path + ".weight", STANDARD_DEVIATION, in, out)
                .cut(Axis.TP, 1, parts));
        specs.add(ParameterSpec.constant(path + ".bias", Init.ZEROS, out).cut(Axis.TP, 0, parts));
    }

    private static void rows(List<ParameterSpec> specs, String path, double standardDeviation, int in, int out) {
        specs.add(ParameterSpec.normal(path + ".weight", standardDeviation, in, out)
                .cut(Axis.TP, 0));
        specs.add(ParameterSpec.constant(path + ".bias", Init.ZEROS, out).atSequence());
    }

    private void norm(List<ParameterSpec> specs, String path) {
        specs.add(ParameterSpec.constant(path + ".weight", Init.ONES, config.width())
                .atSequence());
        specs.add(ParameterSpec.constant(path + ".bias", Init.ZEROS, config.width())
                .atSequence());
    }

    @Override
    public Value embed(ModelBuilder m, Value tokens) {
        ProgramBuilder p = m.program();
        m.startPiece(0);
        if (m.view().tensor().isEmpty()) {
            p.enter("wpe");
            Value x = p.apply(new Embedding(Operand.ABSENT, 0), m.positions(), m.weight("weight"));
            p.leave();
            p.enter("wte");
            x = m.dropout(0, p.apply(new Embedding(Operand.PRESENT, 0), tokens, m.weight("weight"), x));
            p.leave();
            return x;
        }
        p.enter("wte");
        Value x = m.leaveRows(p.apply(new Embedding(Operand.ABSENT, m.firstId()), tokens, m.weight("weight")));
        p.leave();
        p.enter("wpe");
        x = m.dropout(0, p.apply(new Embedding(Operand.PRESENT, 0), m.sequencePositions(), m.weight("weight"), x));
        p.leave();
        return x;
    }

    @Override
    public Value block(ModelBuilder m, int layer, Value x, AttentionRule attention) {
        ProgramBuilder p = m.program();
        m.startPiece(layer + 1);
        p.enter("h." + layer);
        Value qkv = columns(m, "attn.c_attn", m.enterColumns(normalise(m, "ln_1", x)), Activation.NONE);
        p.enter("attn");
        Value o = attention.attend(layer, qkv);
        p.leave();
        x = project(m, "attn.c_proj", 0, o, x);
        Value h = activated(m, m.enterColumns(normalise(m, "ln_2", x)));
        x = project(m, "mlp.c_proj", 1, h, x);
        p.leave();
        return x;
    }

    @Override
    public Logits head(ModelBuilder m, Value x) {
        m.startPiece(config.numLayers() + 1);
        Value y = m.enterColumns(normalise(m, "ln_f", x));
        m.program().enter(headModule());
        Value logits = m.program().apply(MatMul.plain(Transpose.W), y, m.weight("weight"));
        long firstId = m.firstId();
        m.program().leave();
        return new Logits(logits, firstId);
    }

    /** f(linear(x)); inference needs no value before f, so it rides in the product's epilogue where there is one. */
    private Value activated(ModelBuilder m, Value x) {
        ProgramBuilder p = m.program();
        if (m.setting().mode() == Mode.INFERENCE && config.activation() == Function.GELU_TANH) {
            return columns(m, "mlp.c_fc", x, Activation.GELU_TANH);
        }
        Value h = columns(m, "mlp.c_fc", x, Activation.NONE);
        p.enter("mlp");
        h = p.apply(new Activate(config.activation()), h);
        p.leave();
        return h;
    }

    private Value normalise(ModelBuilder m, String module, Value x) {
        m.program().enter(module);
        Value y = m.program().apply(new LayerNorm(config.layerNormEpsilon()), x, m.weight("weight"), m.weight("bias"));
        m.program().leave();
        return y;
    }

    /** Column-parallel x w + b. */
    private static Value columns(ModelBuilder m, String module, Value x, Activation activation) {
        m.program().enter(module);
        MatMul op = new MatMul(Transpose.NONE, Operand.PRESENT, Operand.ABSENT, activation);
        Value y = m.program().apply(op, x, m.weight("weight"), m.weight("bias"));
        m.program().leave();
        return y;
    }

    /** residual + row-parallel x w + b, with dropout on the branch. */
    private static Value project(ModelBuilder m, String module, int branch, Value x, Value residual) {
        ProgramBuilder p = m.program();
        p.enter(module);
        Value weight = m.weight("weight");
        Value bias = m.weight("bias");
        Value y;
        if (m.fusesResiduals()) {
            MatMul op = new MatMul(Transpose.NONE, Operand.PRESENT, Operand.PRESENT, Activation.NONE);
            y = p.apply(op, x, weight, bias, residual);
        } else {
            Value sum = m.leaveRows(p.apply(MatMul.plain(Transpose.NONE), x, weight));
            boolean plain = m.setting().dropout() == 0;
            y = plain
                    ? p.apply(new AddBias(Operand.PRESENT), sum, bias, residual)
                    : p.apply(
                            new Add(),
                            residual,
                            m.dropout(1 + branch, p.apply(new AddBias(Operand.ABSENT), sum, bias)));
        }
        p.leave();
        return y;
    }
}
