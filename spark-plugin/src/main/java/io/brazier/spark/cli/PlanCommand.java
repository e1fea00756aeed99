package io.brazier.spark.cli;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.Explanation;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Tells what a training run would need, without a cluster. */
@Command(
        name = "plan",
        mixinStandardHelpOptions = true,
        description = {
            "Tells what a training run would need: who holds what, bytes, messages and FLOPs of each rank, the schedule.",
            "Takes the options of train, and neither text nor cluster. Threads of a rank are spark.task.cpus."
        })
final class PlanCommand implements Callable<Integer> {
    @Spec
    private CommandSpec command;

    @Option(
            names = "--vocabulary-size",
            paramLabel = "INTEGER",
            description = "Tokens of the vocabulary. Default: those of the tokenizer, or of the initial model")
    private Integer vocabularySize;

    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Directory with a config.json of Hugging Face: another name of --initial-model.")
    private String model;

    @Option(names = "--json", description = "Print JSON; its keys carry the units.")
    private boolean json;

    /** The command with the options of train that concern the run. */
    static CommandLine create() {
        CommandLine line = new CommandLine(new PlanCommand());
        ParamOptions.add(line.getCommandSpec(), new CausalLM(), TrainCommand.paramsOfTheModelAlone());
        return line;
    }

    @Override
    public Integer call() {
        CausalLM estimator = new CausalLM();
        ParamOptions.apply(command.commandLine().getParseResult(), estimator);
        if (model != null) {
            estimator.setInitialModel(model);
        }
        SparkConf conf = new SparkConf();
        Explanation plan = Explanation.of(
                estimator, vocabularySize, conf, SparkHadoopUtil.get().newConfiguration(conf));
        PrintWriter out = command.commandLine().getOut();
        out.print(json ? plan.json() + System.lineSeparator() : plan.text());
        out.flush();
        return plan.misfit().isEmpty() ? ExitCode.OK.status() : ExitCode.USAGE.status();
    }
}
