package io.brazier.spark.cli;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import io.brazier.spark.ml.CausalLMSummary;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.spark.ml.param.Param;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a model on text and saves it. */
@Command(
        name = "train",
        mixinStandardHelpOptions = true,
        description = {
            "Trains a language model on text and saves it.",
            "The last line of the output is TRAINED key=value ..., with losses in nats per token."
        })
final class TrainCommand implements Callable<Integer> {
    @Spec
    private CommandSpec command;

    @Option(
            names = "--input",
            required = true,
            paramLabel = "PATH",
            description = "Text files, or Parquet, JSON or ORC files with a column of text; may be repeated.")
    private List<String> inputs;

    @Option(names = "--output", required = true, paramLabel = "DIR", description = "Where the model is saved.")
    private String output;

    @Option(names = "--overwrite", description = "Replace what is in the output directory.")
    private boolean overwrite;

    @Option(
            names = "--tensorboard",
            paramLabel = "DIR",
            description = "Directory of the driver's disk that receives curves for TensorBoard.")
    private Path tensorboard;

    /** The command with an option for every param of the estimator that concerns training. */
    static CommandLine create() {
        CommandLine line = new CommandLine(new TrainCommand());
        ParamOptions.add(line.getCommandSpec(), new CausalLM(), paramsOfTheModelAlone());
        return line;
    }

    /** What training does not read, though the estimator hands it on to the model. */
    static Set<String> paramsOfTheModelAlone() {
        Set<String> names = new HashSet<>();
        for (Param<?> param : CausalLMModel.fromHuggingFace("").params()) {
            names.add(param.name());
        }
        CausalLM estimator = new CausalLM();
        names.removeAll(Arrays.asList(
                estimator.textCol().name(),
                estimator.device().name(),
                estimator.seed().name(),
                estimator.tensorParallel().name(),
                estimator.pipelineParallel().name()));
        return names;
    }

    @Override
    public Integer call() throws IOException {
        CausalLM estimator = new CausalLM();
        ParamOptions.apply(command.commandLine().getParseResult(), estimator);
        try (SparkSession session = Sessions.open("train")) {
            Sessions.checkOutput(session, output, overwrite);
            Dataset<Row> table = Sessions.read(session, inputs, estimator.getTextCol());
            CausalLMModel model = fit(estimator, table);
            if (overwrite) {
                model.write().overwrite().save(output);
            } else {
                model.write().save(output);
            }
            PrintWriter out = command.commandLine().getOut();
            out.println(result(model.summary()));
            out.flush();
        }
        return ExitCode.OK.status();
    }

    private CausalLMModel fit(CausalLM estimator, Dataset<Row> table) throws IOException {
        ProgressReporter.Display display = ProgressReporter.Display.ofStandardError();
        try (ProgressReporter reporter =
                new ProgressReporter(command.commandLine().getErr(), display, tensorboard)) {
            return estimator.setListener(reporter).fit(table);
        }
    }

    private String result(CausalLMSummary summary) {
        double[] losses = summary.lossHistory();
        return String.format(
                Locale.ROOT,
                "TRAINED steps=%d loss=%.4f validationLoss=%.4f validationPerplexity=%.4f tokensPerSecond=%.0f"
                        + " modelFlopsUtilization=%.3f seconds=%.1f restarts=%d model=%s",
                summary.numSteps(),
                losses.length == 0 ? Double.NaN : losses[losses.length - 1],
                summary.validationLoss(),
                summary.validationPerplexity(),
                summary.tokensPerSecond(),
                summary.modelFlopsUtilization(),
                summary.trainingSeconds(),
                summary.numRestarts(),
                output);
    }
}
