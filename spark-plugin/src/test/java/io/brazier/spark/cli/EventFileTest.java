package io.brazier.spark.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EventFileTest {
    /** What tensorboard 2.21's own RecordWriter writes for the same two events. */
    private static final String WRITTEN_BY_TENSORBOARD =
            "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e"
                    + "743a322b35311039000000000000008b0737f10900005040fc54d94110ac022a2b0a110a0a6c6f73732f747261696e15000020400a160a"
                    + "0f746f6b656e735065725365636f6e64150028204754e34213";

    @Test
    void writesTheBytesThatTensorBoardWrites(@TempDir Path directory) throws IOException {
        Map<String, Double> values = new LinkedHashMap<>();
        values.put("loss/train", 2.5);
        values.put("tokensPerSecond", 41000.0);
        try (EventFile file = new EventFile(directory.resolve("run"), 1700000000.5)) {
            file.write(1700000001.25, 300, values);
        }
        try (Stream<Path> files = Files.list(directory.resolve("run"))) {
            Path written = files.findFirst().orElseThrow();
            assertEquals(
                    "events.out.tfevents.1700000000",
                    written.getFileName().toString().substring(0, 30));
            assertEquals(WRITTEN_BY_TENSORBOARD, HexFormat.of().formatHex(Files.readAllBytes(written)));
        }
    }
}
