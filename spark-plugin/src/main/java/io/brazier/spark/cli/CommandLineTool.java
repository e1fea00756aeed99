package io.brazier.spark.cli;

import io.brazier.train.TrainingException;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** The commands together, and how their failures are told. */
@Command(
        name = "brazier",
        description = "Trains and runs language models inside Apache Spark.",
        mixinStandardHelpOptions = true,
        versionProvider = CommandLineTool.Version.class,
        subcommands = {ExportCommand.class, DoctorCommand.class},
        exitCodeListHeading = "%nExit codes:%n")
public final class CommandLineTool {
    @Option(names = "--verbose", scope = ScopeType.INHERIT, description = "Print the stack trace of a failure.")
    private boolean verbose;

    /** Version of the jar and of the Spark around it. */
    static final class Version implements CommandLine.IVersionProvider {
        @Override
        public String[] getVersion() {
            String version = CommandLineTool.class.getPackage().getImplementationVersion();
            return new String[] {
                "brazier " + (version == null ? "(unpacked)" : version),
                "Spark " + org.apache.spark.package$.MODULE$.SPARK_VERSION() + ", Java " + Runtime.version()
            };
        }
    }

    private CommandLineTool() {}

    /** Runs one command; returns the exit code. */
    public static int run(String... arguments) {
        CommandLineTool tool = new CommandLineTool();
        Map<String, String> exitCodes = new LinkedHashMap<>();
        for (ExitCode code : ExitCode.values()) {
            exitCodes.put("" + code.status(), code.meaning());
        }
        CommandLine line = new CommandLine(tool)
                .addSubcommand(TrainCommand.create())
                .addSubcommand(PlanCommand.create())
                .addSubcommand(SimulateCommand.create())
                .addSubcommand(GenerateCommand.create())
                .addSubcommand(EvaluateCommand.create());
        line.getCommandSpec().usageMessage().exitCodeList(exitCodes);
        if (arguments.length == 0) {
            line.usage(System.out);
            return ExitCode.USAGE.status();
        }
        line.setExecutionExceptionHandler((failure, command, parsed) -> tool.report(failure, command.getErr()));
        try {
            return line.execute(arguments);
        } catch (Error e) { // picocli hands over exceptions only
            return tool.report(e, line.getErr());
        }
    }

    /** One sentence, and the code that fits; the first failure in the chain that speaks to users wins. */
    private int report(Throwable failure, PrintWriter err) {
        ExitCode code = ExitCode.FAILED;
        String message = null;
        for (Throwable cause = failure; cause != null && message == null; cause = cause.getCause()) {
            if (cause instanceof TrainingException) {
                code = ExitCode.of(((TrainingException) cause).category());
                message = cause.getMessage();
            } else if (cause instanceof IllegalArgumentException) {
                code = ExitCode.USAGE;
                message = cause.getMessage();
            }
        }
        if (message == null) {
            message = failure.getClass().getSimpleName() + ": " + failure.getMessage()
                    + (verbose ? "" : " (--verbose shows where)");
        }
        err.println("brazier: " + message);
        if (verbose) {
            failure.printStackTrace(err);
        }
        err.flush();
        return code.status();
    }
}
