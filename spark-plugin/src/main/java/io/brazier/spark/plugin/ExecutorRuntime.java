package io.brazier.spark.plugin;

import io.brazier.cpu.CpuNative;
import io.brazier.host.NativeLibrary;

/** What an executor prepares once per JVM, by the plugin or by the first task. */
public final class ExecutorRuntime {
    private static final double PROBE_SECONDS = 0.1;
    private static volatile boolean warm;

    /** Measured on first use, by the JVM's own once-only class initialization. */
    private static final class Probe {
        private static final double FLOPS = CpuNative.measureFmaFlops(PROBE_SECONDS);
    }

    private ExecutorRuntime() {}

    /**
     * Loads the native libraries and measures a core.
     *
     * @throws IllegalStateException when the libraries cannot be loaded
     */
    public static void warm() {
        NativeLibrary.require();
        warm = Probe.FLOPS > 0;
    }

    static boolean isWarm() {
        return warm;
    }

    /** The fp32 roof of one core, FLOP/s. */
    public static double coreFlops() {
        warm();
        return Probe.FLOPS;
    }
}
