package io.brazier.train;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuNative;
import io.brazier.nn.RankView;
import io.brazier.tensor.Mesh;
import java.nio.ByteBuffer;
import java.nio.IntBuffer;
import java.util.Comparator;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Batches whose rows lie with any rank. For each micro-batch all ranks know, from the order of samples and the number of tokens that
 * each rank owns, who needs what from whom; one all-to-all moves just that, and no request is sent.
 */
public final class ExchangedBatches implements BatchSource {
    private final Communicator communicator;
    private final TokenStore store;
    private final SampleOrder order;
    private final int batchSize;
    private final int rows;
    private final RankView[] views;
    private final int sampleTokens;
    private final Stream stream;
    private final long bufferBytes;
    private final long sendAddress;
    private final long receiveAddress;
    private final IntBuffer send;
    private final IntBuffer receive;

    /** Visits the pieces of one rank's rows, in order. */
    private interface PieceVisitor {
        void visit(int owner, long offsetInStore, int count);
    }

    /** First tokens of the rows of a rank; -1 for a row that does not exist. */
    private interface Rows {
        long start(int rank, int row);
    }

    /**
     * Where the tokens of each rank stand in the stream of all tokens.
     *
     * @param owners ranks in the order of the stream
     * @param first first token of each rank, by rank
     * @param count tokens of each rank, by rank
     * @param fingerprint of the whole stream, whatever ranks it is cut up over
     */
    private record Stream(int[] owners, long[] first, long[] count, long fingerprint) {
        static Stream of(Communicator communicator, int position, TokenStore store) {
            ByteBuffer mine = ByteBuffer.allocate(3 * Long.BYTES)
                    .putLong(position)
                    .putLong(store.numTokens())
                    .putLong(store.fingerprint());
            byte[][] all = communicator.allGatherBytes(mine.array());
            int[] owners = IntStream.range(0, all.length)
                    .boxed()
                    .sorted(Comparator.comparingLong(
                            r -> ByteBuffer.wrap(all[r]).getLong()))
                    .mapToInt(Integer::intValue)
                    .toArray();
            long[] first = new long[all.length];
            long[] count = new long[all.length];
            long next = 0;
            long fingerprint = 0;
            for (int owner : owners) {
                first[owner] = next;
                count[owner] = ByteBuffer.wrap(all[owner]).getLong(Long.BYTES);
                fingerprint +=
                        TokenStore.shiftFingerprint(ByteBuffer.wrap(all[owner]).getLong(2 * Long.BYTES), next);
                next += count[owner];
            }
            return new Stream(owners, first, count, fingerprint);
        }

        long numTokens() {
            return LongStream.of(count).sum();
        }
    }

    /**
     * Collective: ranks tell one another how many tokens they own. The store is closed with this.
     *
     * @param position place of this rank's tokens among those of all ranks: the stream of tokens is in this order and not in that
     *     of the ranks, which changes with the machines they run on
     * @param mesh of the ranks: who reads which rows
     */
    public ExchangedBatches(
            Communicator communicator,
            TokenStore store,
            int position,
            TrainingConfig config,
            Mesh mesh,
            double validationFraction) {
        this.communicator = communicator;
        this.store = store;
        this.batchSize = config.batchSize();
        this.rows = config.microBatchSize(mesh);
        this.views = IntStream.range(0, mesh.worldSize())
                .mapToObj(rank -> new RankView(mesh, rank, false))
                .toArray(RankView[]::new);
        this.sampleTokens = config.sequenceLength() + 1;
        this.stream = Stream.of(communicator, position, store);
        this.order = new SampleOrder(stream.numTokens(), validationFraction, config.sequenceLength(), config.seed());
        // A rank may have to send every row of the micro-batch.
        this.bufferBytes = (long) Integer.BYTES * rows * sampleTokens * communicator.size();
        this.sendAddress = CpuNative.allocate(bufferBytes);
        this.receiveAddress = CpuNative.allocate(bufferBytes);
        this.send = CpuNative.wrap(sendAddress, Math.toIntExact(bufferBytes)).asIntBuffer();
        this.receive =
                CpuNative.wrap(receiveAddress, Math.toIntExact(bufferBytes)).asIntBuffer();
    }

    /** Tokens of all ranks. */
    public long numTokens() {
        return stream.numTokens();
    }

    @Override
    public long fingerprint() {
        return stream.fingerprint();
    }

    @Override
    public long numTrainingSamples() {
        return order.windowsPerEpoch();
    }

    @Override
    public long numValidationSamples() {
        return order.numValidationSamples();
    }

    @Override
    public void readTraining(long step, int microBatch, IntBuffer tokens, IntBuffer targets) {
        exchange((rank, row) -> order.trainingStart(step * batchSize + sample(microBatch, rank, row)), tokens, targets);
    }

    @Override
    public void readValidation(int x, IntBuffer tokens, IntBuffer targets) {
        exchange(
                (rank, row) -> {
                    long sample = sample(x, rank, row);
                    return sample < order.numValidationSamples() ? order.validationStart(sample) : -1;
                },
                tokens,
                targets);
    }

    /** Place of a row among the samples of all micro-batches; ranks that differ only in tp, cp or pp read the same rows. */
    private long sample(long microBatch, int rank, int row) {
        RankView view = views[rank];
        return (microBatch * view.dataSize() + view.dataIndex()) * rows + row;
    }

    private void exchange(Rows starts, IntBuffer tokens, IntBuffer targets) {
        int size = communicator.size();
        long[] sendBytes = new long[size];
        long[] receiveBytes = new long[size];
        send.clear();
        for (int rank = 0; rank < size; rank++) {
            int receiver = rank;
            for (int row = 0; row < rows; row++) {
                pieces(starts.start(rank, row), (owner, offset, count) -> {
                    if (owner == communicator.rank()) {
                        store.read(offset, send.slice(send.position(), count));
                        send.position(send.position() + count);
                        sendBytes[receiver] += (long) count * Integer.BYTES;
                    }
                    if (receiver == communicator.rank()) {
                        receiveBytes[owner] += (long) count * Integer.BYTES;
                    }
                });
            }
        }
        communicator
                .allToAll(sendAddress, sendBytes, receiveAddress, receiveBytes)
                .await();
        unpack(starts, receiveBytes, tokens, targets);
    }

    private void unpack(Rows starts, long[] receiveBytes, IntBuffer tokens, IntBuffer targets) {
        int[] next = new int[receiveBytes.length];
        for (int r = 1; r < next.length; r++) {
            next[r] = next[r - 1] + (int) (receiveBytes[r - 1] / Integer.BYTES);
        }
        IntBuffer sample = IntBuffer.allocate(sampleTokens);
        for (int row = 0; row < rows; row++) {
            long start = starts.start(communicator.rank(), row);
            sample.clear();
            pieces(start, (owner, offset, count) -> {
                sample.put(receive.slice(next[owner], count));
                next[owner] += count;
            });
            for (int t = 0; t + 1 < sampleTokens; t++) {
                tokens.put(start < 0 ? 0 : sample.get(t));
                targets.put(start < 0 ? -1 : sample.get(t + 1));
            }
        }
    }

    /** The sample that starts at a token of the stream, piece by piece with the rank that owns each. */
    private void pieces(long start, PieceVisitor visitor) {
        if (start < 0) {
            return;
        }
        long end = start + sampleTokens;
        for (int owner : stream.owners()) {
            long first = stream.first()[owner];
            long from = Math.max(start, first);
            long to = Math.min(end, first + stream.count()[owner]);
            if (from < to) {
                visitor.visit(owner, from - first, (int) (to - from));
            }
        }
    }

    @Override
    public void close() {
        CpuNative.free(sendAddress, bufferBytes);
        CpuNative.free(receiveAddress, bufferBytes);
        store.close();
    }
}
