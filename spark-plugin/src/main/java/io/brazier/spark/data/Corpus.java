package io.brazier.spark.data;

import io.brazier.text.Tokenizer;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.storage.StorageLevel;
import org.apache.spark.util.LongAccumulator;
import scala.Tuple2;

/**
 * The tokens of a text column, spread over the executors' disks as chunks that remember their place. Every row ends with the row
 * separator; empty rows are left out.
 */
public final class Corpus implements AutoCloseable {
    private static final int CHUNK_TOKENS = 4096;

    private final JavaPairRDD<Long, int[]> chunks;
    private final long[] numChunks;
    private final long numTokens;

    private Corpus(JavaPairRDD<Long, int[]> chunks, long[] numChunks, long numTokens) {
        this.chunks = chunks;
        this.numChunks = numChunks;
        this.numTokens = numTokens;
    }

    /** What a null row does. */
    public enum Nulls {
        REFUSE,
        SKIP
    }

    /**
     * Tokenizes the column.
     *
     * @throws IllegalArgumentException when it holds null rows that are not to be skipped, or no text at all
     */
    public static Corpus of(
            Dataset<?> table, String column, TokenizerFiles tokenizers, String rowSeparator, Nulls nulls) {
        JavaSparkContext context =
                JavaSparkContext.fromSparkContext(table.sparkSession().sparkContext());
        LongAccumulator numNulls = context.sc().longAccumulator();
        LongAccumulator numRows = context.sc().longAccumulator();
        JavaRDD<String> texts = texts(table, column);
        JavaPairRDD<Long, int[]> chunks = texts.mapPartitionsWithIndex(
                        (x, rows) -> new Chunks(x, rows, tokenizers.open(), rowSeparator, numRows, numNulls), false)
                .mapToPair(chunk -> chunk);
        chunks.persist(StorageLevel.DISK_ONLY());
        List<Tuple2<Integer, long[]>> counts =
                chunks.mapPartitionsToPair(Corpus::count).collect();
        long[] numChunks = new long[texts.getNumPartitions()];
        long numTokens = 0;
        for (Tuple2<Integer, long[]> count : counts) {
            numChunks[count._1()] = count._2()[0];
            numTokens += count._2()[1];
        }
        Corpus corpus = new Corpus(chunks, numChunks, numTokens);
        try {
            corpus.check(column, numRows.value(), numNulls.value(), nulls);
            return corpus;
        } catch (IllegalArgumentException e) {
            corpus.close();
            throw e;
        }
    }

    /** All code points of the column, ascending. */
    public static int[] codePoints(Dataset<?> table, String column, String rowSeparator) {
        BitSet all = new BitSet();
        rowSeparator.codePoints().forEach(all::set);
        for (long[] words :
                texts(table, column).mapPartitions(Corpus::codePointsOf).collect()) {
            all.or(BitSet.valueOf(words));
        }
        return all.stream().toArray();
    }

    public long numTokens() {
        return numTokens;
    }

    /** The tokens as numParts partitions, in the table's order throughout; some may be empty. */
    public JavaRDD<int[]> split(int numParts) {
        return chunks.repartitionAndSortWithinPartitions(new ContiguousPartitioner(numParts, numChunks))
                .values();
    }

    /** Frees the executors' copies. */
    @Override
    public void close() {
        chunks.unpersist(false);
    }

    private void check(String column, long numRows, long numNulls, Nulls nulls) {
        if (numNulls > 0 && nulls == Nulls.REFUSE) {
            throw new IllegalArgumentException("column " + column + " is null in " + numNulls + " of " + numRows
                    + " rows: drop them, or set handleInvalid to skip");
        }
        if (numTokens == 0) {
            throw new IllegalArgumentException(
                    "column " + column + " holds no text in " + numRows + " rows: nothing to train on");
        }
    }

    private static JavaRDD<String> texts(Dataset<?> table, String column) {
        return table.select(table.col(column).cast("string")).toJavaRDD().map(row -> row.getString(0));
    }

    private static Iterator<Tuple2<Integer, long[]>> count(Iterator<Tuple2<Long, int[]>> chunks) {
        if (!chunks.hasNext()) {
            return Collections.emptyIterator();
        }
        long[] count = new long[2];
        int source = 0;
        while (chunks.hasNext()) {
            Tuple2<Long, int[]> chunk = chunks.next();
            source = (int) (chunk._1() >>> Integer.SIZE);
            count[0]++;
            count[1] += chunk._2().length;
        }
        return List.of(new Tuple2<>(source, count)).iterator();
    }

    private static Iterator<long[]> codePointsOf(Iterator<String> rows) {
        BitSet seen = new BitSet();
        while (rows.hasNext()) {
            String row = rows.next();
            if (row != null) {
                row.codePoints().forEach(seen::set);
            }
        }
        return List.of(seen.toLongArray()).iterator();
    }

    /** Turns the rows of one partition into chunks, one at a time. */
    private static final class Chunks implements Iterator<Tuple2<Long, int[]>> {
        private final int source;
        private final Iterator<String> rows;
        private final Tokenizer tokenizer;
        private final String rowSeparator;
        private final LongAccumulator numRows;
        private final LongAccumulator numNulls;
        private int[] pending = new int[2 * CHUNK_TOKENS];
        private int start;
        private int numPending;
        private int numChunks;

        Chunks(
                int source,
                Iterator<String> rows,
                Tokenizer tokenizer,
                String rowSeparator,
                LongAccumulator numRows,
                LongAccumulator numNulls) {
            this.source = source;
            this.rows = rows;
            this.tokenizer = tokenizer;
            this.rowSeparator = rowSeparator;
            this.numRows = numRows;
            this.numNulls = numNulls;
        }

        @Override
        public boolean hasNext() {
            while (numPending < CHUNK_TOKENS && rows.hasNext()) {
                take(rows.next());
            }
            return numPending > 0;
        }

        @Override
        public Tuple2<Long, int[]> next() {
            int length = Math.min(numPending, CHUNK_TOKENS);
            int[] chunk = Arrays.copyOfRange(pending, start, start + length);
            start += length;
            numPending -= length;
            return new Tuple2<>(ContiguousPartitioner.key(source, numChunks++), chunk);
        }

        private void take(String row) {
            numRows.add(1);
            if (row == null) {
                numNulls.add(1);
                return;
            }
            if (row.isEmpty()) {
                return;
            }
            int[] ids = tokenizer.encode(row + rowSeparator);
            System.arraycopy(pending, start, pending, 0, numPending);
            start = 0;
            if (numPending + ids.length > pending.length) {
                pending = Arrays.copyOf(pending, Math.max(numPending + ids.length, 2 * pending.length));
            }
            System.arraycopy(ids, 0, pending, numPending, ids.length);
            numPending += ids.length;
        }
    }
}
