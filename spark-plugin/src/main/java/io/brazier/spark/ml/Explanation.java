package io.brazier.spark.ml;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.explain.PlanReport;
import io.brazier.nn.ModelConfig;
import io.brazier.train.TrainingConfig;
import java.nio.charset.StandardCharsets;
import java.util.OptionalLong;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;

/**
 * The plan of a training run before it runs.
 *
 * @param choice why this layout was taken; empty where it was set
 * @param deviceBytes what a rank may allocate; empty for no limit
 * @param misfit why the layout does not fit, and the nearest that do; empty where it fits
 */
public record Explanation(PlanReport report, String choice, OptionalLong deviceBytes, String misfit) {

    /**
     * Plans without a cluster. Of an initial model its config.json is enough.
     *
     * @param vocabularySize tokens of the vocabulary; null for those of the initial model or else of the tokenizer
     * @throws IllegalArgumentException naming every violation of the params
     */
    public static Explanation of(CausalLM params, Integer vocabularySize, SparkConf conf, Configuration configuration) {
        FitSettings settings = new FitSettings(params, conf, configuration);
        Supplier<ModelConfig> maker = () -> params.getInitialModel().isEmpty()
                ? settings.model(vocabularySize != null ? vocabularySize : ofTokenizer(params, configuration))
                : Simulation.of(params, params.getInitialModel(), configuration).model();
        TrainingConfig config = settings.check(maker);
        return new LayoutPlanner(settings, maker.get(), config).explain();
    }

    private static int ofTokenizer(CausalLM params, Configuration configuration) {
        return Tokenizing.known(params, configuration)
                .orElseThrow(() -> new IllegalArgumentException("the tokenizer " + params.getTokenizer()
                        + " takes its vocabulary from the text: give vocabularySize"))
                .vocabularySize();
    }

    /** The plan as text; last why the layout was chosen, if it was, and whether it fits, if there is a limit. */
    public String text() {
        String plan = choice.isEmpty() ? report.toString() : report + "\n" + choice + "\n";
        if (deviceBytes.isEmpty()) {
            return plan;
        }
        String verdict = misfit.isEmpty()
                ? "fits the deviceMemory of " + deviceBytes.getAsLong() + " bytes: the fullest rank takes "
                        + report.peakBytes()
                : misfit;
        return plan + "\n" + verdict + "\n";
    }

    /** The plan as a JSON object; keys carry the units. */
    public String json() {
        ObjectNode node = report.json();
        if (!choice.isEmpty()) {
            node.put("choice", choice);
        }
        deviceBytes.ifPresent(bytes -> node.put("deviceMemoryBytes", bytes));
        node.put("fits", misfit.isEmpty());
        if (!misfit.isEmpty()) {
            node.put("misfit", misfit);
        }
        return new String(Json.bytes(node), StandardCharsets.UTF_8);
    }
}
