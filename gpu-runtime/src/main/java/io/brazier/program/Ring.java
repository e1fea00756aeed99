package io.brazier.program;

import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.CausalAttentionGrad;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.TensorType;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Causal attention over a sequence that is split over the context axis, as {@link io.brazier.tensor.ContextSplit} cuts it: blocks
 * of keys and values go round a ring while every rank keeps its queries (arXiv:2310.01889, alg. 1). {@link RingAttention} and its
 * gradient are what modules and Autodiff see; {@code pass.RingExpansion} replaces them by the other ops, each of which works on one
 * block [B, T, 2 G K] of keys, then values. T is the local length.
 *
 * <p>Samples (S0) and heads (S2) may be sharded too. The number of a step is the distance that a block has travelled.
 */
public sealed interface Ring extends Op {

    /**
     * What a rank's queries see of a block. Of two ranks the lower one holds the earlier first chunk and the later second one, so
     * either all queries see half of the keys, or half of the queries see all of them: the same work.
     */
    enum Mask {
        /** The block is of a lower rank: all queries see the first half of its keys. */
        EARLIER,
        /** The block is of a higher rank: the second half of the queries see all its keys. */
        LATER;

        /** The mask of rank at a step, 1 .. size - 1, of a ring. */
        static Mask at(int rank, int size, int step) {
            return Math.floorMod(rank - step, size) < rank ? EARLIER : LATER;
        }

        /** First of the T queries that see the block. */
        public long firstQuery(long numTokens) {
            return this == EARLIER ? 0 : numTokens / 2;
        }

        /** Keys of the T in a block that are seen, from the first one. */
        public long numKeys(long numTokens) {
            return this == EARLIER ? numTokens / 2 : numTokens;
        }
    }

    Heads heads();

    /**
     * o = softmax(scale q k^T, causal) v over the whole sequence; qkv [B, T, (H + 2 G) K] S1 on cp -> o [B, T, H K] S1, lse
     * [B, H, T] S2. Backward keeps qkv, o, lse. The plain reference is that of a ring of one rank.
     */
    record RingAttention(Heads heads, int size, int rank) implements Ring {
        public RingAttention {
            checkRank(size, rank);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType qkv = in.get(0);
            RingTypes.checkBlock("qkv", qkv, heads.fused());
            Rules.require(
                    size == 1 || qkv.shape().dim(1) % 2 == 0,
                    "qkv " + qkv + " must hold two chunks of equal length on axis cp");
            return List.of(RingTypes.output(heads, qkv), RingTypes.statistics(heads, qkv));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                Op gradient = new RingAttentionGrad(heads, size, rank);
                g.contribute(
                        0,
                        g.emit(gradient, g.input(0), g.output(0), g.output(1), g.gradient(0))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return new CausalAttention(heads).flops(in) + (size - 1) * 2 * RingTypes.blockPairs(heads, in.get(0));
        }

        @Override
        public double bytes(List<TensorType> in) {
            List<TensorType> out = infer(in);
            List<TensorType> block = List.of(in.get(0), RingTypes.keyValues(heads, in.get(0)), out.get(0), out.get(1));
            return in.get(0).bytes()
                    + out.stream().mapToDouble(TensorType::bytes).sum()
                    + (size == 1 ? 0 : new PackKeyValues(heads).bytes(in))
                    + IntStream.range(1, size)
                            .mapToDouble(x -> block(x).bytes(block))
                            .sum();
        }

        /** The op of a step. */
        public AttentionBlock block(int step) {
            return new AttentionBlock(heads, Mask.at(rank, size, step));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            requireOne(size);
            return new CausalAttention(heads).reference(types, in);
        }
    }

    /** dqkv of {@link RingAttention}; operands qkv, o, lse, dO. */
    record RingAttentionGrad(Heads heads, int size, int rank) implements Ring {
        public RingAttentionGrad {
            checkRank(size, rank);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4);
            RingTypes.checkBlock("qkv", in.get(0), heads.fused());
            RingTypes.checkResults(heads, in.get(0), in.get(1), in.get(2), in.get(3));
            return List.of(in.get(0).gradient());
        }

        @Override
        public double flops(List<TensorType> in) {
            return new CausalAttentionGrad(heads).flops(in) + (size - 1) * 5 * RingTypes.blockPairs(heads, in.get(0));
        }

        @Override
        public double bytes(List<TensorType> in) {
            TensorType qkv = in.get(0);
            double once = in.stream().mapToDouble(TensorType::bytes).sum() + qkv.bytes();
            if (size == 1) {
                return once;
            }
            List<TensorType> block = List.of(qkv, RingTypes.keyValues(heads, qkv), in.get(1), in.get(2), in.get(3));
            TensorType dq = RingTypes.sums(RingTypes.output(heads, qkv));
            TensorType dkv = RingTypes.sums(RingTypes.keyValues(heads, qkv));
            return once
                    + new PackKeyValues(heads).bytes(List.of(qkv))
                    + new JoinGradients(heads).bytes(List.of(qkv.gradient(), dq, dkv))
                    + (size - 2) * 3.0 * dkv.bytes()
                    + IntStream.range(1, size)
                            .mapToDouble(x -> gradient(x).bytes(block))
                            .sum();
        }

        /** The op of a step: the first one starts the sum of dq. */
        public AttentionBlockGrad gradient(int step) {
            return new AttentionBlockGrad(
                    heads, Mask.at(rank, size, step), step == 1 ? Operand.ABSENT : Operand.PRESENT);
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            requireOne(size);
            return new CausalAttentionGrad(heads).reference(types, in);
        }
    }

    /** Attention to the rank's own block, whose local order is that of its positions: qkv -> o, lse, to which others are added. */
    record OwnBlock(Heads heads) implements Ring {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            return new RingAttention(heads, 1, 0).infer(in);
        }

        @Override
        public double flops(List<TensorType> in) {
            return new CausalAttention(heads).flops(in);
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return new CausalAttention(heads).reference(types, in);
        }
    }

    /** The part of the rank's own block in dqkv; operands qkv, o, lse, dO. */
    record OwnBlockGrad(Heads heads) implements Ring {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            return new RingAttentionGrad(heads, 1, 0).infer(in);
        }

        @Override
        public double flops(List<TensorType> in) {
            return new CausalAttentionGrad(heads).flops(in);
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return new CausalAttentionGrad(heads).reference(types, in);
        }
    }

    /** The block that a rank gives to the ring: qkv [B, T, (H + 2 G) K] -> kv [B, T, 2 G K]. */
    record PackKeyValues(Heads heads) implements Ring {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            RingTypes.checkBlock("qkv", in.get(0), heads.fused());
            return List.of(RingTypes.keyValues(heads, in.get(0)));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 0;
        }

        @Override
        public double bytes(List<TensorType> in) {
            return 2.0 * RingTypes.keyValues(heads, in.get(0)).bytes();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return List.of(RingReference.pack(heads, types.get(0).shape(), in.get(0)));
        }
    }

    /**
     * Attention to one more block, by the online softmax: with o' and lse' of the block alone, lse becomes
     * log(exp(lse) + exp(lse')) and o becomes o exp(lse_old - lse) + o' exp(lse' - lse), in place. Operands qkv (its queries), kv
     * [B, T, 2 G K], o, lse.
     */
    record AttentionBlock(Heads heads, Mask mask) implements Ring {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4);
            RingTypes.checkBlock("qkv", in.get(0), heads.fused());
            Rules.same("kv", in.get(1), "the block", RingTypes.keyValues(heads, in.get(0)));
            RingTypes.checkResults(
                    heads, in.get(0), in.get(2), in.get(3), in.get(2).gradient());
            return List.of(in.get(2), in.get(3));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 2 * RingTypes.blockPairs(heads, in.get(0));
        }

        @Override
        public double bytes(List<TensorType> in) {
            TensorType o = in.get(2);
            double queries = RingTypes.output(heads, in.get(0)).bytes()
                    + 2.0 * (o.bytes() + in.get(3).bytes());
            return RingTypes.seen(mask, queries, in.get(1).bytes());
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.required(0, 2), Alias.required(1, 3));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return RingReference.block(heads, mask, types.get(0).shape(), in);
        }
    }

    /**
     * The part of one block in the gradient of {@link RingAttention}, with the o and lse of the whole sequence (arXiv:2307.08691,
     * alg. 2): qkv, kv, o, lse, dO, and the sum over earlier blocks of dq, in place -> dq [B, T, H K], dkv [B, T, 2 G K], both f32.
     */
    record AttentionBlockGrad(Heads heads, Mask mask, Operand addend) implements Ring {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 5 + addend.count());
            RingTypes.checkBlock("qkv", in.get(0), heads.fused());
            Rules.same("kv", in.get(1), "the block", RingTypes.keyValues(heads, in.get(0)));
            RingTypes.checkResults(heads, in.get(0), in.get(2), in.get(3), in.get(4));
            TensorType dq = RingTypes.sums(RingTypes.output(heads, in.get(0)));
            if (addend == Operand.PRESENT) {
                Rules.same("the sum of dq", in.get(5), "dq", dq);
            }
            return List.of(dq, RingTypes.sums(in.get(1)));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 5 * RingTypes.blockPairs(heads, in.get(0));
        }

        @Override
        public double bytes(List<TensorType> in) {
            TensorType dq = RingTypes.sums(RingTypes.output(heads, in.get(0)));
            double queries = RingTypes.output(heads, in.get(0)).bytes()
                    + in.get(2).bytes()
                    + in.get(3).bytes()
                    + in.get(4).bytes()
                    + addend.count() * 2.0 * dq.bytes();
            double fresh = addend == Operand.PRESENT ? 0 : dq.bytes();
            return RingTypes.seen(mask, queries, in.get(1).bytes())
                    + fresh
                    + RingTypes.sums(in.get(1)).bytes();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.required(0, 5)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return RingReference.blockGrad(heads, mask, types.get(0).shape(), in);
        }
    }

    /** dqkv + (dq, dkv), in place; operands dqkv [B, T, (H + 2 G) K], dq [B, T, H K] and dkv [B, T, 2 G K]. */
    record JoinGradients(Heads heads) implements Ring {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            TensorType qkv = in.get(0).gradient();
            RingTypes.checkBlock("qkv", qkv, heads.fused());
            Rules.same("dq", in.get(1), "its gradient", RingTypes.sums(RingTypes.output(heads, qkv)));
            Rules.same("dkv", in.get(2), "its gradient", RingTypes.sums(RingTypes.keyValues(heads, qkv)));
            return List.of(in.get(0));
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.required(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return List.of(RingReference.join(heads, types.get(0).shape(), in));
        }
    }

    private static void checkRank(int size, int rank) {
        Rules.require(0 <= rank && rank < size, "rank " + rank + " of a ring of " + size);
    }

    private static void requireOne(int size) {
        Rules.require(size == 1, "one rank of a ring of " + size + " does not hold the whole sequence");
    }
}
