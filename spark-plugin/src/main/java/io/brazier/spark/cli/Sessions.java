package io.brazier.spark.cli;

import java.io.IOException;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** What every command that needs Spark does with it. */
final class Sessions {
    private Sessions() {}

    /** The session that spark-submit's settings give; the caller closes it. */
    static SparkSession open(String command) {
        return SparkSession.builder()
                .appName("brazier " + command)
                // Two bars on one line would overwrite each other.
                .config("spark.ui.showConsoleProgress", "false")
                .getOrCreate();
    }

    /** Rows of text: of Parquet, JSON or ORC files a column; of all other files the lines. */
    static Dataset<Row> read(SparkSession session, List<String> inputs, String textCol) throws IOException {
        for (String input : inputs) {
            Path path = new Path(input);
            var matches = fileSystem(session, input).globStatus(path);
            if (matches == null || matches.length == 0) {
                throw new IllegalArgumentException("input " + input + " does not exist");
            }
        }
        String[] paths = inputs.toArray(new String[0]);
        String format = format(inputs.get(0));
        for (String input : inputs) {
            if (!format(input).equals(format)) {
                throw new IllegalArgumentException(
                        "inputs " + inputs.get(0) + " and " + input + " are of different kinds: train on one kind");
            }
        }
        return format.equals("text")
                ? session.read().text(paths).withColumnRenamed("value", textCol)
                : session.read().format(format).load(paths);
    }

    /** @throws IllegalArgumentException when the directory exists and is not to be replaced */
    static void checkOutput(SparkSession session, String output, boolean overwrite) throws IOException {
        if (!overwrite && fileSystem(session, output).exists(new Path(output))) {
            throw new IllegalArgumentException(
                    "output " + output + " exists: choose another directory, or add --overwrite to replace it");
        }
    }

    static FileSystem fileSystem(SparkSession session, String path) throws IOException {
        return new Path(path).getFileSystem(session.sparkContext().hadoopConfiguration());
    }

    private static String format(String input) {
        String name = input.toLowerCase(Locale.ROOT).replaceAll("/+$", "");
        if (name.endsWith(".jsonl")) {
            return "json";
        }
        return List.of("parquet", "json", "orc").stream()
                .filter(format -> name.endsWith("." + format))
                .findFirst()
                .orElse("text");
    }
}
