package io.brazier.tensor;

/** Element type of a value. */
public enum DType {
    BF16("bf16", 2),
    F32("f32", 4),
    F64("f64", 8),
    I32("i32", 4),
    I64("i64", 8);

    private final String text;
    private final int bytes;

    DType(String text, int bytes) {
        this.text = text;
        this.bytes = bytes;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    @Override
    public String toString() {
        return text;
    }
}
