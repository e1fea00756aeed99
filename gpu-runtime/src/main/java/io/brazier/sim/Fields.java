package io.brazier.sim;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** The keys of a JSON object, each of which must be there and must be asked for. */
final class Fields {
    private final String file;
    private final String path;
    private final JsonNode node;
    private final Set<String> known = new LinkedHashSet<>();

    Fields(String file, String path, JsonNode node) {
        this.file = file;
        this.path = path;
        this.node = node;
        if (!node.isObject()) {
            throw refuse(path.isEmpty() ? "the file" : path, "must be an object");
        }
    }

    String text(String key) {
        JsonNode value = get(key);
        if (!value.isTextual()) {
            throw refuse(name(key), "must be a text, not " + value);
        }
        return value.asText();
    }

    double positive(String key) {
        double value = number(key);
        if (!(value > 0)) {
            throw refuse(name(key), "must be positive, not " + value);
        }
        return value;
    }

    /** A share of a whole, in (0, 1]. */
    double fraction(String key) {
        double value = positive(key);
        if (value > 1) {
            throw refuse(name(key), "must be at most 1, not " + value);
        }
        return value;
    }

    /** A number in [0, limit). */
    double below(String key, double limit) {
        double value = number(key);
        if (!(value >= 0 && value < limit)) {
            throw refuse(name(key), "must be at least 0 and less than " + limit + ", not " + value);
        }
        return value;
    }

    int count(String key) {
        double value = positive(key);
        if (value != Math.rint(value) || value > Integer.MAX_VALUE) {
            throw refuse(name(key), "must be a whole number, not " + value);
        }
        return (int) value;
    }

    Fields object(String key) {
        return new Fields(file, name(key), get(key));
    }

    List<Fields> objects(String key) {
        JsonNode value = get(key);
        if (!value.isArray() || value.isEmpty()) {
            throw refuse(name(key), "must be a list of at least one object");
        }
        List<Fields> objects = new ArrayList<>();
        for (int x = 0; x < value.size(); x++) {
            objects.add(new Fields(file, name(key) + "[" + x + "]", value.get(x)));
        }
        return objects;
    }

    /** The names of all keys, which the caller must then ask for. */
    List<String> keys() {
        List<String> keys = new ArrayList<>();
        node.fieldNames().forEachRemaining(keys::add);
        return keys;
    }

    /** Ends the reading: a key that nobody asked for is a mistake. */
    void end() {
        Set<String> unknown = new TreeSet<>(keys());
        unknown.removeAll(known);
        if (!unknown.isEmpty()) {
            throw refuse(name(unknown.iterator().next()), "is no key here; the keys are " + known);
        }
    }

    IllegalArgumentException refuse(String what, String why) {
        return new IllegalArgumentException(file + ": " + what + " " + why);
    }

    private double number(String key) {
        JsonNode value = get(key);
        if (!value.isNumber() || !Double.isFinite(value.asDouble())) {
            throw refuse(name(key), "must be a number, not " + value);
        }
        return value.asDouble();
    }

    private JsonNode get(String key) {
        known.add(key);
        JsonNode value = node.get(key);
        if (value == null) {
            throw refuse(name(key), "is missing");
        }
        return value;
    }

    private String name(String key) {
        return path.isEmpty() ? key : path + "." + key;
    }
}
