package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.tensor.DType;
import java.io.IOException;
import java.io.InputStream;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HardwareTest {

    static ObjectNode file(String name) {
        try (InputStream in = Hardware.class.getResourceAsStream(name)) {
            return (ObjectNode) Json.parse(name, in.readAllBytes());
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static void refused(Consumer<ObjectNode> damage, String message) {
        ObjectNode node = file("a100.json");
        damage.accept(node);
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> Hardware.parse("mine.json", node));
        assertTrue(e.getMessage().startsWith("mine.json: " + message), e.getMessage());
    }

    private static ObjectNode at(JsonNode node, String pointer) {
        return (ObjectNode) node.at(pointer);
    }

    @Test
    void builtInFilesCarryTheFiguresOfTheirDatasheets() {
        Hardware a100 = Hardware.named("a100");
        Hardware h100 = Hardware.named("h100");
        assertEquals(312e12, a100.peakFlopsPerSecond().get(DType.BF16));
        assertEquals(989.4e12, h100.peakFlopsPerSecond().get(DType.BF16));
        // Outside the tensor cores, where f32 stays exact.
        assertEquals(19.5e12, a100.peakFlopsPerSecond().get(DType.F32));
        assertEquals(h100.vectorFlopsPerSecond(), h100.peakFlopsPerSecond().get(DType.F32));
        // 600 and 900 GB/s both ways; 200 and 400 Gb/s.
        assertEquals(600e9 / 2, a100.network().tiers().get(0).bytesPerSecond());
        assertEquals(900e9 / 2, h100.network().tiers().get(0).bytesPerSecond());
        assertEquals(200e9 / 8, a100.network().tiers().get(1).bytesPerSecond());
        assertEquals(400e9 / 8, h100.network().tiers().get(1).bytesPerSecond());
    }

    @Test
    void aMistakeInTheFileNamesFileAndKey() {
        refused(n -> n.remove("memoryBytes"), "memoryBytes is missing");
        refused(n -> n.put("memoryGigabytes", 80), "memoryGigabytes is no key here");
        refused(n -> at(n, "/network").put("colour", 1), "network.colour is no key here");
        refused(n -> at(n, "/network/tiers/1").remove("latencySeconds"), "network.tiers[1].latencySeconds is missing");
        refused(
                n -> at(n, "/network/tiers/1").put("numRanks", 12),
                "network.tiers InfiniBand must hold a multiple of 8");
        refused(n -> at(n, "/products").put("peakFraction", 1.2), "products.peakFraction must be at most 1, not 1.2");
        refused(n -> at(n, "/peakFlopsPerSecond").put("bf16", "fast"), "peakFlopsPerSecond.bf16 must be a number");
        refused(n -> n.put("numProcessors", 1.5), "numProcessors must be a whole number");
        refused(n -> n.putArray("attention"), "attention must be an object");
    }

    @ParameterizedTest
    @ValueSource(ints = {8, 64, 1024})
    void manyDevicesGoAtThePaceOfTheSlowest(int numDevices) {
        Hardware hardware = Hardware.named("h100");
        Random random = new Random(numDevices);
        int numDraws = 2000;
        double sum = 0;
        for (int draw = 0; draw < numDraws; draw++) {
            sum += IntStream.range(0, numDevices)
                    .mapToDouble(x -> 1 + hardware.rateDeviation() * random.nextGaussian())
                    .min()
                    .orElseThrow();
        }
        assertEquals(sum / numDraws, hardware.slowestRate(numDevices), 0.15 * hardware.rateDeviation());
        assertEquals(1, hardware.slowestRate(1));
    }

    @Test
    void anUnknownNameSaysWhatThereIs() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Hardware.named("b200"));
        assertTrue(e.getMessage().contains("name a100, h100 or the path of a JSON file"), e.getMessage());
    }
}
