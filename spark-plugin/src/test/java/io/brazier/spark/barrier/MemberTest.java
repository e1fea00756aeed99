package io.brazier.spark.barrier;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Which rank a member becomes. */
class MemberTest {
    /** Hosts of the ranks, from hosts of the partitions. */
    private static List<Member> ranks(int groupSize, String... hosts) {
        String[] messages = IntStream.range(0, hosts.length)
                .mapToObj(x -> new Member(hosts[x], "", "" + x, x, "endpoint").encode())
                .toArray(String[]::new);
        return Member.byRank(messages, groupSize);
    }

    private static String hosts(List<Member> members) {
        return members.stream().map(Member::host).reduce("", String::concat);
    }

    @Test
    void ranksAreOrderedByHost() {
        assertEquals("aabbc", hosts(ranks(1, "b", "a", "c", "b", "a")));
    }

    @Test
    void groupsLieInsideAHostWhereverThatCanBe() {
        assertEquals("bbac", hosts(ranks(2, "a", "b", "c", "b")));
        assertEquals("aabbac", hosts(ranks(2, "a", "a", "a", "b", "b", "c")));
        assertEquals("aabb", hosts(ranks(2, "a", "b", "a", "b")));
    }

    @Test
    void groupsThatSpanHostsAreNamed() {
        assertEquals(List.of(), Member.spanning(ranks(2, "a", "b", "a", "b"), 2));
        assertEquals(List.of("ranks 2-3 on a, c"), Member.spanning(ranks(2, "a", "b", "c", "b"), 2));
        assertEquals(List.of(), Member.spanning(ranks(1, "a", "b"), 1));
    }
}
