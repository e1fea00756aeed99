package io.brazier.nn;

import java.nio.FloatBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads a source in large pieces, the gaps between small ranges along with them: a rank that keeps some columns of a matrix asks for
 * a few elements of each row, and a distant file system takes longer to find them than to send what lies between. One thread uses it.
 */
public final class ReadAhead implements WeightSource {
    private static final int BLOCK = 1 << 20;

    private final WeightSource source;
    private final Map<String, Long> sizes = new HashMap<>();
    private final FloatBuffer block = FloatBuffer.allocate(BLOCK).limit(0);
    private String held = "";
    private long start;

    /** @param parameters of the source */
    public ReadAhead(WeightSource source, List<ParameterSpec> parameters) {
        this.source = source;
        parameters.forEach(spec -> sizes.put(spec.name(), spec.shape().numElements()));
    }

    @Override
    public void read(String parameter, long offset, FloatBuffer target) {
        int count = target.remaining();
        if (count >= BLOCK) {
            source.read(parameter, offset, target);
            return;
        }
        if (!parameter.equals(held) || offset < start || offset + count > start + block.limit()) {
            held = "";
            block.clear().limit((int) Math.min(BLOCK, sizes.get(parameter) - offset));
            source.read(parameter, offset, block);
            held = parameter;
            start = offset;
        }
        target.put(block.slice((int) (offset - start), count));
    }
}
