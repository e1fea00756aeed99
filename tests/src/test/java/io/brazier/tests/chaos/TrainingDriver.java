package io.brazier.tests.chaos;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingListener;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.SparkSession;

/** A driver of its own, to be killed: trains with checkpoints, says so, and exports the model. */
public final class TrainingDriver {
    private TrainingDriver() {}

    /** Arguments: directory of checkpoints, directory of the model, number of steps. */
    public static void main(String[] arguments) throws Exception {
        SparkSession spark = SparkSession.builder().appName("training driver").getOrCreate();
        List<String> rows = new ArrayList<>();
        for (int x = 0; x < 200; x++) {
            rows.add("verse " + x + ": and it came to pass that the number was " + x * x);
        }
        Path progress = Path.of(arguments[1] + ".progress");
        CausalLMModel model = new CausalLM()
                .setNumLayers(1)
                .setNumHeads(2)
                .setWidth(32)
                .setSequenceLength(32)
                .setBatchSize(4)
                .setNumSteps(Long.parseLong(arguments[2]))
                .setNumWorkers(2)
                .setCheckpointDir(arguments[0])
                .setCheckpointInterval(10)
                .setListener(new TrainingListener() {
                    @Override
                    public void onStep(StepReport report) {
                        write(progress, "" + report.step());
                    }
                })
                .fit(spark.createDataset(rows, Encoders.STRING()).toDF("text"));
        write(Path.of(arguments[1] + ".steps"), "" + model.summary().lossHistory().length);
        model.exportTo(arguments[1], spark.sparkContext().hadoopConfiguration());
        spark.stop();
    }

    private static void write(Path file, String text) {
        try {
            Files.writeString(file, text);
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
