package io.brazier.spark.data;

import org.apache.spark.Partitioner;

/** Cuts the chunks of all source partitions, in their order, into numParts runs of equal length. */
final class ContiguousPartitioner extends Partitioner {
    private static final long serialVersionUID = 1L;

    private final int numParts;
    private final long[] firstChunk; // [source partitions + 1]

    ContiguousPartitioner(int numParts, long[] numChunks) {
        this.numParts = numParts;
        this.firstChunk = new long[numChunks.length + 1];
        for (int x = 0; x < numChunks.length; x++) {
            firstChunk[x + 1] = firstChunk[x] + numChunks[x];
        }
    }

    static long key(int sourcePartition, int chunk) {
        return (long) sourcePartition << Integer.SIZE | chunk;
    }

    @Override
    public int numPartitions() {
        return numParts;
    }

    @Override
    public int getPartition(Object key) {
        long value = (Long) key;
        long index = firstChunk[(int) (value >>> Integer.SIZE)] + (int) value;
        return (int) (index * numParts / firstChunk[firstChunk.length - 1]);
    }
}
