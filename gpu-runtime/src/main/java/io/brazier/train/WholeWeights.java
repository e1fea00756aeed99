package io.brazier.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.Slice;
import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuNative;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.nn.WeightSource;
import io.brazier.tensor.Shard.Place;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * The weights of a model as one, on rank 0, whatever the layout. Rank 0 asks for a chunk at a time, and the ranks that keep elements
 * of it send them: no rank holds more than a chunk beside what it keeps anyway.
 */
public final class WholeWeights implements WeightSource {
    /** Elements of a chunk. */
    private static final int CHUNK = 1 << 18;

    private final TrainingEngine engine;
    private final Communicator communicator;
    private final Map<String, Parameter> mine;
    private final List<Map<String, Slice>> given;
    private final long address;

    /** What rank 0 does with the weights. */
    public interface Use {
        void accept(WeightSource weights) throws IOException;
    }

    /** What {@link #forEachRun} calls: elements [local, local + count) of a slice are done elements behind the first. */
    private interface Run {
        void at(long local, int done, int count);
    }

    private WholeWeights(TrainingEngine engine, Communicator communicator, long address) {
        this.engine = engine;
        this.communicator = communicator;
        this.address = address;
        this.mine = engine.parameters().stream().collect(Collectors.toMap(Parameter::name, Function.identity()));
        List<Slice> slices = new ArrayList<>();
        for (Parameter p : engine.parameters()) {
            if (p.replica() == 0) {
                slices.add(new Slice(p.name(), p.shard(), p.held()));
            }
        }
        ObjectNode node = Json.mapper().createObjectNode();
        node.set("slices", Slice.toJson(slices));
        this.given = new ArrayList<>();
        for (byte[] theirs : communicator.allGatherBytes(Json.bytes(node))) {
            String from = "slices of rank " + given.size();
            Map<String, Slice> byName = new HashMap<>();
            for (Slice slice : Slice.fromJson(from, Json.parse(from, theirs).path("slices"))) {
                byName.put(slice.array(), slice);
            }
            given.add(byName);
        }
    }

    /** Lets rank 0 read whole parameters while the others serve it. Collective; returns when rank 0 is done. */
    public static void lend(TrainingEngine engine, Communicator communicator, Use use) throws IOException {
        long bytes = (long) CHUNK * Float.BYTES;
        long address = CpuNative.allocate(bytes);
        try {
            WholeWeights weights = new WholeWeights(engine, communicator, address);
            if (communicator.rank() == 0) {
                weights.use(use);
            } else {
                weights.serve();
            }
        } finally {
            CpuNative.free(address, bytes);
        }
    }

    private void use(Use use) throws IOException {
        try {
            use.accept(this);
        } catch (IOException | RuntimeException e) {
            try {
                request("", 0, 0);
            } catch (RuntimeException cleanup) {
                e.addSuppressed(cleanup);
            }
            throw e;
        }
        request("", 0, 0);
    }

    @Override
    public void read(String parameter, long offset, FloatBuffer target) {
        long at = offset;
        while (target.hasRemaining()) {
            int count = Math.min(CHUNK, target.remaining());
            readChunk(parameter, at, target.slice(target.position(), count));
            target.position(target.position() + count);
            at += count;
        }
    }

    private void readChunk(String parameter, long offset, FloatBuffer target) {
        int[] counts = new int[given.size()];
        int asked = 0;
        for (int rank = 0; rank < counts.length; rank++) {
            counts[rank] = forEachRun(rank, parameter, offset, target.remaining(), (local, done, count) -> {});
            asked += rank == 0 ? 0 : counts[rank];
        }
        if (asked + counts[0] != target.remaining()) {
            throw new AssertionError("of elements [" + offset + ", " + (offset + target.remaining()) + ") of "
                    + parameter + " ranks keep " + (asked + counts[0]));
        }
        if (asked > 0) {
            request(parameter, offset, target.remaining());
        }
        for (int rank = 0; rank < counts.length; rank++) {
            if (counts[rank] > 0) {
                FloatBuffer part =
                        rank == 0 ? kept(parameter, offset, target.remaining()) : received(rank, counts[rank]);
                forEachRun(
                        rank, parameter, offset, target.remaining(), (local, done, count) -> target.slice(done, count)
                                .put(next(part, count)));
            }
        }
    }

    /** The next elements of a buffer, which it moves over. */
    private static FloatBuffer next(FloatBuffer buffer, int count) {
        FloatBuffer next = buffer.slice(buffer.position(), count);
        buffer.position(buffer.position() + count);
        return next;
    }

    private FloatBuffer received(int rank, int count) {
        communicator.receive(address, (long) count * Float.BYTES, rank).await();
        return CpuNative.wrap(address, count * Float.BYTES).asFloatBuffer();
    }

    /** What this rank keeps and gives of elements [offset, offset + count), in order. */
    private FloatBuffer kept(String parameter, long offset, int count) {
        FloatBuffer part = CpuNative.wrap(address, CHUNK * Float.BYTES).asFloatBuffer();
        forEachRun(
                communicator.rank(),
                parameter,
                offset,
                count,
                (local, done, length) -> engine.read(mine.get(parameter), State.WEIGHT, local, next(part, length)));
        return part.flip();
    }

    /** Answers rank 0 until it asks for nothing. */
    private void serve() {
        while (true) {
            ByteBuffer request = ByteBuffer.wrap(communicator.allGatherBytes(new byte[0])[0]);
            long offset = request.getLong();
            int count = request.getInt();
            String parameter = StandardCharsets.UTF_8.decode(request).toString();
            if (count == 0) {
                return;
            }
            FloatBuffer part = kept(parameter, offset, count);
            if (part.hasRemaining()) {
                communicator
                        .send(address, (long) part.remaining() * Float.BYTES, 0)
                        .await();
            }
        }
    }

    private void request(String parameter, long offset, int count) {
        byte[] name = parameter.getBytes(StandardCharsets.UTF_8);
        communicator.allGatherBytes(ByteBuffer.allocate(Long.BYTES + Integer.BYTES + name.length)
                .putLong(offset)
                .putInt(count)
                .put(name)
                .array());
    }

    /**
     * Visits what a rank gives of elements [offset, offset + count) of a parameter.
     *
     * @return their number
     */
    private int forEachRun(int rank, String parameter, long offset, int count, Run run) {
        Slice slice = given.get(rank).get(parameter);
        int found = 0;
        int length;
        for (int done = 0; done < count && slice != null; done += length) {
            Place place = slice.find(offset + done);
            length = (int) Math.min(place.count(), count - done);
            if (place.local() >= 0) {
                run.at(place.local(), done, length);
                found += length;
            }
        }
        return found;
    }
}
