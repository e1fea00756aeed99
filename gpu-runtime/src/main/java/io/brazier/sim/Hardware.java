package io.brazier.sim;

import com.fasterxml.jackson.databind.JsonNode;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.Storage;
import io.brazier.tensor.DType;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * What a cluster can do, read from a JSON file whose keys carry the units and whose {@code sources} say where each number is
 * from. The files a100.json and h100.json are built in.
 *
 * @param peakFlopsPerSecond of dense products by dtype of their operands
 * @param vectorFlopsPerSecond of everything that is no product
 * @param numProcessors units that work on tiles of a product side by side: multiprocessors of a GPU, cores of a CPU
 * @param memoryBytes of one device
 * @param memoryBytesPerSecond of one device
 * @param memoryFraction of that bandwidth that a kernel which only streams reaches
 * @param kernelSeconds to launch, start and drain a kernel that does nothing
 * @param rateDeviation standard deviation, over their mean, of the rates at which devices of one kind multiply at one power limit
 */
public record Hardware(
        String name,
        Map<DType, Double> peakFlopsPerSecond,
        double vectorFlopsPerSecond,
        int numProcessors,
        long memoryBytes,
        double memoryBytesPerSecond,
        double memoryFraction,
        double kernelSeconds,
        double rateDeviation,
        Products products,
        AttentionKernels attention,
        Network network) {
    private static final double EULER_GAMMA = 0.5772156649;

    /**
     * How products are cut up.
     *
     * @param peakFraction of the peak that large products sustain at the power limit, operands being like noise
     * @param operandBytesPerSecond at which the shared cache feeds all processors
     * @param fillSeconds from the start of a tile to its first multiplication, and again from its last to its store
     * @param exposedStoreFraction of the time in which a tile is stored that no other tile's multiplications cover
     */
    public record Products(
            double peakFraction,
            double operandBytesPerSecond,
            double fillSeconds,
            double exposedStoreFraction,
            List<Tile> tiles) {}

    /** Part of a product that some processors compute together, each operand loaded once. */
    public record Tile(int rows, int columns, int processors) {}

    /**
     * Fused attention.
     *
     * @param forwardFraction of the peak on long sequences
     * @param backwardFraction the same
     * @param rampTokens length of a sequence at which half of that is reached: blocks on the diagonal are computed in full though
     *     half is masked, and each row of blocks begins with loads that nothing covers
     */
    public record AttentionKernels(double forwardFraction, double backwardFraction, int rampTokens) {}

    /**
     * Ranks and what connects them.
     *
     * @param callSeconds to start any collective
     * @param tiers innermost first
     */
    public record Network(double callSeconds, List<Tier> tiers) {}

    /**
     * Ranks that reach each other alike.
     *
     * @param numRanks in one domain of this tier; consecutive ranks share a domain
     * @param bytesPerSecond of one rank's link, each way
     * @param busFraction of it that payload gets
     * @param latencySeconds of one hop
     * @param processorFraction share of the processors that a collective in flight takes from compute
     */
    public record Tier(
            String name,
            int numRanks,
            double bytesPerSecond,
            double busFraction,
            double latencySeconds,
            double processorFraction) {
        double payloadBytesPerSecond() {
            return bytesPerSecond * busFraction;
        }
    }

    /** A built-in file, {@code a100} or {@code h100}. */
    public static Hardware named(String name) {
        String resource = name + ".json";
        try (InputStream in = Hardware.class.getResourceAsStream(resource)) {
            if (in == null) {
                throw new IllegalArgumentException(
                        "hardware " + name + " is not built in: name a100, h100 or the path of a JSON file");
            }
            return parse(resource, Json.parse(resource, in.readAllBytes()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * Reads a file.
     *
     * @throws IllegalArgumentException that names file and key when one is missing, unknown or out of range
     */
    public static Hardware read(Storage storage, String path) {
        return parse(path, Json.read(storage, path));
    }

    static Hardware parse(String file, JsonNode node) {
        Fields f = new Fields(file, "", node);
        Hardware hardware = new Hardware(
                f.text("name"),
                peaks(f.object("peakFlopsPerSecond")),
                f.positive("vectorFlopsPerSecond"),
                f.count("numProcessors"),
                (long) f.positive("memoryBytes"),
                f.positive("memoryBytesPerSecond"),
                f.fraction("memoryFraction"),
                f.positive("kernelSeconds"),
                f.below("rateDeviation", 0.1),
                products(f.object("products")),
                attention(f.object("attention")),
                network(f.object("network")));
        Fields sources = f.object("sources");
        sources.keys().forEach(sources::text);
        f.end();
        return hardware;
    }

    private static Map<DType, Double> peaks(Fields f) {
        Map<DType, Double> peaks = new EnumMap<>(DType.class);
        for (DType dtype : List.of(DType.BF16, DType.F32)) {
            peaks.put(dtype, f.positive(dtype.toString()));
        }
        f.end();
        return java.util.Collections.unmodifiableMap(peaks);
    }

    private static Products products(Fields f) {
        List<Tile> tiles = new ArrayList<>();
        for (Fields tile : f.objects("tiles")) {
            tiles.add(new Tile(tile.count("rows"), tile.count("columns"), tile.count("processors")));
            tile.end();
        }
        Products products = new Products(
                f.fraction("peakFraction"),
                f.positive("operandBytesPerSecond"),
                f.below("fillSeconds", 1),
                f.below("exposedStoreFraction", Math.nextUp(1.0)),
                List.copyOf(tiles));
        f.end();
        return products;
    }

    private static AttentionKernels attention(Fields f) {
        AttentionKernels kernels = new AttentionKernels(
                f.fraction("forwardFraction"), f.fraction("backwardFraction"), f.count("rampTokens"));
        f.end();
        return kernels;
    }

    private static Network network(Fields f) {
        List<Tier> tiers = new ArrayList<>();
        for (Fields tier : f.objects("tiers")) {
            Tier next = new Tier(
                    tier.text("name"),
                    tier.count("numRanks"),
                    tier.positive("bytesPerSecond"),
                    tier.fraction("busFraction"),
                    tier.below("latencySeconds", 1),
                    tier.below("processorFraction", 1));
            tier.end();
            int inner = tiers.isEmpty() ? 1 : tiers.get(tiers.size() - 1).numRanks();
            if (next.numRanks() <= inner || next.numRanks() % inner != 0) {
                throw f.refuse("network.tiers", next.name() + " must hold a multiple of " + inner + " ranks");
            }
            tiers.add(next);
        }
        Network network = new Network(f.below("callSeconds", 1), List.copyOf(tiers));
        f.end();
        return network;
    }

    /** Bytes a second that a kernel which only streams gets. */
    double streamBytesPerSecond() {
        return memoryBytesPerSecond * memoryFraction;
    }

    /**
     * Rate of the slowest of some devices over their mean rate. Ranks wait for each other, so that it is the pace of all. The
     * largest of n normal deviates is expected at b + gamma / sqrt(2 ln n), b = sqrt(2 ln n) - (ln ln n + ln 4 pi) / (2 sqrt(2 ln n))
     * (Fisher and Tippett 1928).
     */
    double slowestRate(int numDevices) {
        if (numDevices == 1) {
            return 1;
        }
        double a = Math.sqrt(2 * Math.log(numDevices));
        double b = a - (Math.log(Math.log(numDevices)) + Math.log(4 * Math.PI)) / (2 * a);
        return 1 - rateDeviation * (b + EULER_GAMMA / a);
    }

    /** Peak of products with operands of a dtype; those that are no float run as f32. */
    double peak(DType dtype) {
        return peakFlopsPerSecond.get(dtype == DType.BF16 ? DType.BF16 : DType.F32);
    }
}
