package io.brazier.program;

/**
 * Floats of eight bits: sign, exponent, mantissa (arXiv:2209.05433, table 1). Numbers are rounded to nearest even, those beyond the
 * largest to the largest.
 */
public enum Float8 {
    /** Four bits of exponent, three of mantissa: what forward multiplies. */
    E4M3(3, 7, 448),
    /** Five bits of exponent, two of mantissa: gradients, whose range is wider. */
    E5M2(2, 15, 57_344);

    /** A scale and what divides by it again are both normal numbers of f32. */
    private static final float LARGEST_SCALE = 0x1p126f;

    private final int mantissaBits;
    private final int bias;
    private final float largest;

    Float8(int mantissaBits, int bias, float largest) {
        this.mantissaBits = mantissaBits;
        this.bias = bias;
        this.largest = largest;
    }

    /** The largest finite number. */
    public float largest() {
        return largest;
    }

    /** The nearest number of this type; NaN for NaN and infinities. */
    public double round(double x) {
        if (!Double.isFinite(x)) {
            return Double.NaN;
        }
        double step = Math.scalb(1.0, Math.max(Math.getExponent(x), 1 - bias) - mantissaBits);
        double magnitude = Math.min(Math.rint(Math.abs(x) / step) * step, largest);
        return Math.copySign(magnitude, x);
    }

    /** What brings a magnitude to the largest number, in f32. */
    public float scaleOf(float magnitude) {
        return Math.min(largest / magnitude, LARGEST_SCALE);
    }
}
