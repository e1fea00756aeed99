package io.brazier.sim;

import com.fasterxml.jackson.core.JsonGenerator;
import io.brazier.checkpoint.Json;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A step as JSON for chrome://tracing or Perfetto: a process for each pipeline stage, a thread for each of its streams.
 * Launches of segments enclose their instructions.
 */
public final class ChromeTrace implements Simulator.Listener, AutoCloseable {
    private final JsonGenerator json;
    private final Map<Integer, Map<String, Integer>> streams = new LinkedHashMap<>();

    /** Writes to a stream, which closing this closes. */
    public ChromeTrace(OutputStream out) {
        try {
            json = Json.mapper().getFactory().createGenerator(out);
            json.writeStartObject();
            json.writeArrayFieldStart("traceEvents");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void span(int stage, String stream, String name, double start, double end) {
        Map<String, Integer> rows = streams.computeIfAbsent(stage, s -> new LinkedHashMap<>());
        int row = rows.computeIfAbsent(stream, s -> rows.size());
        try {
            json.writeStartObject();
            json.writeStringField("name", name);
            json.writeStringField("ph", "X");
            json.writeNumberField("pid", stage);
            json.writeNumberField("tid", row);
            json.writeNumberField("ts", start * 1e6);
            json.writeNumberField("dur", (end - start) * 1e6);
            json.writeEndObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        try {
            for (Map.Entry<Integer, Map<String, Integer>> stage : streams.entrySet()) {
                name("process_name", stage.getKey(), 0, "stage " + stage.getKey());
                for (Map.Entry<String, Integer> row : stage.getValue().entrySet()) {
                    name("thread_name", stage.getKey(), row.getValue(), row.getKey());
                }
            }
            json.writeEndArray();
            json.writeEndObject();
            json.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void name(String kind, int stage, int row, String name) throws IOException {
        json.writeStartObject();
        json.writeStringField("name", kind);
        json.writeStringField("ph", "M");
        json.writeNumberField("pid", stage);
        json.writeNumberField("tid", row);
        json.writeObjectFieldStart("args");
        json.writeStringField("name", name);
        json.writeEndObject();
        json.writeEndObject();
    }
}
