package io.brazier;

import io.brazier.spark.cli.CommandLineTool;

/** The command line: {@code spark-submit --class io.brazier.Brazier brazier.jar <command>}. */
public final class Brazier {
    private Brazier() {}

    public static void main(String[] arguments) {
        int status = CommandLineTool.run(arguments);
        if (status != 0) {
            // Leaves at once: Spark's own threads would keep a failed driver alive.
            System.exit(status);
        }
    }
}
