package io.brazier.spark.barrier;

import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What a task tells the others about itself, once, at the barrier.
 *
 * @param host name of the machine
 * @param device address of its GPU, or empty
 * @param executorId of Spark
 * @param partition of the barrier stage
 * @param endpoint where its communicator listens
 */
record Member(String host, String device, String executorId, int partition, String endpoint) {
    private static final String SEPARATOR = "\u0001";

    private static final Comparator<String> NUMBERS_BY_VALUE =
            Comparator.comparingInt(String::length).thenComparing(Comparator.naturalOrder());

    /** Neighbouring ranks share a host; nothing depends on how Spark placed partitions. */
    private static final Comparator<Member> BY_PLACE = Comparator.comparing(Member::host)
            .thenComparing(Member::device, NUMBERS_BY_VALUE)
            .thenComparing(Member::executorId, NUMBERS_BY_VALUE)
            .thenComparingInt(Member::partition);

    String encode() {
        return String.join(SEPARATOR, host, device, executorId, "" + partition, endpoint);
    }

    static Member decode(String text) {
        String[] parts = text.split(SEPARATOR, -1);
        return new Member(parts[0], parts[1], parts[2], Integer.parseInt(parts[3]), parts[4]);
    }

    /** All members by rank. */
    static List<Member> byRank(String[] messages) {
        return Stream.of(messages).map(Member::decode).sorted(BY_PLACE).collect(Collectors.toList());
    }
}
