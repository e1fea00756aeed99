package io.brazier.spark.plugin;

import com.codahale.metrics.Gauge;
import io.brazier.spark.ui.TrainingRun;
import io.brazier.train.StepReport;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.apache.spark.resource.ResourceInformation;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** {@code spark.plugins=io.brazier.spark.plugin.BrazierPlugin}: optional; warms executors, binds them to their GPUs and registers metrics. */
public final class BrazierPlugin implements SparkPlugin {
    private static final Logger LOG = LoggerFactory.getLogger(BrazierPlugin.class);

    @Override
    public DriverPlugin driverPlugin() {
        return new Driver();
    }

    @Override
    public ExecutorPlugin executorPlugin() {
        return new Executor();
    }

    private static final class Driver implements DriverPlugin {
        @Override
        public void registerMetrics(String appId, PluginContext context) {
            register(context, "step", StepReport::step);
            register(context, "loss", StepReport::loss);
            register(context, "gradientNorm", StepReport::gradientNorm);
            register(context, "tokensPerSecond", StepReport::tokensPerSecond);
        }

        private static void register(PluginContext context, String name, ToDoubleFunction<StepReport> value) {
            Gauge<Double> gauge =
                    () -> TrainingRun.lastStep().map(value::applyAsDouble).orElse(Double.NaN);
            context.metricRegistry().register(name, gauge);
        }
    }

    private static final class Executor implements ExecutorPlugin {
        /** An exception from here would make Spark relaunch this executor for ever, so none leaves. */
        @Override
        public void init(PluginContext context, Map<String, String> extraConf) {
            try {
                Gauge<Double> peak = () -> ExecutorRuntime.isWarm() ? ExecutorRuntime.coreFlops() : Double.NaN;
                context.metricRegistry().register("coreFlops", peak);
                ExecutorRuntime.warm();
                ResourceInformation gpus = context.resources().get("gpu");
                if (gpus != null) {
                    Stream.of(gpus.addresses()).forEach(ExecutorGpus::open);
                }
            } catch (Exception | LinkageError e) {
                LOG.warn("Executor {} is not ready for training: {}", context.executorID(), e.toString());
            }
        }
    }
}
