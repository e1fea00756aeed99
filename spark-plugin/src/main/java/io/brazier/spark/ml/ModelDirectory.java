package io.brazier.spark.ml;

import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.nn.HuggingFace;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.WeightSource;
import io.brazier.spark.data.HadoopStorage;
import io.brazier.text.Tokenizer;
import io.brazier.text.Tokenizers;
import java.io.IOException;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;

/** A model and its tokenizer in a directory of this machine, in Hugging Face layout. */
record ModelDirectory(ModelConfig config, WeightSource weights, Tokenizer tokenizer) {

    /** @throws IllegalArgumentException when a file is missing, damaged, or of another kind of model */
    static ModelDirectory load(Path directory) {
        try {
            HuggingFaceModel model = HuggingFaceModel.open(new LocalStorage(), directory.toString());
            ModelConfig config = HuggingFace.config(model);
            return new ModelDirectory(
                    config,
                    HuggingFace.weights(model, config),
                    Tokenizers.load(new LocalStorage(), directory.toString()));
        } catch (CheckpointException e) {
            throw new IllegalArgumentException("the model cannot be used: " + e.getMessage(), e);
        }
    }

    /**
     * The sizes of a model anywhere.
     *
     * @throws IllegalArgumentException when there is no model of this kind
     */
    static ModelConfig config(String directory, Configuration configuration) {
        try {
            return HuggingFace.config(HuggingFaceModel.open(new HadoopStorage(configuration), directory));
        } catch (CheckpointException e) {
            throw new IllegalArgumentException("initialModel cannot be used: " + e.getMessage(), e);
        }
    }

    /** Writes a model. */
    static void write(Path directory, ModelConfig config, double dropout, WeightSource weights, Tokenizer tokenizer)
            throws IOException {
        HuggingFaceModel.write(
                new LocalStorage(),
                directory.toString(),
                HuggingFace.configJson(config, dropout, tokenizer.endOfTextId()),
                HuggingFace.tensors(config, weights),
                tokenizer.files());
    }
}
