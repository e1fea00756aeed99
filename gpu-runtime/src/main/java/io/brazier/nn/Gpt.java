package io.brazier.nn;

import io.brazier.nn.ParameterSpec.Init;
import io.brazier.program.Attention.CachedAttention;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Elementwise.Gelu;
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
 * GPT-2: pre-norm blocks of causal attention and a GELU MLP, learned positions, a head tied to the embedding (Radford et al. 2019;
 * names and shapes as in Hugging Face's gpt2, weights of linear layers stored [in, out]). Residual projections are drawn with
 * standard deviation 0.02 / sqrt(2 L).
 */
public final class Gpt {
    private static final double STANDARD_DEVIATION = 0.02;

    private final GptConfig config;
    private final Heads heads;

    /** Where a block's attention finds its keys and values. */
    private interface AttentionRule {
        Value attend(int layer, Value qkv);
    }

    public Gpt(GptConfig config) {
        this.config = config;
        this.heads = new Heads(config.numHeads(), config.numHeads(), config.headWidth());
    }

    public GptConfig config() {
        return config;
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
        Value x = hidden(m, tokens, positions, (layer, qkv) -> m.program().apply(new CausalAttention(heads), qkv));
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
                .apply(new CachedAttention(heads), qkv, caches.get(2 * layer), caches.get(2 * layer + 1), starts));
    }

    /** Shape of one key or value cache for maxBatch rows of capacity tokens. */
    public Shape cacheShape(int maxBatch, int capacity) {
        return Shape.of(maxBatch, config.numHeads(), capacity, config.headWidth());
    }

    /** Logits [..., V] of final hidden states [..., D]: x wte^T. */
    public Value head(ModelBuilder m, Value x) {
        m.program().enter("wte");
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
        Value qkv = linear(m, "attn.c_attn", normalise(m, "ln_1", x));
        p.enter("attn");
        Value o = attention.attend(layer, qkv);
        p.leave();
        x = project(m, "attn.c_proj", o, x);
        Value h = linear(m, "mlp.c_fc", normalise(m, "ln_2", x));
        p.enter("mlp");
        h = p.apply(new Gelu(), h);
        p.leave();
        return project(m, "mlp.c_proj", h, x);
    }

    private Value normalise(ModelBuilder m, String module, Value x) {
        m.program().enter(module);
        Value y = m.program().apply(new LayerNorm(config.layerNormEpsilon()), x, m.weight("weight"), m.weight("bias"));
        m.program().leave();
        return y;
    }

    private static Value linear(ModelBuilder m, String module, Value x) {
        m.program().enter(module);
        MatMul op = new MatMul(Transpose.NONE, Operand.PRESENT, Operand.ABSENT, Activation.NONE);
        Value y = m.program().apply(op, x, m.weight("weight"), m.weight("bias"));
        m.program().leave();
        return y;
    }

    /** residual + linear(x). */
    private static Value project(ModelBuilder m, String module, Value x, Value residual) {
        if (!m.fusesResiduals()) {
            return m.residual(residual, linear(m, module, x));
        }
        m.program().enter(module);
        MatMul op = new MatMul(Transpose.NONE, Operand.PRESENT, Operand.PRESENT, Activation.NONE);
        Value y = m.program().apply(op, x, m.weight("weight"), m.weight("bias"), residual);
        m.program().leave();
        return y;
    }
}
