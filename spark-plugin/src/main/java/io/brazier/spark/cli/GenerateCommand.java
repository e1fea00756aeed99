package io.brazier.spark.cli;

import io.brazier.spark.ml.CausalLMModel;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Continues texts. */
@Command(name = "generate", mixinStandardHelpOptions = true, description = "Continues texts and prints them.")
final class GenerateCommand implements Callable<Integer> {
    @Spec
    private CommandSpec command;

    @Mixin
    private ModelOption model;

    @ArgGroup(multiplicity = "1")
    private Prompts prompts;

    /** Where the beginnings come from. */
    static final class Prompts {
        @Option(names = "--prompt", paramLabel = "TEXT", description = "A text to continue; may be repeated.")
        private List<String> texts;

        @Option(names = "--input", paramLabel = "PATH", description = "Text files with one text a line.")
        private List<String> inputs;
    }

    static CommandLine create() {
        CommandLine line = new CommandLine(new GenerateCommand());
        ParamOptions.add(
                line.getCommandSpec(),
                CausalLMModel.fromHuggingFace(""),
                Set.of("task", "outputCol", "logLikelihoodCol", "perplexityCol"));
        return line;
    }

    @Override
    public Integer call() throws IOException {
        try (SparkSession session = Sessions.open("generate")) {
            CausalLMModel loaded = model.load(session).setTask("generate");
            ParamOptions.apply(command.commandLine().getParseResult(), loaded);
            Dataset<Row> table = prompts.texts != null
                    ? session.createDataset(prompts.texts, Encoders.STRING()).toDF(loaded.getTextCol())
                    : Sessions.read(session, prompts.inputs, loaded.getTextCol());
            PrintWriter out = command.commandLine().getOut();
            for (Row row : loaded.transform(table)
                    .select(loaded.getTextCol(), loaded.getOutputCol())
                    .collectAsList()) {
                out.println(row.getString(0) + (row.isNullAt(1) ? "" : row.getString(1)));
            }
            out.flush();
        }
        return ExitCode.OK.status();
    }
}
