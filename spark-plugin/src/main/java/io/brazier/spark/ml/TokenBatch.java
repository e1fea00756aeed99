package io.brazier.spark.ml;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Texts on their way between ranks.
 *
 * @param texts tokens of each
 * @param keys of each, which tell it apart in the draw of random numbers
 */
record TokenBatch(List<int[]> texts, long[] keys) {

    byte[] encode() {
        int bytes = texts.stream()
                .mapToInt(text ->
                        Math.addExact(Long.BYTES + Integer.BYTES, Math.multiplyExact(Integer.BYTES, text.length)))
                .reduce(0, Math::addExact);
        ByteBuffer message = ByteBuffer.allocate(bytes);
        for (int x = 0; x < keys.length; x++) {
            message.putLong(keys[x]).putInt(texts.get(x).length);
            for (int token : texts.get(x)) {
                message.putInt(token);
            }
        }
        return message.array();
    }

    static TokenBatch decode(byte[] bytes) {
        ByteBuffer message = ByteBuffer.wrap(bytes);
        List<int[]> texts = new ArrayList<>();
        List<Long> keys = new ArrayList<>();
        while (message.hasRemaining()) {
            keys.add(message.getLong());
            int[] text = new int[message.getInt()];
            message.asIntBuffer().get(text);
            message.position(message.position() + Integer.BYTES * text.length);
            texts.add(text);
        }
        return new TokenBatch(texts, keys.stream().mapToLong(Long::longValue).toArray());
    }
}
