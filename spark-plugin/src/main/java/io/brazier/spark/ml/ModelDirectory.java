package io.brazier.spark.ml;

import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.checkpoint.Storage;
import io.brazier.nn.HuggingFace;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.WeightSource;
import io.brazier.spark.data.HadoopStorage;
import io.brazier.text.Tokenizer;
import io.brazier.text.Tokenizers;
import java.io.IOException;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;

/** A model and its tokenizer in a directory in Hugging Face layout. */
record ModelDirectory(ModelConfig config, WeightSource weights, Tokenizer tokenizer) {

    /** @throws IllegalArgumentException when a file is missing, damaged, or of another kind of model */
    static ModelDirectory load(Path directory) {
        return load(new LocalStorage(), directory.toString());
    }

    /** Reads weights only when they are asked for. */
    static ModelDirectory load(Storage storage, String directory) {
        try {
            HuggingFaceModel model = HuggingFaceModel.open(storage, directory);
            ModelConfig config = HuggingFace.config(model);
            return new ModelDirectory(config, HuggingFace.weights(model, config), Tokenizers.load(storage, directory));
        } catch (CheckpointException e) {
            throw new IllegalArgumentException("the model cannot be used: " + e.getMessage(), e);
        }
    }

    /**
     * The sizes of a model anywhere.
     *
     * @param role for messages
     * @throws IllegalArgumentException when there is no model of this kind
     */
    static ModelConfig config(String role, String directory, Configuration configuration) {
        try {
            return HuggingFace.config(HuggingFaceModel.open(new HadoopStorage(configuration), directory));
        } catch (CheckpointException e) {
            throw new IllegalArgumentException(role + " cannot be used: " + e.getMessage(), e);
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
