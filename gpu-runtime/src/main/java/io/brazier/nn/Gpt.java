package io.brazier.nn;

import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ParameterSpec.Init;
import io.brazier.program.Attention.CachedAttention;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Elementwise.Activate;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Lookup.Embedding;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Norm.LayerNorm;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Shape;
import java.util.ArrayList;
import java.util.List;

/**
 * GPT-2: pre-norm blocks of causal attention and an MLP, learned positions, as a rule a head tied to the embedding (Radford et al. 2019;
 * names and shapes as in Hugging Face's gpt2, weights of linear layers stored [in, out]). Residual projections are drawn with
 * standard deviation 0.02 / sqrt(2 L).
 */
public final class Gpt {
    private static final double STANDARD_DEVIATION = 0.02;

    private final GptConfig config;

    /** Where a block's attention finds its keys and values. */
    private interface AttentionRule {
        Value attend(int layer, Value qkv);
    }

    public Gpt(GptConfig config) {
        this.config = config;
    }

    public GptConfig config() {
        return config;
    }

    private Heads heads(int layer) {
        double scale = config.variants().contains(Variant.UNSCALED_ATTENTION) ? 1 : 1 / Math.sqrt(config.headWidth());
        if (config.variants().contains(Variant.ATTENTION_SCALED_BY_LAYER)) {
            scale /= layer + 1;
        }
        return new Heads(config.numHeads(), config.numHeads(), config.headWidth(), scale);
    }

    /** All parameters, in the order in which forward uses them. */
    public List<ParameterSpec> parameters() {
        int d = config.width();
        List<ParameterSpec> specs = new ArrayList<>();
        specs.add(normal("wte.weight", 1, config.vocabularySize(), d));
        specs.add(normal("wpe.weight", 1, config.maxPositions(), d));
        double residualScale = 1 / Math.sqrt(2.0 * config.numLayers());
        for (int x = 0; x < config.numLayers(); x++) {
            String block = "h." + x + ".";
            norm(specs, block + "ln_1");
            linear(specs, block + "attn.c_attn", 1, d, 3 * d);
            linear(specs, block + "attn.c_proj", residualScale, d, d);
            norm(specs, block + "ln_2");
            linear(specs, block + "mlp.c_fc", 1, d, config.hiddenWidth());
            linear(specs, block + "mlp.c_proj", residualScale, config.hiddenWidth(), d);
        }
        norm(specs, "ln_f");
        if (config.variants().contains(Variant.UNTIED_HEAD)) {
            specs.add(normal("lm_head.weight", 1, config.vocabularySize(), d));
        }
        return specs;
    }

    private static ParameterSpec normal(String name, double scale, long... dims) {
        return new ParameterSpec(name, Shape.of(dims), Init.NORMAL, scale * STANDARD_DEVIATION);
    }

    private static void linear(List<ParameterSpec> specs, String path, double scale, int in, int out) {
        specs.add(normal(path + ".weight", scale, in, out));
        specs.add(new ParameterSpec(path + ".bias", Shape.of(out), Init.ZEROS, 0));
    }

    private void norm(List<ParameterSpec> specs, String path) {
        specs.add(new ParameterSpec(path + ".weight", Shape.of(config.width()), Init.ONES, 0));
        specs.add(new ParameterSpec(path + ".bias", Shape.of(config.width()), Init.ZEROS, 0));
    }

    /** Logits [B, T, V] of whole sequences; tokens and positions are [B, T]. */
    public Value logits(ModelBuilder m, Value tokens, Value positions) {
        Value x =
                hidden(m, tokens, positions, (layer, qkv) -> m.program().apply(new CausalAttention(heads(layer)), qkv));
        return head(m, x);
    }

    /**
     * Final hidden states [B, T, D] of new tokens behind a cache.
     *
     * @param caches key and value cache [B, H, M, K] of each layer, in turn
     * @param starts positions [B] of the first new token of each row
     */
    public Value cachedHidden(ModelBuilder m, Value tokens, Value positions, List<Value> caches, Value starts) {
        return hidden(m, tokens, positions, (layer, qkv) -> m.program()
                .apply(
                        new CachedAttention(heads(layer)),
                        qkv,
                        caches.get(2 * layer),
                        caches.get(2 * layer + 1),
                        starts));
    }

    /** Shape of one key or value cache for maxBatch rows of capacity tokens. */
    public Shape cacheShape(int maxBatch, int capacity) {
        return Shape.of(maxBatch, config.numHeads(), capacity, config.headWidth());
    }

    /** Logits [..., V] of final hidden states [..., D]: x W^T, W the embedding or a head of its own. */
    public Value head(ModelBuilder m, Value x) {
        m.program().enter(config.variants().contains(Variant.UNTIED_HEAD) ? "lm_head" : "wte");
        Value logits = m.program().apply(MatMul.plain(Transpose.W), x, m.weight("weight"));
        m.program().leave();
        return logits;
    }

    private Value hidden(ModelBuilder m, Value tokens, Value positions, AttentionRule attention) {
        ProgramBuilder p = m.program();
        p.enter("wpe");
        Value x = p.apply(new Embedding(Operand.ABSENT), positions, m.weight("weight"));
        p.leave();
        p.enter("wte");
        x = m.dropout(p.apply(new Embedding(Operand.PRESENT), tokens, m.weight("weight"), x));
        p.leave();
        for (int layer = 0; layer < config.numLayers(); layer++) {
            p.enter("h." + layer);
            x = block(m, x, layer, attention);
            p.leave();
        }
        return normalise(m, "ln_f", x);
    }

    private Value block(ModelBuilder m, Value x, int layer, AttentionRule attention) {
        ProgramBuilder p = m.program();
        Value qkv = linear(m, "attn.c_attn", normalise(m, "ln_1", x), Activation.NONE);
        p.enter("attn");
        Value o = attention.attend(layer, qkv);
        p.leave();
        x = project(m, "attn.c_proj", o, x);
        Value h = activated(m, normalise(m, "ln_2", x));
        return project(m, "mlp.c_proj", h, x);
    }

    /** f(linear(x)); inference needs no value before f, so it rides in the product's epilogue where there is one. */
    private Value activated(ModelBuilder m, Value x) {
        ProgramBuilder p = m.program();
        if (m.mode() == Mode.INFERENCE && config.activation() == Function.GELU_TANH) {
            return linear(m, "mlp.c_fc", x, Activation.GELU_TANH);
        }
        Value h = linear(m, "mlp.c_fc", x, Activation.NONE);
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

    private static Value linear(ModelBuilder m, String module, Value x, Activation activation) {
        m.program().enter(module);
        MatMul op = new MatMul(Transpose.NONE, Operand.PRESENT, Operand.ABSENT, activation);
        Value y = m.program().apply(op, x, m.weight("weight"), m.weight("bias"));
        m.program().leave();
        return y;
    }

    /** residual + linear(x). */
    private static Value project(ModelBuilder m, String module, Value x, Value residual) {
        if (!m.fusesResiduals()) {
            return m.residual(residual, linear(m, module, x, Activation.NONE));
        }
        m.program().enter(module);
        MatMul op = new MatMul(Transpose.NONE, Operand.PRESENT, Operand.PRESENT, Activation.NONE);
        Value y = m.program().apply(op, x, m.weight("weight"), m.weight("bias"), residual);
        m.program().leave();
        return y;
    }
}
