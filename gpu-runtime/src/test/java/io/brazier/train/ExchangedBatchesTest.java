package io.brazier.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.tensor.Mesh;
import java.math.BigInteger;
import java.nio.IntBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The same rows come out, whoever owns the tokens and however many ranks share them. */
class ExchangedBatchesTest {
    private static final int NUM_TOKENS = 500;
    private static final int SEQUENCE_LENGTH = 9;
    private static final int BATCH_SIZE = 24;

    @TempDir
    Path directory;

    @ParameterizedTest
    @ValueSource(strings = {"500", "250,250", "0,500", "500,0", "1,2,497", "100,0,0,400", "7,11,301,181", "3,3,3,491"})
    void rowsDoNotDependOnTheOwners(String owned) throws Exception {
        long[] counts =
                Arrays.stream(owned.split(",")).mapToLong(Long::parseLong).toArray();
        for (int numMicroBatches = 1; numMicroBatches <= 2; numMicroBatches++) {
            List<int[]> rows = rows(counts, numMicroBatches);
            assertEquals(reference().size(), rows.size());
            for (int r = 0; r < rows.size(); r++) {
                assertArrayEquals(reference().get(r), rows.get(r), "row " + r);
            }
        }
    }

    /** Rows of three steps and of all validation samples, cut from the stream 0, 1, 2, … */
    private static List<int[]> reference() {
        SampleOrder order = new SampleOrder(NUM_TOKENS, 0.2, SEQUENCE_LENGTH, 1337);
        List<int[]> rows = new ArrayList<>();
        for (int s = 0; s < 3 * BATCH_SIZE; s++) {
            rows.add(row(order.trainingStart(s)));
        }
        for (int v = 0; v < order.numValidationSamples(); v++) {
            rows.add(row(order.validationStart(v)));
        }
        return rows;
    }

    private static int[] row(long start) {
        return java.util.stream.IntStream.rangeClosed((int) start, (int) start + SEQUENCE_LENGTH)
                .toArray();
    }

    private List<int[]> rows(long[] counts, int numMicroBatches) throws Exception {
        TrainingConfig config = TrainingConfig.builder()
                .batchSize(BATCH_SIZE)
                .numMicroBatches(numMicroBatches)
                .sequenceLength(SEQUENCE_LENGTH)
                .build();
        List<Communicator> communicators = CpuCommunicators.local(counts.length, Duration.ofSeconds(30));
        ExecutorService threads = Executors.newFixedThreadPool(counts.length);
        try {
            List<Future<int[][]>> parts = new ArrayList<>();
            long[] ends = counts.clone();
            Arrays.parallelPrefix(ends, Long::sum);
            for (int rank = 0; rank < counts.length; rank++) {
                int position = counts.length - 1 - rank;
                Communicator c = communicators.get(rank);
                long to = ends[position];
                parts.add(threads.submit(() -> read(c, config, position, to - counts[position], to)));
            }
            List<int[]> all = new ArrayList<>();
            List<int[][]> done = new ArrayList<>();
            for (Future<int[][]> part : parts) {
                done.add(part.get(60, TimeUnit.SECONDS));
            }
            int perRank = config.microBatchSize(Mesh.dataParallel(counts.length));
            for (int at = 0; at < done.get(0).length; at += perRank) {
                for (int[][] part : done) {
                    for (int row = at; row < at + perRank; row++) {
                        if (part[row] != null) {
                            all.add(part[row]);
                        }
                    }
                }
            }
            return all;
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    private int[][] read(Communicator c, TrainingConfig config, int position, long from, long to) throws Exception {
        TokenStore.Writer writer = TokenStore.write(directory, NUM_TOKENS);
        for (long t = from; t < to; t++) {
            writer.append(new int[] {(int) t});
        }
        List<int[]> rows = new ArrayList<>();
        try (ExchangedBatches batches =
                new ExchangedBatches(c, writer.finish(), position, config, Mesh.dataParallel(c.size()), 0.2)) {
            assertEquals(fingerprint(), batches.fingerprint());
            int rowsPerRank = config.microBatchSize(Mesh.dataParallel(c.size()));
            for (int step = 0; step < 3; step++) {
                for (int m = 0; m < config.numMicroBatches(); m++) {
                    IntBuffer tokens = IntBuffer.allocate(rowsPerRank * SEQUENCE_LENGTH);
                    IntBuffer targets = IntBuffer.allocate(rowsPerRank * SEQUENCE_LENGTH);
                    batches.readTraining(step, m, tokens, targets);
                    collect(rows, tokens, targets);
                }
            }
            long perBatch = (long) rowsPerRank * c.size();
            for (int x = 0; x * perBatch < batches.numValidationSamples(); x++) {
                IntBuffer tokens = IntBuffer.allocate(rowsPerRank * SEQUENCE_LENGTH);
                IntBuffer targets = IntBuffer.allocate(rowsPerRank * SEQUENCE_LENGTH);
                batches.readValidation(x, tokens, targets);
                collect(rows, tokens, targets);
            }
        }
        return rows.toArray(int[][]::new);
    }

    /** Of the stream 0, 1, 2, … by the definition, with whole numbers of any size. */
    private static long fingerprint() {
        BigInteger base = new BigInteger("9E3779B97F4A7C15", 16);
        BigInteger sum = BigInteger.ZERO;
        for (int i = NUM_TOKENS - 1; i >= 0; i--) {
            sum = sum.multiply(base).add(BigInteger.valueOf(i + 1));
        }
        return sum.longValue();
    }

    /** Adds the sample of each row, or null for padding. */
    private static void collect(List<int[]> rows, IntBuffer tokens, IntBuffer targets) {
        assertEquals(0, tokens.remaining());
        assertEquals(0, targets.remaining());
        for (int at = 0; at < tokens.capacity(); at += SEQUENCE_LENGTH) {
            int[] row = new int[SEQUENCE_LENGTH + 1];
            tokens.get(at, row, 0, SEQUENCE_LENGTH);
            row[SEQUENCE_LENGTH] = targets.get(at + SEQUENCE_LENGTH - 1);
            rows.add(targets.get(at) < 0 ? null : row);
        }
    }

    @Test
    void aForeignTokenIsNamed() throws Exception {
        try (TokenStore.Writer writer = TokenStore.write(directory, 10)) {
            writer.append(new int[] {3, 9});
            TrainingException e = assertThrows(TrainingException.class, () -> writer.append(new int[] {4, 10}));
            assertEquals(TrainingException.Category.DATA, e.category());
            assertEquals(
                    "DATA: token 3 of this rank is 10, outside [0, 10): the tokenizer does not fit the model",
                    e.getMessage());
        }
        try (var files = Files.list(directory)) {
            assertEquals(0, files.count());
        }
    }
}
