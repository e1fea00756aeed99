package io.brazier.spark.ml;

import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.nn.HuggingFace;
import io.brazier.nn.ModelConfig;
import io.brazier.plan.Layout;
import io.brazier.sim.Hardware;
import io.brazier.sim.LayoutSearch;
import io.brazier.sim.LayoutSearch.Bounds;
import io.brazier.sim.LayoutSearch.Found;
import io.brazier.sim.LayoutSearch.Query;
import io.brazier.sim.Scenario;
import io.brazier.spark.data.HadoopStorage;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;

/** What params of a training run mean on hardware that is not here. */
public record Simulation(CausalLM params, ModelConfig model) {

    /**
     * A model of the params' sizes.
     *
     * @param vocabularySize tokens of the vocabulary
     */
    public static Simulation of(CausalLM params, int vocabularySize, SparkConf conf, Configuration configuration) {
        return new Simulation(params, new FitSettings(params, conf, configuration).model(vocabularySize));
    }

    /** The model that a directory's config.json describes; no weights are needed. */
    public static Simulation of(CausalLM params, String directory, Configuration configuration) {
        try {
            HuggingFaceModel files = HuggingFaceModel.openConfig(new HadoopStorage(configuration), directory);
            return new Simulation(params, HuggingFace.config(files));
        } catch (CheckpointException e) {
            throw new IllegalArgumentException("model cannot be used: " + e.getMessage(), e);
        }
    }

    /**
     * A file that is built in, or one of the user's.
     *
     * @throws IllegalArgumentException when it cannot be used
     */
    public static Hardware hardware(String name, Configuration configuration) {
        try {
            return name.endsWith(".json")
                    ? Hardware.read(new HadoopStorage(configuration), name)
                    : Hardware.named(name);
        } catch (CheckpointException e) {
            throw new IllegalArgumentException("cluster cannot be used: " + e.getMessage(), e);
        }
    }

    /** Whether the layout is left to a search. */
    public boolean searches() {
        return params.getLayout().equals("auto");
    }

    /**
     * The step under the layout that is set.
     *
     * @throws IllegalArgumentException naming every violation of the layout
     */
    public Scenario scenario() {
        List<String> violations = new ArrayList<>();
        Layout layout = LayoutSettings.layout(params, violations);
        int numMicroBatches = params.getNumMicroBatches();
        violations.addAll(layout.violations(model, params.getBatchSize(), numMicroBatches, params.getSequenceLength()));
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(String.join("; ", violations));
        }
        int parts = layout.mesh().dp() * layout.mesh().ep() * numMicroBatches;
        return new Scenario(model, layout, params.getBatchSize() / parts, numMicroBatches, params.getSequenceLength());
    }

    /** The layouts with the shortest steps, the fastest first. */
    public List<Found> search(Hardware hardware, int count) {
        Layout set = LayoutSettings.layout(params, new ArrayList<>());
        Query query = new Query(
                model, params.getNumWorkers(), params.getBatchSize(), params.getSequenceLength(), set.precision());
        return LayoutSearch.best(query, Bounds.of(hardware), hardware, count);
    }
}
