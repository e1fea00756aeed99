package io.brazier.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import io.brazier.collective.Groups.Wiring;
import io.brazier.pipeline.Action;
import io.brazier.pipeline.Schedule;
import io.brazier.pipeline.Transfer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Messages between pipeline stages in the order of their schedules, each of more bytes than a link has slots for. */
class PipelineTest {

    private static final int STAGES = 4;
    private static final int MICRO_BATCHES = 8;
    private static final int COUNT = 5 * Link.SLOT_BYTES / Float.BYTES + 3;
    private static final long BYTES = 4L * COUNT;

    private static float[] values(Transfer message) {
        return Floats.random(message.fromStage(), COUNT, message.hashCode());
    }

    /** One stage's messages: what it has queued and the memory of it. */
    private static final class Stage implements AutoCloseable {
        private final Communicator communicator;
        private final List<Floats> memory = new ArrayList<>();
        private final List<Work> sends = new ArrayList<>();
        private final Map<Transfer, Floats> inputs = new HashMap<>();
        private final Map<Transfer, Work> receives = new HashMap<>();

        Stage(Communicator communicator) {
            this.communicator = communicator;
        }

        void receive(Transfer message) {
            Floats input = new Floats(COUNT);
            memory.add(input);
            inputs.put(message, input);
            receives.put(message, communicator.receive(input.address(), BYTES, message.fromStage()));
        }

        void use(Transfer message) {
            receives.get(message).await();
            assertArrayEquals(values(message), inputs.get(message).get());
        }

        void send(Transfer message) {
            Floats output = Floats.of(values(message));
            memory.add(output);
            sends.add(communicator.send(output.address(), BYTES, message.toStage()));
        }

        @Override
        public void close() {
            sends.forEach(Work::await);
            memory.forEach(Floats::close);
        }
    }

    /** Receives are queued when they are needed, or one action ahead, or all before the first action. */
    @ParameterizedTest
    @CsvSource({
        "LOCAL, ONE_F_ONE_B, 1, 0",
        "SHARED_MEMORY, ONE_F_ONE_B, 1, 1",
        "TCP, ONE_F_ONE_B, 1, 0",
        "TCP, ONE_F_ONE_B, 1, 1000",
        "MIXED, ONE_F_ONE_B, 1, 1",
        "LOCAL, INTERLEAVED, 2, 1000",
        "SHARED_MEMORY, INTERLEAVED, 2, 0",
        "TCP, INTERLEAVED, 2, 1",
        "MIXED, INTERLEAVED, 2, 0",
        "LOCAL, ZB_H1, 1, 1"
    })
    void schedulesRunBesideSums(Wiring wiring, Schedule schedule, int chunks, int ahead) throws Exception {
        Groups.run(wiring, STAGES, communicator -> {
            int rank = communicator.rank();
            Communicator others = communicator.group("dp", 3, 2, 1, 0);
            List<Action> actions = schedule.actions(rank, STAGES, MICRO_BATCHES, chunks);
            try (Floats sum = Floats.of(Floats.random(rank, COUNT, 99));
                    Stage stage = new Stage(communicator.group("pp", 0, 1, 2, 3))) {
                // Half of the ranks wait in another group's sum all the while.
                Work early = rank % 2 == 0 ? others.allReduce(sum.address(), COUNT, ElementType.F32) : null;
                int queued = 0;
                for (int x = 0; x < actions.size(); x++) {
                    for (; queued < actions.size() && queued <= x + ahead; queued++) {
                        before(actions.get(queued), rank, chunks).ifPresent(stage::receive);
                    }
                    before(actions.get(x), rank, chunks).ifPresent(stage::use);
                    Transfer.after(actions.get(x), rank, STAGES, chunks).ifPresent(stage::send);
                }
                Work late = early == null ? others.allReduce(sum.address(), COUNT, ElementType.F32) : early;
                late.await();
                float[] want = Floats.random(3, COUNT, 99);
                for (int other = 2; other >= 0; other--) {
                    float[] x = Floats.random(other, COUNT, 99);
                    for (int i = 0; i < COUNT; i++) {
                        want[i] += x[i];
                    }
                }
                assertArrayEquals(want, sum.get());
            }
            return null;
        });
    }

    private static Optional<Transfer> before(Action action, int rank, int chunks) {
        return Transfer.before(action, rank, STAGES, chunks);
    }

    /** Sends that stand behind each other for a peer that receives late stop neither this rank's receives nor other peers'. */
    @ParameterizedTest
    @EnumSource(Wiring.class)
    void sendsToALatePeerHoldNobodyUp(Wiring wiring) throws Exception {
        CountDownLatch rest = new CountDownLatch(2);
        Groups.run(wiring, 3, communicator -> {
            int rank = communicator.rank();
            Communicator stages = communicator.group("pp", 0, 1, 2);
            try (Stage stage = new Stage(stages)) {
                if (rank == 1) {
                    for (int x = 0; x < 3; x++) {
                        stage.send(message(1, 2, x));
                    }
                    stage.send(message(1, 0, 0));
                    stage.receive(message(0, 1, 0));
                    stage.receive(message(2, 1, 0));
                    stage.use(message(0, 1, 0));
                    stage.use(message(2, 1, 0));
                    rest.countDown();
                } else if (rank == 0) {
                    stage.receive(message(1, 0, 0));
                    stage.send(message(0, 1, 0));
                    stage.use(message(1, 0, 0));
                    rest.countDown();
                } else {
                    stage.send(message(2, 1, 0));
                    rest.await();
                    for (int x = 0; x < 3; x++) {
                        stage.receive(message(1, 2, x));
                    }
                    for (int x = 0; x < 3; x++) {
                        stage.use(message(1, 2, x));
                    }
                }
            }
            return null;
        });
    }

    private static Transfer message(int from, int to, int microBatch) {
        return new Transfer(Transfer.Payload.ACTIVATION, from, 0, to, 0, microBatch);
    }
}
