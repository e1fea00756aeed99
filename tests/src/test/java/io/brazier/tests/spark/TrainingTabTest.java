package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.ui.TrainingRun;
import io.brazier.spark.ui.TrainingTab;
import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingListener;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.Test;

/** Spark's own web server serves the tab, on each Spark that is supported. */
class TrainingTabTest {
    @Test
    void theTabShowsTheLatestRun() throws Exception {
        SparkConf conf = new SparkConf()
                .setMaster("local[1]")
                .setAppName("tab")
                .set("spark.driver.host", "127.0.0.1")
                .set("spark.ui.port", "0");
        try (JavaSparkContext context = new JavaSparkContext(conf)) {
            TrainingTab.attach(context.sc());
            TrainingTab.attach(context.sc());
            TrainingRun run = TrainingRun.begin("a <run>", new TrainingListener() {});
            run.onDevice("the <CPU>", 1e11);
            for (int step = 1; step <= 3; step++) {
                run.onStep(new StepReport(step, 9, 4.0 / step, 1, 1e-3, 640, 0.5, 1e9, 1 << 20));
            }
            run.onEvaluation(new EvaluationReport(3, Math.log(2), 100));
            run.end(TrainingRun.State.FINISHED);
            String page = read(context.sc().uiWebUrl().get() + "/training/");
            assertTrue(page.contains("a &lt;run&gt;: finished"), page);
            assertTrue(page.contains("step 3 of 9, loss 1.3333"), page);
            assertTrue(page.contains("1280 tokens/s"), page);
            assertTrue(page.contains("perplexity 2.00"), page);
            assertTrue(page.contains("on the &lt;CPU&gt;"), page);
            assertTrue(page.contains("<polyline"), page);
        }
    }

    private static String read(String url) throws Exception {
        try (InputStream in = URI.create(url).toURL().openStream()) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }
}
