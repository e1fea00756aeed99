package io.brazier.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import io.brazier.tensor.Shard.Place;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Elements of one array of a training state: of a parameter's weights, of a moment.
 *
 * @param array name of the whole array
 * @param shard part of the array that the elements are taken from
 * @param elements of the shard, in its row-major order
 */
public record Slice(String array, Shard shard, Range elements) {

    public Slice {
        if (elements.end() > shard.shape().numElements()) {
            throw new IllegalArgumentException(array + ": elements up to " + elements.end() + " of a shard of "
                    + shard.shape().numElements());
        }
    }

    /** Number of elements. */
    public long count() {
        return elements.length();
    }

    /** Where an element of the whole array lies in this slice, if it does. */
    public Place find(long element) {
        Place place = shard.find(element);
        long local = place.local() - elements.start();
        if (place.local() < 0 || local >= count()) {
            return new Place(-1, place.count());
        }
        return local < 0
                ? new Place(-1, Math.min(place.count(), -local))
                : new Place(local, Math.min(place.count(), count() - local));
    }

    /** One entry for all arrays of which the same elements are there: weights and moments, and parameters of equal shape. */
    public static ArrayNode toJson(List<Slice> slices) {
        Map<Slice, ArrayNode> arrays = new LinkedHashMap<>();
        ArrayNode entries = Json.mapper().createArrayNode();
        for (Slice slice : slices) {
            Slice alike = new Slice("", slice.shard(), slice.elements());
            arrays.computeIfAbsent(alike, k -> k.entry(entries)).add(slice.array());
        }
        return entries;
    }

    private ArrayNode entry(ArrayNode entries) {
        ObjectNode entry = entries.addObject();
        shard.global().dims().forEach(entry.putArray("shape")::add);
        ArrayNode held = entry.putArray("held");
        for (List<Range> dim : shard.ranges()) {
            ArrayNode ranges = held.addArray();
            dim.forEach(range -> ranges.add(range.start()).add(range.length()));
        }
        entry.put("from", elements.start()).put("count", elements.length());
        return entry.putArray("arrays");
    }

    /** @throws CheckpointException when a field is missing or makes no sense */
    public static List<Slice> fromJson(String path, JsonNode entries) {
        List<Slice> slices = new ArrayList<>();
        for (JsonNode entry : entries) {
            try {
                Shard shard = shard(path, entry);
                Range elements =
                        new Range(ShardRecord.number(path, entry, "from"), ShardRecord.number(path, entry, "count"));
                for (JsonNode array : entry.path("arrays")) {
                    slices.add(new Slice(array.asText(), shard, elements));
                }
            } catch (IllegalArgumentException | ArithmeticException e) {
                throw new CheckpointException(path, "lists a slice that cannot be: " + e.getMessage(), e);
            }
        }
        return slices;
    }

    private static Shard shard(String path, JsonNode entry) {
        Shape shape = new Shape(numbers(path, entry.path("shape")));
        if (entry.path("held").size() != shape.rank()) {
            throw new CheckpointException(path, "lists a slice that has not one list of ranges for each dim");
        }
        Shard shard = Shard.whole(shape);
        for (int d = 0; d < shape.rank(); d++) {
            List<Long> held = numbers(path, entry.path("held").get(d));
            List<Range> ranges = new ArrayList<>();
            for (int x = 0; x + 1 < held.size(); x += 2) {
                Range range = new Range(held.get(x), held.get(x + 1));
                long end = ranges.isEmpty() ? 0 : ranges.get(ranges.size() - 1).end();
                if (range.start() < end || range.end() > shape.dim(d)) {
                    throw new IllegalArgumentException(held + " does not ascend inside " + shape);
                }
                ranges.add(range);
            }
            shard = shard.with(d, ranges);
        }
        return shard;
    }

    private static List<Long> numbers(String path, JsonNode list) {
        List<Long> numbers = new ArrayList<>();
        for (JsonNode number : list) {
            if (!number.isIntegralNumber() || !number.canConvertToLong()) {
                throw new CheckpointException(path, "has " + number + " in the place of a whole number");
            }
            numbers.add(number.longValue());
        }
        return numbers;
    }
}
