package io.brazier.nn;

import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.SafetensorsWriter;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * How a model's parameters lie in Hugging Face's files: each as tensors whose elements follow one another, so that any range of a
 * parameter is a range of each.
 *
 * @param family for messages
 * @param prefix of tensors' names, which files may leave out
 * @param buffer names, without prefix, of what files carry along and nobody needs
 * @param tied the embedding's tensor that the head shares, without prefix; empty when it shares none
 * @param parts tensors of each parameter, in order
 */
record TensorLayout(String family, String prefix, Pattern buffer, String tied, Map<String, List<Part>> parts) {
    static final String HEAD = "lm_head.weight";
    private static final int CHUNK = 1 << 18;

    /** A tensor as it is written. */
    record Part(String tensor, List<Long> shape) {
        long numElements() {
            return shape.stream().reduce(1L, Math::multiplyExact);
        }
    }

    /** A tensor of a file. */
    private record Stored(String name, long numElements) {}

    /** @throws CheckpointException listing all tensors that are missing, unknown or of another shape */
    WeightSource open(HuggingFaceModel model) {
        List<String> violations = new ArrayList<>();
        Map<String, String> tensors = new HashMap<>();
        for (String name : model.names()) {
            String bare = bare(name);
            String other = buffer.matcher(bare).matches() ? null : tensors.put(bare, name);
            if (other != null) {
                violations.add("holds both " + other + " and " + name);
            }
        }
        String head = tied.isEmpty() ? null : tensors.remove(HEAD);
        String embedding = tensors.get(tied);
        Map<String, List<Stored>> stored = new HashMap<>();
        parts.forEach((parameter, list) -> {
            List<Stored> found = stored.computeIfAbsent(parameter, p -> new ArrayList<>());
            for (Part part : list) {
                String name = tensors.remove(bare(part.tensor()));
                if (name == null) {
                    violations.add("has no " + bare(part.tensor()));
                } else if (!model.shape(name).equals(part.shape())) {
                    violations.add(name + " has shape " + model.shape(name) + ", not " + part.shape());
                } else {
                    found.add(new Stored(name, part.numElements()));
                }
            }
        });
        tensors.values().forEach(name -> violations.add("holds " + name + ", which " + family + " does not have"));
        if (!violations.isEmpty()) {
            throw new CheckpointException(model.directory(), String.join("; ", violations));
        }
        if (head != null) {
            requireEqual(model, embedding, head);
        }
        return (parameter, offset, target) -> read(model, stored.get(parameter), offset, target);
    }

    private String bare(String name) {
        return name.startsWith(prefix) ? name.substring(prefix.length()) : name;
    }

    private static void read(HuggingFaceModel model, List<Stored> tensors, long offset, FloatBuffer target) {
        int limit = target.limit();
        long skip = offset;
        for (Stored tensor : tensors) {
            int count = (int) Math.min(limit - target.position(), Math.max(0, tensor.numElements() - skip));
            if (count > 0) {
                model.read(tensor.name(), skip, target.limit(target.position() + count));
            }
            skip = Math.max(0, skip - tensor.numElements());
        }
        if (target.position() < limit) {
            throw new IndexOutOfBoundsException("asked for elements " + offset + " on of " + tensors + ", "
                    + (limit - target.position()) + " more than there are");
        }
        target.limit(limit);
    }

    /** A tied head may be stored a second time, but not with other values: one of the two would be lost. */
    private static void requireEqual(HuggingFaceModel model, String embedding, String head) {
        List<Long> shape = model.shape(embedding);
        boolean equal = model.shape(head).equals(shape);
        long numElements = shape.stream().reduce(1L, Math::multiplyExact);
        FloatBuffer a = FloatBuffer.allocate(CHUNK);
        FloatBuffer b = FloatBuffer.allocate(CHUNK);
        for (long offset = 0; equal && offset < numElements; offset += CHUNK) {
            int count = (int) Math.min(CHUNK, numElements - offset);
            model.read(embedding, offset, a.clear().limit(count));
            model.read(head, offset, b.clear().limit(count));
            equal = a.flip().equals(b.flip());
        }
        if (!equal) {
            throw new CheckpointException(
                    model.directory(),
                    head + " differs from " + embedding
                            + ", but tie_word_embeddings is true: set it to false in config.json"
                            + " to have a head of its own, or leave " + head + " out");
        }
    }

    /** All tensors, to be written. */
    List<SafetensorsWriter.Tensor> tensors(WeightSource weights) {
        List<SafetensorsWriter.Tensor> tensors = new ArrayList<>();
        parts.forEach((parameter, list) -> {
            long start = 0;
            for (Part part : list) {
                long first = start;
                tensors.add(new SafetensorsWriter.Tensor(
                        part.tensor(),
                        part.shape(),
                        (offset, target) -> weights.read(parameter, first + offset, target)));
                start += part.numElements();
            }
        });
        return tensors;
    }
}
