package io.brazier.spark.ui;

import org.apache.spark.SparkContext;
import org.apache.spark.ui.SparkUI;
import org.apache.spark.ui.SparkUITab;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/** The tab "Training" of Spark's web UI. */
public final class TrainingTab extends SparkUITab {
    private static final Logger LOG = LoggerFactory.getLogger(TrainingTab.class);
    private static final String PREFIX = "training";

    private TrainingTab(SparkUI ui) {
        super(ui, PREFIX);
        attachPage(new TrainingPage(this));
    }

    /** Adds the tab to this application's UI, if it has one and the tab is not there yet; never fails. */
    public static synchronized void attach(SparkContext context) {
        try {
            Option<SparkUI> ui = context.ui();
            if (ui.isEmpty()
                    || CollectionConverters.asJava(ui.get().getTabs()).stream()
                            .anyMatch(tab -> tab.prefix().equals(PREFIX))) {
                return;
            }
            ui.get().attachTab(new TrainingTab(ui.get()));
        } catch (RuntimeException | LinkageError e) {
            LOG.warn("Spark's UI has no tab for training: {}", e.toString());
        }
    }
}
