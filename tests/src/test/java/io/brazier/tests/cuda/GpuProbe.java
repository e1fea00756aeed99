package io.brazier.tests.cuda;

import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.GpuInventory;
import io.brazier.cuda.Nvml;
import io.brazier.spark.plugin.GpuDiscovery;
import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.apache.spark.SparkConf;
import org.apache.spark.resource.ResourceID;
import org.apache.spark.resource.ResourceRequest;

/** Prints what a process with its own environment finds of GPUs. */
public final class GpuProbe {
    private GpuProbe() {}

    /** @param arguments {@code inventory}, {@code open ADDRESS...} or {@code announce RESOURCE...}, which opens a GPU then */
    public static void main(String[] arguments) throws Exception {
        List<String> names = Arrays.asList(arguments).subList(1, arguments.length);
        switch (arguments[0]) {
            case "inventory":
                inventory();
                break;
            case "open":
                names.forEach(GpuProbe::open);
                break;
            case "announce":
                for (String resource : names) {
                    elsewhere("announceHere", resource);
                }
                open("1");
                break;
            case "announceHere":
                names.forEach(GpuProbe::announce);
                break;
            default:
                throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void inventory() {
        GpuInventory inventory = Nvml.inventory();
        System.out.println(inventory.driverVersion() + " " + inventory.cudaVersion());
        inventory.gpus().forEach(System.out::println);
        inventory.links().forEach(System.out::println);
    }

    private static void open(String address) {
        try (CudaDevice device = CudaDevice.open(address)) {
            System.out.println(device.uuid() + " " + device.ordinal() + " of " + CudaDevice.count() + ", "
                    + (device.totalBytes() >> 20) + " MiB");
        } catch (IllegalArgumentException e) {
            System.out.println("refused: " + e.getMessage());
        }
    }

    /** As Spark calls plugins: by a class loader of their own. */
    private static void elsewhere(String... arguments) throws Exception {
        List<URL> urls = new ArrayList<>();
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
            urls.add(Path.of(entry).toUri().toURL());
        }
        try (URLClassLoader loader =
                new URLClassLoader(urls.toArray(URL[]::new), ClassLoader.getPlatformClassLoader())) {
            loader.loadClass(GpuProbe.class.getName())
                    .getMethod("main", String[].class)
                    .invoke(null, (Object) arguments);
        }
    }

    private static void announce(String resource) {
        ResourceRequest request =
                new ResourceRequest(new ResourceID("spark.executor", resource), 1, Optional.empty(), Optional.empty());
        System.out.println(new GpuDiscovery()
                .discoverResource(request, new SparkConf(false))
                .map(found -> found.name() + " " + List.of(found.addresses()))
                .orElse("not mine"));
    }
}
