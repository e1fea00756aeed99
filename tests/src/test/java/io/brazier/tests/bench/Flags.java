package io.brazier.tests.bench;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Flags of a benchmark: {@code --name} or {@code --name value}. */
record Flags(Map<String, String> values) {

    static Flags parse(String[] arguments, String... known) {
        Map<String, String> values = new HashMap<>();
        for (int i = 0; i < arguments.length; i++) {
            String name = arguments[i].replaceFirst("^--", "");
            if (!arguments[i].startsWith("--") || !List.of(known).contains(name)) {
                throw new IllegalArgumentException(
                        "unknown flag " + arguments[i] + "; known are --" + String.join(", --", known));
            }
            boolean valued = i + 1 < arguments.length && !arguments[i + 1].startsWith("--");
            values.put(name, valued ? arguments[++i] : "");
        }
        return new Flags(values);
    }

    boolean has(String name) {
        return values.containsKey(name);
    }

    int integer(String name, int otherwise) {
        return has(name) ? Integer.parseInt(values.get(name)) : otherwise;
    }

    String text(String name, String otherwise) {
        return values.getOrDefault(name, otherwise);
    }
}
