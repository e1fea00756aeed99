package io.brazier.spark.plugin;

import io.brazier.cuda.CudaLibraries;
import io.brazier.cuda.GpuAddresses;
import java.io.File;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkConf;
import org.apache.spark.api.resource.ResourceDiscoveryPlugin;
import org.apache.spark.resource.ResourceInformation;
import org.apache.spark.resource.ResourceRequest;

/**
 * {@code spark.resources.discoveryPlugin=io.brazier.spark.plugin.GpuDiscovery}: announces this machine's GPUs by UUID, and MIG instances
 * where a GPU is split. What is no GPU it leaves to other plugins and to discovery scripts.
 *
 * <p>Looks from a process of its own. An executor calls plugins by a class loader that it then drops, and native libraries that one
 * loader has cannot be loaded by the next; and a worker must not end with a driver that lacks a function.
 */
public final class GpuDiscovery implements ResourceDiscoveryPlugin {
    private static final String GPU = "gpu";
    private static final long SECONDS = 60;
    private static final List<String> PASSED_ON = List.of(CudaLibraries.PROPERTY, "org.bytedeco.javacpp.cachedir");

    /** @throws IllegalStateException saying why there is no GPU: another way to look for them would hide the reason */
    @Override
    public Optional<ResourceInformation> discoverResource(ResourceRequest request, SparkConf conf) {
        return GPU.equals(request.id().resourceName())
                ? Optional.of(ResourceInformation.parseJson(look()))
                : Optional.empty();
    }

    private static String look() {
        try {
            Process process = new ProcessBuilder(command()).start();
            try {
                process.getOutputStream().close();
                if (!process.waitFor(SECONDS, TimeUnit.SECONDS)) { // what it prints fits a pipe
                    throw new IllegalStateException(
                            "NVIDIA's driver did not say within " + SECONDS + " s which GPUs there are");
                }
                String found = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
                String errors = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
                if (process.exitValue() != 0) {
                    throw new IllegalStateException("no GPU was found: " + errors.strip());
                }
                return found;
            } finally {
                process.destroyForcibly();
            }
        } catch (IOException | URISyntaxException e) {
            throw new IllegalStateException("the process that looks for GPUs does not start: " + e.getMessage(), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while looking for GPUs", e);
        }
    }

    /** This jar comes first, since Spark may have it from elsewhere than its class path. */
    private static List<String> command() throws URISyntaxException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        for (String property : PASSED_ON) {
            Optional.ofNullable(System.getProperty(property))
                    .ifPresent(value -> command.add("-D" + property + "=" + value));
        }
        Path jar = Path.of(GpuAddresses.class
                .getProtectionDomain()
                .getCodeSource()
                .getLocation()
                .toURI());
        command.addAll(List.of("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"));
        command.addAll(List.of("-cp", jar + File.pathSeparator + System.getProperty("java.class.path")));
        command.add(GpuAddresses.class.getName());
        return command;
    }
}
