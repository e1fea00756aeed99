package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.cuda.CudaBackend;
import io.brazier.cuda.CudaDevice;
import io.brazier.exec.Backend;
import io.brazier.program.Attention;
import io.brazier.program.Collective;
import io.brazier.program.Fused.LinearGrad;
import io.brazier.program.Fused.MatMulGeluGrad;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Op;
import io.brazier.program.Ring;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import io.brazier.tests.ops.OpSuite;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The table of ops on the CUDA back end. */
@Tag("cuda")
@Tag(TestGpu.TAG)
class CudaOpTest extends OpSuite {
    private CudaDevice device;
    private CudaBackend backend;

    @BeforeAll
    void open() {
        TestGpu.load();
        device = CudaDevice.open(0);
        backend = new CudaBackend(device, CudaBackend.Mode.EAGER);
    }

    @AfterAll
    void close() {
        backend.close();
        device.close();
    }

    @Override
    protected List<Backend> backends() {
        return List.of(backend);
    }

    @Override
    protected Set<Class<?>> supported() {
        return backend.supported();
    }

    @Override
    protected int guardBytes() {
        return TestGpu.guardBytes();
    }

    /**
     * What is rounded to bf16 once more: the probabilities of attention and their gradients, as operands of tensor cores, and what a
     * product gives to a kernel of GELU's gradient.
     */
    @Override
    protected double moreTolerance(Op op, List<TensorType> types) {
        boolean rounds = op instanceof Attention || op instanceof Ring || op instanceof MatMulGeluGrad;
        return rounds && types.get(0).dtype() == DType.BF16 ? 0x1p-8 : 0;
    }

    @Override
    protected void checkAfter(String row) {
        TestGpu.assertNoViolations(row);
    }

    /** cuBLASLt takes what GELU reads in rows of a multiple of 8 elements; for others there are kernels, as the rows above show. */
    @Test
    void gradientsRideOnProducts() {
        TestGpu.assumeSimulated();
        assertEquals(0, kernels(new MatMulGeluGrad(Transpose.W), new long[][] {{5, 3}, {16, 3}, {5, 16}}));
        assertEquals(1, kernels(new MatMulGeluGrad(Transpose.W), new long[][] {{5, 3}, {15, 3}, {5, 15}}));
        assertEquals(0, kernels(new LinearGrad(Operand.ABSENT), new long[][] {{5, 3}, {5, 7}}));
        assertEquals(1, kernels(new LinearGrad(Operand.PRESENT), new long[][] {{5, 3}, {5, 7}, {3, 7}, {7}}));
    }

    private long kernels(Op op, long[][] shapes) {
        long before = Cudasim.calls("cuLaunchKernel");
        compare(op, shapes);
        return Cudasim.calls("cuLaunchKernel") - before;
    }

    /** Collectives need communicators, which a back end alone has not. */
    @Test
    void everyOpHasAKernel() {
        Set<Class<?>> missing = new HashSet<>(ops());
        missing.removeAll(supported());
        missing.removeAll(List.of(Collective.class.getPermittedSubclasses()));
        assertEquals(Set.of(), missing);
    }
}
