package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.exec.Backend;
import io.brazier.plan.RankPlan;
import io.brazier.program.Attention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Collective;
import io.brazier.program.Elementwise;
import io.brazier.program.Experts;
import io.brazier.program.Fused;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Norm;
import io.brazier.program.Op;
import io.brazier.program.Optimizer;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/** Lowers instructions to the native kernels of this machine. */
public final class CpuBackend implements Backend {

    /** Makes the kernel of one op. */
    interface Lowering<T extends Op> {
        Runnable lower(T op, Instruction i, Addresses a);
    }

    private final Map<Class<?>, Lowering<?>> lowerings = new HashMap<>();
    private final Map<CpuMatMul.Key, CpuMatMul> products = new HashMap<>();
    private final int numThreads;
    private Function<Group, Communicator> communicators;

    /**
     * @param numThreads threads that kernels use, the calling one included
     * @param communicators of this rank by group; not closed here
     */
    public CpuBackend(int numThreads, Function<Group, Communicator> communicators) {
        this(numThreads);
        this.communicators = communicators;
        new CpuCollectives(communicators).putInto(this);
    }

    /** A back end for programs without collectives. */
    public CpuBackend(int numThreads) {
        if (numThreads < 1) {
            throw new IllegalArgumentException("numThreads " + numThreads + " must be at least 1");
        }
        this.numThreads = numThreads;
        bindThread();
        matrix();
        fused();
        elementwise();
        norms();
        attention();
        optimizer();
        CpuVocabulary.putInto(this);
        CpuLlama.putInto(this);
        CpuExperts.putInto(this);
        CpuRing.putInto(this);
        CpuBrainFloat.putInto(this);
    }

    <T extends Op> void put(Class<T> type, Lowering<T> lowering) {
        lowerings.put(type, lowering);
    }

    /** Ops that this back end runs. */
    public Set<Class<?>> supported() {
        return lowerings.keySet();
    }

    private void matrix() {
        put(MatMul.class, (op, i, a) -> {
            CpuMatMul product = product(op, i);
            long bias = op.bias() == Operand.PRESENT ? a.input(2) : 0;
            long addend = op.addend() == Operand.PRESENT ? a.input(i.inputs().size() - 1) : 0;
            return () -> product.run(a.input(0), a.input(1), bias, addend, a.output(0), a.workspace());
        });
        put(Matrix.SumRows.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            long addend = op.addend() == Operand.PRESENT ? a.input(1) : 0;
            return () -> CpuNative.sumRows(a.input(0), addend, a.output(0), x.rows(), x.width());
        });
    }

    private void fused() {
        put(Fused.LinearGrad.class, this::lowerParts);
        put(Fused.MatMulGeluGrad.class, this::lowerParts);
    }

    private CpuMatMul product(MatMul op, Instruction i) {
        Shape x = shape(i, 0);
        Shape y = i.outputs().get(0).type().shape();
        long contracted = op.transpose() == Transpose.X ? x.rows() : x.width();
        return product(new CpuMatMul.Key(op, y.rows(), y.width(), contracted));
    }

    CpuMatMul product(CpuMatMul.Key key) {
        return products.computeIfAbsent(key, CpuMatMul::new);
    }

    private void elementwise() {
        put(Elementwise.Activate.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            long x = a.input(0);
            long y = a.output(0);
            return switch (op.function()) {
                case GELU_TANH -> () -> CpuNative.gelu(x, y, count);
                case GELU -> () -> CpuNative.erfGelu(x, y, count);
                case RELU -> () -> CpuNative.relu(x, y, count);
                case SILU -> () -> CpuNative.silu(x, y, count);
            };
        });
        put(Elementwise.ActivateGrad.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            long x = a.input(0);
            long dy = a.input(1);
            long dx = a.output(0);
            return switch (op.function()) {
                case GELU_TANH -> () -> CpuNative.geluGrad(x, dy, dx, count);
                case GELU -> () -> CpuNative.erfGeluGrad(x, dy, dx, count);
                case RELU -> () -> CpuNative.reluGrad(x, dy, dx, count);
                case SILU -> () -> CpuNative.siluGrad(x, dy, dx, count);
            };
        });
        put(Elementwise.Add.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            return () -> CpuNative.add(a.input(0), a.input(1), a.output(0), count);
        });
        put(Elementwise.Scale.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            return () -> CpuNative.scale(a.input(0), a.output(0), count, (float) op.factor());
        });
        put(Elementwise.Share.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            return () -> CpuNative.scale(a.input(0), a.output(0), count, 1f / op.size());
        });
        put(Elementwise.Dropout.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            return () -> {
                long local = 0;
                for (long b = 0; b < x.dim(0); b++) {
                    for (Range range : op.tokens()) {
                        long skipped = local * x.width() * Float.BYTES;
                        CpuNative.dropout(
                                a.input(0) + skipped,
                                a.output(0) + skipped,
                                range.length() * x.width(),
                                (float) op.rate(),
                                a.input(1),
                                b * op.sequenceLength() + range.start(),
                                op.stream(),
                                x.width());
                        local += range.length();
                    }
                }
            };
        });
        put(Elementwise.AddBias.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            long addend = op.addend() == Operand.PRESENT ? a.input(2) : 0;
            return () -> CpuNative.addBias(a.input(0), a.input(1), addend, a.output(0), x.rows(), x.width());
        });
    }

    private void norms() {
        put(Norm.LayerNorm.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            return () -> CpuNative.layerNorm(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.output(0),
                    a.output(1),
                    a.output(2),
                    x.rows(),
                    x.width(),
                    (float) op.epsilon());
        });
        put(Norm.LayerNormGradInput.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            long addend = op.addend() == Operand.PRESENT ? a.input(5) : 0;
            return () -> CpuNative.layerNormGradInput(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.input(3),
                    a.input(4),
                    addend,
                    a.output(0),
                    x.rows(),
                    x.width());
        });
        put(Norm.LayerNormGradParameters.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            boolean accumulate = op.addends() == Operand.PRESENT;
            long gamma = accumulate ? a.input(4) : 0;
            long beta = accumulate ? a.input(5) : 0;
            return () -> CpuNative.layerNormGradParameters(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.input(3),
                    gamma,
                    beta,
                    a.output(0),
                    a.output(1),
                    x.rows(),
                    x.width());
        });
    }

    private void attention() {
        put(Attention.CausalAttention.class, (op, i, a) -> {
            Shape s = shape(i, 0);
            Heads h = op.heads();
            return () -> CpuNative.attention(
                    a.input(0),
                    a.output(0),
                    a.output(1),
                    a.workspace(),
                    (int) s.dim(0),
                    (int) s.dim(1),
                    h.heads(),
                    h.groups(),
                    h.width(),
                    (float) h.scale());
        });
        put(Attention.CausalAttentionGrad.class, (op, i, a) -> {
            Shape s = shape(i, 0);
            Heads h = op.heads();
            return () -> CpuNative.attentionGrad(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.input(3),
                    a.output(0),
                    a.workspace(),
                    (int) s.dim(0),
                    (int) s.dim(1),
                    h.heads(),
                    h.groups(),
                    h.width(),
                    (float) h.scale());
        });
        put(Attention.CachedAttention.class, (op, i, a) -> {
            Shape s = shape(i, 0);
            Heads h = op.heads();
            int capacity = (int) shape(i, 1).dim(2);
            return () -> CpuNative.cachedAttention(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.input(3),
                    a.output(0),
                    (int) s.dim(0),
                    (int) s.dim(1),
                    h.heads(),
                    h.groups(),
                    h.width(),
                    capacity,
                    (float) h.scale());
        });
    }

    private void optimizer() {
        put(Optimizer.SquaredSum.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            boolean accumulate = op.addend() == Operand.PRESENT;
            return () -> CpuNative.squaredSum(a.input(0), count, op.share(), a.output(0), accumulate);
        });
        put(Optimizer.AdamW.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            return () -> CpuNative.adamw(
                    a.input(0), a.input(1), a.input(2), a.input(3), count, a.input(4), (float) op.weightDecay());
        });
    }

    static Shape shape(Instruction i, int input) {
        return i.inputs().get(input).type().shape();
    }

    @Override
    public long allocate(long bytes) {
        return CpuNative.allocate(bytes);
    }

    @Override
    public void free(long address, long bytes) {
        CpuNative.free(address, bytes);
    }

    @Override
    public long workspaceBytes(Instruction instruction) {
        if (CpuBrainFloat.converts(instruction)) {
            return CpuBrainFloat.workspaceBytes(this, instruction);
        }
        Instruction i = CpuRing.local(instruction);
        if (i.op() instanceof MatMul op) {
            return product(op, i).scratchBytes();
        }
        if (i.op() instanceof Fused op) {
            return workspaceBytesOfParts(op, i);
        }
        if (i.op() instanceof BatchedMatMul || i.op() instanceof Experts) {
            return CpuExperts.workspaceBytes(this, i);
        }
        if (i.op() instanceof Collective) {
            return CpuCollectives.workspaceBytes(i);
        }
        if (i.op() instanceof Attention.CausalAttention op) {
            Heads h = op.heads();
            Shape s = shape(i, 0);
            return CpuNative.attentionScratchBytes(
                    (int) s.dim(0), (int) s.dim(1), h.heads(), h.groups(), h.width(), numThreads);
        }
        if (i.op() instanceof Attention.CausalAttentionGrad op) {
            Heads h = op.heads();
            Shape s = shape(i, 0);
            return CpuNative.attentionGradScratchBytes(
                    (int) s.dim(0), (int) s.dim(1), h.heads(), h.groups(), h.width(), numThreads);
        }
        return CpuRing.workspaceBytes(i, numThreads);
    }

    @Override
    @SuppressWarnings("unchecked")
    public Runnable lower(Instruction i, Addresses a) {
        if (CpuBrainFloat.converts(i)) {
            return CpuBrainFloat.lower(this, i, a);
        }
        Lowering<Op> lowering = (Lowering<Op>) lowerings.get(i.op().getClass());
        if (lowering == null) {
            throw new AssertionError("the CPU back end has no kernel for " + i.op().mnemonic());
        }
        return lowering.lower(i.op(), i, a);
    }

    @Override
    public Runnable start(RankPlan.Transfer transfer, long address) {
        Communicator communicator = communicators.apply(Group.of(Axis.PP));
        long bytes = transfer.slice().bytes();
        return (transfer.direction() == RankPlan.Transfer.Direction.SEND
                        ? communicator.send(address, bytes, transfer.peer())
                        : communicator.receive(address, bytes, transfer.peer()))::await;
    }

    @Override
    public void copy(long target, long source, long bytes) {
        CpuNative.copy(target, source, bytes);
    }

    @Override
    public void upload(ByteBuffer source, long address) {
        int bytes = source.remaining();
        CpuNative.wrap(address, bytes).put(source);
    }

    @Override
    public void download(long address, ByteBuffer target) {
        target.put(CpuNative.wrap(address, target.remaining()));
    }

    @Override
    public void fill(long address, long numFloats, float value) {
        CpuNative.fill(address, numFloats, value);
    }

    @Override
    public void bindThread() {
        CpuNative.setNumThreads(numThreads);
    }

    @Override
    public void close() {
        products.values().forEach(CpuMatMul::close);
    }
}
