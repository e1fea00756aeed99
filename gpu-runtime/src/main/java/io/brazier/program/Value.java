package io.brazier.program;

import io.brazier.tensor.TensorType;

/**
 * A typed name, defined once, by a program's input list or by an instruction.
 *
 * @param id unique among all values of programs that are derived from one another
 */
public record Value(int id, String name, TensorType type) {
    @Override
    public String toString() {
        return "%" + name;
    }
}
