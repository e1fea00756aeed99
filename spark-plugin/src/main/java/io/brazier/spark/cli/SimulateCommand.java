package io.brazier.spark.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.sim.ChromeTrace;
import io.brazier.sim.Hardware;
import io.brazier.sim.LayoutSearch.Found;
import io.brazier.sim.Scenario;
import io.brazier.sim.SimulationReport;
import io.brazier.sim.Simulator;
import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.Simulation;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Predicts what a training step takes on hardware that a file describes, without it and without a cluster. */
@Command(
        name = "simulate",
        mixinStandardHelpOptions = true,
        description = {
            "Predicts what a training step takes on hardware that a file describes.",
            "Takes the options of train for the model's sizes, the batch and the layout; --layout auto looks for the best."
        })
final class SimulateCommand implements Callable<Integer> {
    private static final int NUM_FOUND = 5;

    @Spec
    private CommandSpec command;

    @Option(
            names = "--cluster",
            paramLabel = "NAME",
            defaultValue = "h100",
            description = "Hardware: a100, h100 or the path of a .json file. Default: ${DEFAULT-VALUE}")
    private String cluster;

    @Option(
            names = "--gpus",
            paramLabel = "INTEGER",
            description = "Devices, one for each rank: another name of --num-workers.")
    private Integer gpus;

    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Directory with a config.json of Hugging Face; its weights are not needed. Without it the"
                    + " options of train give the sizes.")
    private String model;

    @Option(
            names = "--vocabulary-size",
            paramLabel = "INTEGER",
            defaultValue = "50257",
            description = "Tokens of the vocabulary, without --model. Default: ${DEFAULT-VALUE}")
    private int vocabularySize;

    @Option(names = "--json", description = "Print JSON; its keys carry the units.")
    private boolean json;

    @Option(names = "--trace", paramLabel = "FILE", description = "Write the step for Perfetto or chrome://tracing.")
    private Path trace;

    static CommandLine create() {
        CommandLine line = new CommandLine(new SimulateCommand());
        CausalLM estimator = new CausalLM();
        Set<String> leftOut = new HashSet<>(TrainCommand.paramsOfTheModelAlone());
        leftOut.add(estimator.initialModel().name());
        leftOut.add(estimator.cluster().name());
        ParamOptions.add(line.getCommandSpec(), estimator, leftOut);
        return line;
    }

    @Override
    public Integer call() throws IOException {
        CausalLM params = new CausalLM();
        ParamOptions.apply(command.commandLine().getParseResult(), params);
        if (gpus != null) {
            params.setNumWorkers(gpus);
        }
        checkTrace();
        SparkConf conf = new SparkConf();
        Configuration configuration = SparkHadoopUtil.get().newConfiguration(conf);
        Hardware device = Simulation.hardware(cluster, configuration);
        Simulation simulation = model == null
                ? Simulation.of(params, vocabularySize, conf, configuration)
                : Simulation.of(params, model, configuration);
        List<Found> found = simulation.searches() ? simulation.search(device, NUM_FOUND) : List.of();
        Scenario scenario =
                found.isEmpty() ? simulation.scenario() : found.get(0).scenario();
        SimulationReport report = simulate(scenario, device);
        PrintWriter out = command.commandLine().getOut();
        if (json) {
            out.println(new String(Json.bytes(json(scenario, report, found)), StandardCharsets.UTF_8));
        } else {
            for (int x = 0; x < found.size(); x++) {
                out.println(x + 1 + ". " + found.get(x));
            }
            out.println(scenario.layout());
            out.print(report);
        }
        out.flush();
        return ExitCode.OK.status();
    }

    /** Before a simulation that may take long. */
    private void checkTrace() {
        if (trace == null) {
            return;
        }
        Path directory = trace.toAbsolutePath().getParent();
        boolean writable = Files.exists(trace)
                ? Files.isRegularFile(trace) && Files.isWritable(trace)
                : Files.isDirectory(directory) && Files.isWritable(directory);
        if (!writable) {
            throw new IllegalArgumentException(
                    "--trace " + trace + " cannot be written: name a file in a directory that is there and writable");
        }
    }

    private SimulationReport simulate(Scenario scenario, Hardware device) throws IOException {
        if (trace == null) {
            return Simulator.simulate(scenario, device);
        }
        try (ChromeTrace written = new ChromeTrace(Files.newOutputStream(trace))) {
            return Simulator.simulate(scenario, device, written);
        }
    }

    private static ObjectNode json(Scenario scenario, SimulationReport report, List<Found> found) {
        ObjectNode node = report.json().put("layout", scenario.layout().toString());
        for (Found f : found) {
            node.withArray("found")
                    .addObject()
                    .put("layout", f.layout().toString())
                    .put("numMicroBatches", f.scenario().numMicroBatches())
                    .put("stepSeconds", f.stepSeconds())
                    .put("memoryBytes", f.memoryBytes())
                    .put("limit", f.limit().name().toLowerCase(java.util.Locale.ROOT));
        }
        return node;
    }
}
