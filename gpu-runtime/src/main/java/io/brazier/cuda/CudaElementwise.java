package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.program.Elementwise;

/** Launches of elementwise.cu. */
final class CudaElementwise {
    private static final String FILE = "elementwise.cu";

    private CudaElementwise() {}

    static void putInto(CudaBackend backend) {
        backend.put(Elementwise.Add.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            return backend.launch(FILE, "add" + suffix(i.outputs().get(0)))
                    .over(count / 4)
                    .pointers(a.input(0), a.input(1), a.output(0))
                    .longs(count)
                    .build();
        });
    }
}
