package io.brazier.tests.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.brazier.checkpoint.Json;
import io.brazier.spark.cli.CommandLineTool;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The command simulate in this JVM; it starts no Spark. */
class SimulateCommandTest {
    @TempDir
    private Path directory;

    private static final List<String> SIZES = List.of(
            "--num-layers",
            "4",
            "--width",
            "256",
            "--num-heads",
            "4",
            "--batch-size",
            "16",
            "--sequence-length",
            "128");

    private static String run(int status, String... more) {
        List<String> arguments = new ArrayList<>(List.of("simulate"));
        arguments.addAll(List.of(more));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stdout = System.out;
        PrintStream stderr = System.err;
        try (PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8)) {
            System.setOut(stream);
            System.setErr(stream);
            assertEquals(
                    status,
                    CommandLineTool.run(arguments.toArray(String[]::new)),
                    () -> out.toString(StandardCharsets.UTF_8));
        } finally {
            System.setOut(stdout);
            System.setErr(stderr);
        }
        return out.toString(StandardCharsets.UTF_8);
    }

    private static String[] with(String... more) {
        List<String> arguments = new ArrayList<>(SIZES);
        arguments.addAll(List.of(more));
        return arguments.toArray(String[]::new);
    }

    @Test
    void tellsTheStepAsTextJsonAndTrace() throws IOException {
        Path trace = directory.resolve("trace.json");
        String[] layout = {
            "--gpus", "8", "--tensor-parallel", "2", "--pipeline-parallel", "2", "--num-micro-batches", "4"
        };
        String text = run(0, with(layout));
        assertTrue(text.contains("dp 2 * pp 2 * cp 1 * ep 1 * tp 2 on 8 x NVIDIA H100"), text);
        List<String> asJson = new ArrayList<>(List.of(layout));
        asJson.addAll(List.of("--json", "--trace", trace.toString()));
        JsonNode node =
                Json.parse("report", run(0, with(asJson.toArray(String[]::new))).getBytes(StandardCharsets.UTF_8));
        assertEquals(8, node.get("numRanks").asInt());
        assertEquals(2, node.get("stages").size());
        assertTrue(Json.parse("trace", Files.readAllBytes(trace))
                        .get("traceEvents")
                        .size()
                > 100);
    }

    @Test
    void findsALayout() {
        String text = run(0, with("--gpus", "2", "--cluster", "a100", "--layout", "auto"));
        assertTrue(text.contains("1. ") && text.contains("5. ") && text.contains("limited by"), text);
    }

    @Test
    void readsAConfigWithoutWeights() throws IOException {
        Files.writeString(
                directory.resolve("config.json"),
                "{\"model_type\": \"llama\", \"hidden_size\": 256, \"num_attention_heads\": 4, \"num_hidden_layers\": 2,"
                        + " \"intermediate_size\": 512, \"vocab_size\": 1000, \"max_position_embeddings\": 128}");
        String text = run(0, "--model", directory.toString(), "--batch-size", "4", "--sequence-length", "128");
        assertTrue(text.contains("tokens/s"), text);
    }

    @Test
    void namesWhatIsWrong() {
        String text = run(2, with("--gpus", "8", "--tensor-parallel", "8", "--cluster", "b200"));
        assertTrue(text.contains("hardware b200 is not built in"), text);
        text = run(2, with("--cluster", "missing.json"));
        assertTrue(text.contains("cluster cannot be used: ") && text.contains("missing.json"), text);
        Path trace = directory.resolve("missing").resolve("trace.json");
        text = run(2, with("--trace", trace.toString()));
        assertTrue(text.contains("--trace " + trace + " cannot be written: name a file"), text);
        assertTrue(!text.contains("tokens/s"), text);
        text = run(2, with("--trace", directory.toString()));
        assertTrue(text.contains("cannot be written"), text);
        text = run(2, with("--gpus", "8", "--tensor-parallel", "8"));
        assertTrue(text.contains("numHeads 4 is no multiple of tp 8"), text);
    }
}
