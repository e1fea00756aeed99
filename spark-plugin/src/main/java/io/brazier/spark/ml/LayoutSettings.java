package io.brazier.spark.ml;

import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Precision;
import io.brazier.plan.Layout.Recompute;
import io.brazier.tensor.Mesh;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import org.apache.spark.SparkConf;
import org.apache.spark.network.util.JavaUtils;

/** Reads the layout and the memory that params ask for. */
final class LayoutSettings {
    private static final String OVERHEAD = "spark.executor.memoryOverhead";

    private LayoutSettings() {}

    /** The layout as it is set, with all workers that are left as data-parallel replicas; adds a violation when they do not divide. */
    static Layout layout(CausalLM params, List<String> violations) {
        int tp = params.getTensorParallel();
        int pp = params.getPipelineParallel();
        int cp = params.getContextParallel();
        int ep = params.getExpertParallel();
        long shared = (long) tp * pp * cp * ep;
        int numWorkers = params.getNumWorkers();
        if (numWorkers % shared != 0) {
            violations.add("dp ? * pp " + pp + " * cp " + cp + " * ep " + ep + " * tp " + tp + " = ? * " + shared
                    + " ranks, but numWorkers is " + numWorkers + ": set numWorkers to a multiple of " + shared);
        }
        int dp = (int) Math.max(1, numWorkers / shared);
        return new Layout(
                new Mesh(dp, pp, cp, ep, tp),
                params.getSequenceParallel() && tp > 1,
                params.getZeroStage(),
                Recompute.valueOf(params.getRecompute().toUpperCase(Locale.ROOT)),
                Precision.valueOf(params.getPrecision().toUpperCase(Locale.ROOT)),
                Schedule.parse(params.getSchedule()),
                params.getVirtualStages());
    }

    /**
     * What a rank may allocate: deviceMemory; else, where Spark ends executors that take more, its share of the memory outside
     * the heap.
     *
     * @throws IllegalArgumentException when deviceMemory is no size
     */
    static OptionalLong deviceBytes(CausalLM params, SparkConf conf) {
        String size = params.getDeviceMemory();
        if (!size.isEmpty()) {
            try {
                return OptionalLong.of(JavaUtils.byteStringAsBytes(size));
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException("deviceMemory " + size + " is no size: write 80g or 512m", e);
            }
        }
        String master = conf.get("spark.master", "");
        boolean limited = !params.getDevice().equals("cuda") && (master.startsWith("yarn") || master.startsWith("k8s"));
        if (!limited || !conf.contains(OVERHEAD)) {
            return OptionalLong.empty();
        }
        int ranks = Math.max(1, conf.getInt("spark.executor.cores", 1) / conf.getInt("spark.task.cpus", 1));
        return OptionalLong.of(JavaUtils.byteStringAs(conf.get(OVERHEAD), org.apache.spark.network.util.ByteUnit.MiB)
                * (1L << 20)
                / ranks);
    }
}
