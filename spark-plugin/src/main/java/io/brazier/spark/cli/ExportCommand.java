package io.brazier.spark.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Copies a model's files out of what Spark saved. */
@Command(
        name = "export",
        mixinStandardHelpOptions = true,
        description = "Writes a model in Hugging Face layout: config.json, model.safetensors, tokenizer.")
final class ExportCommand implements Callable<Integer> {
    @Spec
    private CommandSpec command;

    @Mixin
    private ModelOption model;

    @Option(names = "--output", required = true, paramLabel = "DIR", description = "Where the files go.")
    private String output;

    @Option(names = "--overwrite", description = "Write into a directory that exists.")
    private boolean overwrite;

    @Override
    public Integer call() throws IOException {
        try (SparkSession session = Sessions.open("export")) {
            Sessions.checkOutput(session, output, overwrite);
            model.load(session).exportTo(output, session.sparkContext().hadoopConfiguration());
            PrintWriter out = command.commandLine().getOut();
            out.println("EXPORTED model=" + output);
            out.flush();
        }
        return ExitCode.OK.status();
    }
}
