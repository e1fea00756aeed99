package io.brazier.collective;

/** What a call does; its ordinal travels in frames. */
enum Kind {
    ALL_REDUCE("allReduce"),
    REDUCE_SCATTER("reduceScatter"),
    ALL_GATHER("allGather"),
    BROADCAST("broadcast"),
    SEND("send"),
    ALL_TO_ALL("allToAll"),
    GATHER_LENGTHS("allGatherBytes (lengths)"),
    GATHER_BYTES("allGatherBytes"),
    BARRIER("barrier"),
    GROUP("group");

    private static final Kind[] VALUES = values();

    private final String text;

    Kind(String text) {
        this.text = text;
    }

    /** The kind with this code, or null. */
    static Kind of(int code) {
        return code >= 0 && code < VALUES.length ? VALUES[code] : null;
    }

    @Override
    public String toString() {
        return text;
    }
}
