package io.brazier.nn;

import com.fasterxml.jackson.databind.JsonNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/** Reads a model's config.json and gathers all that cannot be used, to name it in one message. */
final class ConfigReader {
    /** Layers, or experts of all layers, where no weights bound them. */
    private static final int MAX_WITHOUT_WEIGHTS = 1 << 16;

    /** Largest size of a config: products of two sizes stay far below 2^63, four times one below 2^31. */
    private static final int MAX_SIZE = 1 << 28;

    private final HuggingFaceModel model;
    private final JsonNode node;
    private final String prefix;
    private final List<String> violations;

    ConfigReader(HuggingFaceModel model) {
        this(model, model.config(), "", new ArrayList<>());
    }

    private ConfigReader(HuggingFaceModel model, JsonNode node, String prefix, List<String> violations) {
        this.model = model;
        this.node = node;
        this.prefix = prefix;
        this.violations = violations;
    }

    /** A field's object; one without fields where there is none. */
    ConfigReader under(String field) {
        require(!has(field) || node.path(field).isObject(), field + " " + node.path(field) + " is no object");
        return new ConfigReader(model, node.path(field), prefix + field + ".", violations);
    }

    /** Whether a field is there and not null. */
    boolean has(String field) {
        return node.hasNonNull(field);
    }

    boolean isNull(String field) {
        return node.path(field).isNull();
    }

    void require(boolean holds, String violation) {
        if (!holds) {
            violations.add(violation);
        }
    }

    boolean flag(String field, boolean absent) {
        JsonNode value = node.path(field);
        require(value.isMissingNode() || value.isBoolean(), name(field) + value + " is neither true nor false");
        return value.asBoolean(absent);
    }

    String text(String field, String absent) {
        JsonNode value = node.path(field);
        require(value.isMissingNode() || value.isTextual(), name(field) + value + " is no text");
        return value.asText(absent);
    }

    /** A number that must be there. */
    double number(String field) {
        require(node.has(field), name(field) + "is missing");
        return number(field, Double.NaN);
    }

    double number(String field, double absent) {
        JsonNode value = node.path(field);
        require(value.isMissingNode() || value.isNumber(), name(field) + value + " is no number");
        return value.asDouble(absent);
    }

    int size(String field, int absent) {
        JsonNode value = node.path(field);
        if (value.isMissingNode()) {
            return absent;
        }
        if (!value.isInt() || value.intValue() < 1 || value.intValue() > MAX_SIZE) {
            violations.add(name(field) + value + " is no whole number in [1, " + MAX_SIZE + "]");
            return absent;
        }
        return value.intValue();
    }

    /** A number of things that have a tensor each; whoever claims more than there are would have us list them all. */
    void requireTensors(String what, long count) {
        if (model.hasWeights()) {
            int tensors = model.names().size();
            require(count <= tensors, what + " is " + count + ", but the files hold " + tensors + " tensors");
        } else {
            require(count <= MAX_WITHOUT_WEIGHTS, what + " is " + count + ", above " + MAX_WITHOUT_WEIGHTS);
        }
    }

    private String name(String field) {
        return prefix + field + " ";
    }

    /** @throws CheckpointException listing what was gathered, or saying what made refuses */
    <C> C make(Supplier<C> made) {
        String path = model.directory() + "/config.json";
        if (!violations.isEmpty()) {
            throw new CheckpointException(path, String.join("; ", violations));
        }
        try {
            return made.get();
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(path, e.getMessage(), e);
        }
    }
}
