package io.brazier.collective;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;

/**
 * A group's name and members.
 *
 * @param ranks of the communicator that the group is made from, in the order of the group's own ranks
 */
record Membership(String name, List<Integer> ranks) {

    private static final int MAX_NAME_BYTES = 200;
    private static final int MAX_RANKS = 2048;

    /** Bytes of an {@link Invitation}: of one size, so that no other message must come first to tell it. */
    static final int INVITATION_BYTES = 3 * Integer.BYTES + MAX_NAME_BYTES + MAX_RANKS * Integer.BYTES + 2048;

    /** What a member tells the others: which group it makes, and where it is found. */
    record Invitation(Membership group, String endpoint) {

        void write(ByteBuffer to) {
            putText(to, group.name);
            to.putInt(group.ranks.size());
            group.ranks.forEach(to::putInt);
            putText(to, endpoint);
        }

        static Invitation read(ByteBuffer from) {
            String name = getText(from);
            Integer[] ranks = new Integer[from.getInt()];
            for (int r = 0; r < ranks.length; r++) {
                ranks[r] = from.getInt();
            }
            return new Invitation(new Membership(name, List.of(ranks)), getText(from));
        }

        private static void putText(ByteBuffer to, String text) {
            byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
            to.putInt(utf8.length).put(utf8);
        }

        private static String getText(ByteBuffer from) {
            byte[] utf8 = new byte[from.getInt()];
            from.get(utf8);
            return new String(utf8, StandardCharsets.UTF_8);
        }
    }

    /** Checks a call of rank, one of size. */
    static Membership of(String name, int[] ranks, int rank, int size) {
        Membership group = new Membership(name, Arrays.stream(ranks).boxed().toList());
        if (name.isBlank() || name.getBytes(StandardCharsets.UTF_8).length > MAX_NAME_BYTES) {
            throw new IllegalArgumentException(
                    "the name '" + name + "' of a group must have 1 to " + MAX_NAME_BYTES + " bytes");
        }
        boolean inside = Arrays.stream(ranks).allMatch(r -> r >= 0 && r < size);
        if (!inside
                || new HashSet<>(group.ranks).size() != ranks.length
                || !group.ranks.contains(rank)
                || ranks.length > MAX_RANKS) {
            throw new IllegalArgumentException(group + " on rank " + rank + " of " + size + ": give up to " + MAX_RANKS
                    + " different ranks below " + size + ", among them the caller");
        }
        return group;
    }

    /** The group's rank of a rank of the communicator it is made from. */
    int indexOf(int rank) {
        return ranks.indexOf(rank);
    }

    @Override
    public String toString() {
        return "group " + name + " of ranks " + ranks;
    }
}
