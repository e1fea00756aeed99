package io.brazier.collective;

/** What a sum adds up; its ordinal travels in frames and to native code. */
public enum ElementType {
    F32(4),
    F64(8),
    /** The upper half of an f32: summed in f32, rounded once, to nearest even, at the end. */
    BF16(2);

    private final int bytes;

    ElementType(int bytes) {
        this.bytes = bytes;
    }

    /** Of one element. */
    public int bytes() {
        return bytes;
    }
}
