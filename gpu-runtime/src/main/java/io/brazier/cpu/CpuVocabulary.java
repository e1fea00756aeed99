package io.brazier.cpu;

import io.brazier.program.Lookup;
import io.brazier.program.Loss;
import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.Shape;

/** Lowers what meets the vocabulary: look-ups and losses, over all of it or over a shard. */
final class CpuVocabulary {
    private CpuVocabulary() {}

    static void putInto(CpuBackend backend) {
        lookups(backend);
        wholeLosses(backend);
        shardedLosses(backend);
    }

    private static void lookups(CpuBackend backend) {
        backend.put(Lookup.Embedding.class, (op, i, a) -> {
            long rows = CpuBackend.shape(i, 0).numElements();
            Shape table = CpuBackend.shape(i, 1);
            long addend = op.addend() == Operand.PRESENT ? a.input(2) : 0;
            return () -> CpuNative.embedding(
                    a.input(0), a.input(1), addend, a.output(0), rows, table.width(), table.dim(0), op.firstId());
        });
        backend.put(Lookup.EmbeddingGrad.class, (op, i, a) -> {
            Shape dy = CpuBackend.shape(i, 1);
            boolean accumulate = op.addend() == Operand.PRESENT;
            return () -> CpuNative.embeddingGrad(
                    a.input(0), a.input(1), a.output(0), dy.rows(), dy.width(), op.numRows(), op.firstId(), accumulate);
        });
        backend.put(Lookup.SelectToken.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            long sampleBytes = x.dim(1) * x.width() * Float.BYTES;
            return () -> {
                for (int b = 0; b < x.dim(0); b++) {
                    long row = CpuNative.wrap(a.input(1), (int) x.dim(0) * Integer.BYTES)
                            .getInt(b * Integer.BYTES);
                    long rowBytes = x.width() * Float.BYTES;
                    CpuNative.copy(a.output(0) + b * rowBytes, a.input(0) + b * sampleBytes + row * rowBytes, rowBytes);
                }
            };
        });
    }

    private static void wholeLosses(CpuBackend backend) {
        backend.put(Loss.CrossEntropy.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () -> CpuNative.crossEntropy(
                    a.input(0), a.input(1), a.output(1), a.output(0), x.rows(), x.width(), (float) op.scale(), false);
        });
        backend.put(Loss.CrossEntropyGrad.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () -> CpuNative.crossEntropyGrad(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.input(3),
                    a.output(0),
                    x.rows(),
                    x.width(),
                    op.firstId(),
                    (float) op.scale());
        });
        backend.put(Loss.TokenLogLikelihood.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () -> CpuNative.tokenLogLikelihood(a.input(0), a.input(1), a.output(0), x.rows(), x.width());
        });
    }

    private static void shardedLosses(CpuBackend backend) {
        backend.put(Loss.RowLogSumExp.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () -> CpuNative.rowLogSumExp(a.input(0), a.output(0), x.rows(), x.width());
        });
        backend.put(Loss.ShardedCrossEntropy.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            long shards = CpuBackend.shape(i, 1).dim(0);
            return () -> CpuNative.shardedCrossEntropy(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.output(1),
                    a.output(0),
                    x.rows(),
                    x.width(),
                    shards,
                    op.firstId(),
                    (float) op.scale());
        });
        backend.put(Loss.ShardedTokenLogLikelihood.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            long shards = CpuBackend.shape(i, 1).dim(0);
            return () -> CpuNative.shardedTokenLogLikelihood(
                    a.input(0), a.input(1), a.input(2), a.output(0), x.rows(), x.width(), shards, op.firstId());
        });
    }
}
