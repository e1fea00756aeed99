package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Attention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Instruction;
import io.brazier.program.Rotary;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import java.util.Arrays;

/** Launches of attention.cu, attention_grad.cu, attention_f32.cu and rotary.cu. */
final class CudaAttention {
    private CudaAttention() {}

    /** Which keys queries see: those from firstQuery on the first numKeys, up to their own position where causal. */
    record Mask(long firstQuery, long numKeys, boolean causal) {
        static Mask causal(long numTokens) {
            return new Mask(0, numTokens, true);
        }
    }

    /** Where keys and values lie: address of the first of each, elements from a token, a head, a sample to the next. */
    record Keys(long k, long v, long stride, long head, long sample) {
        /** Behind the queries of the fused projection. */
        static Keys in(Value qkv, Heads h, long address) {
            long k = address + bytes(qkv, (long) h.heads() * h.width());
            return rows(k, k + bytes(qkv, (long) h.groups() * h.width()), fused(h), h, qkv);
        }

        /** In rows of any stride, as many as the queries'. */
        static Keys rows(long k, long v, long stride, Heads h, Value qkv) {
            return new Keys(k, v, stride, h.width(), qkv.type().shape().dim(1) * stride);
        }
    }

    /** Addresses of what backward needs of forward and of the gradient of o; delta [B, H, T] f32 is scratch memory. */
    record Results(long o, long lse, long gradO, long delta) {}

    /**
     * Where gradients go, in rows of the given strides.
     *
     * @param like a value of the gradients' type
     * @param accumulate whether dq is added to what is there
     */
    record Gradients(long dq, long queryStride, long dk, long dv, long keyStride, Value like, boolean accumulate) {}

    static void putInto(CudaBackend backend) {
        backend.put(Attention.CausalAttention.class, (op, i, a) -> causal(backend, op.heads(), i, a));
        backend.put(Attention.CausalAttentionGrad.class, (op, i, a) -> causalGrad(backend, op.heads(), i, a));
        backend.putWorkspace(
                Attention.CausalAttentionGrad.class,
                i -> i.inputs().get(2).type().bytes());
        backend.put(Rotary.class, (op, i, a) -> rotary(backend, op, i, a, 1));
        backend.put(Rotary.RotaryGrad.class, (op, i, a) -> rotary(backend, op.rotary(), i, a, -1));
    }

    static Runnable causal(CudaBackend backend, Heads h, Instruction i, Addresses a) {
        Value qkv = i.inputs().get(0);
        Keys keys = Keys.in(qkv, h, a.input(0));
        Mask mask = Mask.causal(shape(i, 0).dim(1));
        return forward(backend, h, qkv, a.input(0), keys, mask, 0, a.output(0), a.output(1), false);
    }

    /** The workspace holds delta [B, H, T] f32. */
    static Runnable causalGrad(CudaBackend backend, Heads h, Instruction i, Addresses a) {
        Value qkv = queries(i, 1);
        Keys keys = Keys.in(qkv, h, a.input(0));
        Keys gradients = Keys.in(qkv, h, a.output(0));
        return backward(
                backend,
                h,
                qkv,
                a.input(0),
                keys,
                Mask.causal(shape(i, 0).dim(1)),
                new Results(a.input(1), a.input(2), a.input(3), a.workspace()),
                new Gradients(a.output(0), fused(h), gradients.k, gradients.v, gradients.stride, qkv, false));
    }

    /**
     * o and lse over keys, or both with more keys taken in.
     *
     * @param starts address of the number of tokens before each sample's first, 0 if all are first
     * @param lse 0 if it is not wanted
     */
    static Runnable forward(
            CudaBackend backend,
            Heads h,
            Value qkv,
            long queries,
            Keys keys,
            Mask mask,
            long starts,
            long o,
            long lse,
            boolean merge) {
        Shape s = qkv.type().shape();
        AttentionTiles tiles = AttentionTiles.forward(qkv.type().dtype(), h);
        String file = qkv.type().dtype() == DType.F32 ? "attention_f32.cu" : "attention.cu";
        return backend.launch(file, "attention_" + tiles.width() + suffix(qkv))
                .grid(tiles.blocks(s.dim(1)), h.heads(), s.dim(0))
                .block(tiles.threads())
                .shared(tiles.sharedBytes())
                .pointers(queries, keys.k, keys.v, starts, o, lse)
                .ints(s.dim(1), h.heads(), h.groups(), h.width())
                .longs(fused(h), output(h), keys.stride, keys.head, keys.sample)
                .ints(mask.firstQuery, mask.numKeys, mask.causal ? 1 : 0, merge ? 1 : 0)
                .floats(scale(h))
                .build();
    }

    static Runnable backward(
            CudaBackend backend, Heads h, Value qkv, long queries, Keys keys, Mask mask, Results r, Gradients g) {
        DType type = qkv.type().dtype();
        AttentionTiles dq = AttentionTiles.queryGradient(type, h);
        CudaLaunch queryGradient = gradient(backend, "dq", dq, h.heads(), qkv)
                .pointers(queries, keys.k, keys.v, r.o, r.lse, r.gradO, g.dq, r.delta);
        problem(queryGradient, h, qkv, keys, mask, g.queryStride, g.like).ints(g.accumulate ? 1 : 0);
        AttentionTiles dkv = AttentionTiles.keyGradients(type, h);
        CudaLaunch keyGradients = gradient(backend, "dkv", dkv, h.groups(), qkv)
                .pointers(queries, keys.k, keys.v, r.lse, r.gradO, r.delta, g.dk, g.dv);
        problem(keyGradients, h, qkv, keys, mask, g.keyStride, g.like);
        return inOrder(queryGradient.build(), keyGradients.build());
    }

    private static CudaLaunch gradient(CudaBackend backend, String name, AttentionTiles tiles, int heads, Value qkv) {
        Shape s = qkv.type().shape();
        String file = qkv.type().dtype() == DType.F32 ? "attention_f32.cu" : "attention_grad.cu";
        return backend.launch(file, "attention_" + name + "_" + tiles.width() + suffix(qkv))
                .grid(tiles.blocks(s.dim(1)), heads, s.dim(0))
                .block(tiles.threads())
                .shared(tiles.sharedBytes());
    }

    private static CudaLaunch problem(
            CudaLaunch launch, Heads h, Value qkv, Keys keys, Mask mask, long gradientStride, Value gradient) {
        launch.ints(qkv.type().shape().dim(1), h.heads(), h.groups(), h.width())
                .longs(fused(h), output(h), keys.stride, gradientStride)
                .ints(mask.firstQuery, mask.numKeys, mask.causal ? 1 : 0)
                .floats(scale(h));
        return qkv.type().dtype() == DType.F32
                ? launch
                : launch.ints(gradient.type().dtype() == DType.F32 ? 1 : 0);
    }

    private static Runnable rotary(CudaBackend backend, Rotary op, Instruction i, Addresses a, int direction) {
        Shape qkv = shape(i, 0);
        Heads h = op.heads();
        double[] quarterTurns =
                Arrays.stream(op.frequencies()).map(f -> f / (Math.PI / 2)).toArray();
        return backend.launch("rotary.cu", "rotary" + suffix(i.inputs().get(0)))
                .grid(qkv.rows())
                .shared(4 * h.width())
                .pointers(a.input(0), a.input(1), backend.table(quarterTurns), a.output(0))
                .ints(h.heads() + h.groups(), h.width(), qkv.width())
                .floats(direction)
                .build();
    }

    static Runnable inOrder(Runnable first, Runnable second) {
        return () -> {
            first.run();
            second.run();
        };
    }

    /** The first operand, whose type operand o must share. */
    static Value queries(Instruction i, int o) {
        Value qkv = i.inputs().get(0);
        if (i.inputs().get(o).type().dtype() != qkv.type().dtype()) {
            throw new AssertionError("no kernel takes o " + i.inputs().get(o).type() + " with qkv " + qkv.type());
        }
        return qkv;
    }

    /** Elements of a token's queries, keys and values. */
    static long fused(Heads h) {
        return (h.heads() + 2L * h.groups()) * h.width();
    }

    static long output(Heads h) {
        return (long) h.heads() * h.width();
    }

    /** Elements of a token's keys and values. */
    static long keyValues(Heads h) {
        return 2L * h.groups() * h.width();
    }

    static long bytes(Value like, long numElements) {
        return numElements * like.type().dtype().bytes();
    }

    /** Kernels compare scores before they scale them. */
    static double scale(Heads h) {
        if (!(h.scale() > 0)) {
            throw new IllegalArgumentException("attention with scale " + h.scale() + ": it must be above 0 on CUDA");
        }
        return h.scale();
    }
}
