package io.brazier.spark.barrier;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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

    /**
     * All members by rank.
     *
     * @param groupSize neighbouring ranks that are to share a host: hosts give as many whole groups as they can, and what is left
     *     over of them comes last
     */
    static List<Member> byRank(String[] messages, int groupSize) {
        List<Member> sorted =
                Stream.of(messages).map(Member::decode).sorted(BY_PLACE).collect(Collectors.toList());
        Map<String, List<Member>> byHost = new LinkedHashMap<>();
        sorted.forEach(member ->
                byHost.computeIfAbsent(member.host(), host -> new ArrayList<>()).add(member));
        List<Member> whole = new ArrayList<>();
        List<Member> rest = new ArrayList<>();
        for (List<Member> members : byHost.values()) {
            int grouped = members.size() / groupSize * groupSize;
            whole.addAll(members.subList(0, grouped));
            rest.addAll(members.subList(grouped, members.size()));
        }
        whole.addAll(rest);
        return whole;
    }

    /** The groups that do not lie inside one host, each with its ranks and hosts; empty when all do. */
    static List<String> spanning(List<Member> byRank, int groupSize) {
        List<String> spanning = new ArrayList<>();
        for (int first = 0; first + groupSize <= byRank.size(); first += groupSize) {
            List<String> hosts = byRank.subList(first, first + groupSize).stream()
                    .map(Member::host)
                    .distinct()
                    .collect(Collectors.toList());
            if (hosts.size() > 1) {
                spanning.add("ranks " + first + "-" + (first + groupSize - 1) + " on " + String.join(", ", hosts));
            }
        }
        return spanning;
    }
}
