package io.brazier.spark.cli;

import io.brazier.spark.ml.CausalLMModel;
import java.io.IOException;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Option;

/** The option that names a model, in either of the forms it may have on disk. */
final class ModelOption {
    @Option(
            names = "--model",
            required = true,
            paramLabel = "DIR",
            description = "What train saved, or a GPT-2 in Hugging Face layout.")
    private String directory;

    CausalLMModel load(SparkSession session) throws IOException {
        if (!Sessions.fileSystem(session, directory).exists(new Path(directory))) {
            throw new IllegalArgumentException("model " + directory + " does not exist");
        }
        boolean saved = Sessions.fileSystem(session, directory).exists(new Path(directory, "metadata"));
        return saved ? CausalLMModel.load(directory) : CausalLMModel.fromHuggingFace(directory);
    }
}
