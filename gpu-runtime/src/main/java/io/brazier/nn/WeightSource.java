package io.brazier.nn;

import java.nio.FloatBuffer;

/** Where weights come from: a file, another engine, an initialiser. */
public interface WeightSource {

    /** Copies target.remaining() elements of a parameter, from element offset on. */
    void read(String parameter, long offset, FloatBuffer target);
}
