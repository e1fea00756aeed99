package io.brazier.spark.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.apache.spark.SparkConf;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** Says what was found on this machine and in Spark's settings, and what to do about it. */
@Command(
        name = "doctor",
        mixinStandardHelpOptions = true,
        description = "Looks at this machine and Spark's settings; every finding is ok, warn or fail, with its remedy.")
final class DoctorCommand implements Callable<Integer> {
    @Spec
    private CommandSpec command;

    @Override
    public Integer call() {
        List<Finding> findings = new ArrayList<>(MachineCheck.run());
        findings.addAll(SettingsCheck.run(new SparkConf()));
        PrintWriter out = command.commandLine().getOut();
        for (Finding finding : findings) {
            String level = finding.level().name().toLowerCase(Locale.ROOT);
            out.printf("%-4s  %s: %s%n", level, finding.subject(), finding.text());
            if (!finding.remedy().isEmpty()) {
                out.printf("      -> %s%n", finding.remedy());
            }
        }
        out.flush();
        boolean failed = findings.stream().anyMatch(finding -> finding.level() == Finding.Level.FAIL);
        return (failed ? ExitCode.FAILED : ExitCode.OK).status();
    }
}
