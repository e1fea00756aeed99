package io.brazier.explain;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.nn.ModelConfig;
import io.brazier.pipeline.Timeline;
import io.brazier.plan.Layout;
import io.brazier.plan.Region;
import io.brazier.plan.Request;
import io.brazier.tensor.Axis;

/** A {@link PlanReport} as JSON. */
final class PlanJson {
    private PlanJson() {}

    static ObjectNode of(PlanReport report) {
        ObjectNode node = Json.mapper().createObjectNode();
        request(node, report.request());
        report.stages().forEach(stage -> stage(node.withArray("stages").addObject(), stage));
        report.ranks().forEach(ranks -> ranks(node.withArray("ranks").addObject(), ranks));
        node.put("peakBytes", report.peakBytes());
        schedule(node.putObject("schedule"), report.timeline());
        return node;
    }

    private static void request(ObjectNode node, Request request) {
        Layout layout = request.layout();
        ObjectNode mesh = node.putObject("layout");
        for (Axis axis : Axis.values()) {
            mesh.put(axis.toString(), layout.mesh().size(axis));
        }
        mesh.put("sequenceParallel", layout.sequenceParallel()).put("zeroStage", layout.zeroStage());
        mesh.put("recompute", layout.recompute().toString())
                .put("precision", layout.precision().toString());
        mesh.put("schedule", layout.schedule().toString()).put("chunksPerStage", layout.chunksPerStage());
        ModelConfig config = request.model().config();
        ObjectNode model = node.putObject("model");
        model.put("numLayers", config.numLayers()).put("width", config.width()).put("numHeads", config.numHeads());
        model.put("vocabularySize", config.vocabularySize()).put("numParameters", config.numParameters());
        node.put("numMicroBatches", request.numMicroBatches()).put("microBatchSize", request.microBatchSize());
        node.put("sequenceLength", request.sequenceLength());
    }

    private static void stage(ObjectNode node, PlanReport.Stage stage) {
        node.put("numParameters", stage.numParameters());
        stage.chunks().forEach(chunk -> chunk.forEach(node.withArray("chunks").addArray()::add));
        ObjectNode cuts = node.putObject("cuts");
        stage.cuts().forEach((axis, names) -> names.forEach(cuts.withArray(axis.toString())::add));
    }

    private static void ranks(ObjectNode node, PlanReport.Ranks ranks) {
        RankShare share = ranks.share();
        ranks.ranks().forEach(node.putArray("ranks")::add);
        node.put("numParameters", share.numParameters());
        ObjectNode bytes = node.putObject("bytes");
        for (Region region : Region.values()) {
            bytes.put(region.toString(), share.bytesOf(region));
        }
        node.put("arenaBytes", share.arenaBytes());
        share.stashes().forEach(stash -> node.withArray("stashes")
                .addObject()
                .put("numSlots", stash.numSlots())
                .put("slotBytes", stash.slotBytes()));
        node.put("flops", share.flops());
        ObjectNode sent = node.putObject("sentBytes");
        share.sentBytes().forEach(sent::put);
    }

    private static void schedule(ObjectNode node, Timeline timeline) {
        node.put("bubbleShare", timeline.bubble()).put("durationFlops", timeline.seconds());
        timeline.stages().forEach(spans -> {
            var actions = node.withArray("stages").addArray();
            spans.forEach(span -> actions.addObject()
                    .put("action", span.action().toString())
                    .put("startFlops", span.start())
                    .put("endFlops", span.end()));
        });
    }
}
