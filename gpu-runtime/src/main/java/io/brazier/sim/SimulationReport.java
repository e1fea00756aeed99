package io.brazier.sim;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.plan.Region;
import io.brazier.tensor.Mesh;
import java.util.List;
import java.util.Map;

/**
 * What a step costs.
 *
 * @param modelFlopsUtilization FLOPs that the model asks for, over what all devices could do in a step at their peak
 *     (arXiv:2204.02311, app. B)
 * @param hardwareFlopsUtilization the same of FLOPs that are done, recomputed ones too
 * @param bubbleShare of the step in which ranks waited for others, the mean of the stages
 * @param stages one rank of each pipeline stage
 */
public record SimulationReport(
        String hardware,
        Mesh mesh,
        double stepSeconds,
        double tokensPerSecond,
        double modelFlopsUtilization,
        double hardwareFlopsUtilization,
        double bubbleShare,
        List<Stage> stages) {

    /**
     * Seconds of communication over a group of ranks.
     *
     * @param total in which it was in flight
     * @param exposed part of these in which the rank waited for it
     */
    public record Communication(double total, double exposed) {
        public double overlapped() {
            return total - exposed;
        }
    }

    /**
     * One rank of a pipeline stage. Compute, exposed communication and idle time add up to the step.
     *
     * @param slowdownSeconds part of the compute that is owed to communication in flight
     * @param idleSeconds spent waiting for other stages
     * @param communication by the axes of its group
     * @param bytes of each region of the arena
     * @param memoryBytes of the whole arena
     */
    public record Stage(
            int rank,
            double computeSeconds,
            double slowdownSeconds,
            double idleSeconds,
            Map<String, Communication> communication,
            Map<Region, Long> bytes,
            long memoryBytes) {}

    /** The report as text. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        text.append(String.format("%s on %d x %s%n", mesh, mesh.worldSize(), hardware));
        text.append(String.format(
                "step %.4g s, %,.0f tokens/s (%,.0f per device), MFU %.1f %%, HFU %.1f %%, bubble %.1f %%%n",
                stepSeconds,
                tokensPerSecond,
                tokensPerSecond / mesh.worldSize(),
                100 * modelFlopsUtilization,
                100 * hardwareFlopsUtilization,
                100 * bubbleShare));
        text.append(String.format(
                "%5s %6s %10s %10s %10s %10s  %s%n",
                "stage", "rank", "compute s", "slowed s", "idle s", "memory GiB", "communication exposed / total s"));
        for (int x = 0; x < stages.size(); x++) {
            Stage s = stages.get(x);
            text.append(String.format(
                    "%5d %6d %10.4g %10.4g %10.4g %10.2f ",
                    x,
                    s.rank(),
                    s.computeSeconds(),
                    s.slowdownSeconds(),
                    s.idleSeconds(),
                    s.memoryBytes() / (double) (1L << 30)));
            s.communication()
                    .forEach(
                            (group, c) -> text.append(String.format(" %s %.4g / %.4g", group, c.exposed(), c.total())));
            text.append(System.lineSeparator());
        }
        text.append(String.format(
                "%-16s%s%n",
                "GiB by stage",
                stages.stream()
                        .map(s -> String.format("%9d", stages.indexOf(s)))
                        .reduce("", String::concat)));
        for (Region region : Region.values()) {
            if (stages.stream().anyMatch(s -> s.bytes().getOrDefault(region, 0L) > 0)) {
                text.append(String.format("%-16s", region));
                stages.forEach(s ->
                        text.append(String.format("%9.2f", s.bytes().getOrDefault(region, 0L) / (double) (1L << 30))));
                text.append(System.lineSeparator());
            }
        }
        return text.toString();
    }

    /** The report as a JSON object; keys carry the units. */
    public ObjectNode json() {
        ObjectNode node = Json.mapper().createObjectNode();
        node.put("hardware", hardware).put("mesh", mesh.toString()).put("numRanks", mesh.worldSize());
        node.put("stepSeconds", stepSeconds).put("tokensPerSecond", tokensPerSecond);
        node.put("modelFlopsUtilization", modelFlopsUtilization);
        node.put("hardwareFlopsUtilization", hardwareFlopsUtilization);
        node.put("bubbleShare", bubbleShare);
        for (Stage s : stages) {
            ObjectNode stage = node.withArray("stages").addObject();
            stage.put("rank", s.rank()).put("computeSeconds", s.computeSeconds());
            stage.put("slowdownSeconds", s.slowdownSeconds()).put("idleSeconds", s.idleSeconds());
            ObjectNode groups = stage.putObject("communication");
            s.communication().forEach((group, c) -> groups.putObject(group)
                    .put("totalSeconds", c.total())
                    .put("exposedSeconds", c.exposed())
                    .put("overlappedSeconds", c.overlapped()));
            ObjectNode regions = stage.putObject("bytes");
            s.bytes().forEach((region, bytes) -> regions.put(region.toString(), bytes));
            stage.put("memoryBytes", s.memoryBytes());
        }
        return node;
    }
}
