package io.brazier.spark.plugin;

import io.brazier.cuda.Nvml;
import java.util.Optional;
import org.apache.spark.SparkConf;
import org.apache.spark.api.resource.ResourceDiscoveryPlugin;
import org.apache.spark.resource.ResourceInformation;
import org.apache.spark.resource.ResourceRequest;

/**
 * {@code spark.resources.discoveryPlugin=io.brazier.spark.plugin.GpuDiscovery}: announces this machine's GPUs by UUID, and MIG instances
 * where a GPU is split. What is no GPU it leaves to other plugins and to discovery scripts.
 */
public final class GpuDiscovery implements ResourceDiscoveryPlugin {
    private static final String GPU = "gpu";

    /** @throws IllegalStateException saying why there is no GPU: another way to look for them would hide the reason */
    @Override
    public Optional<ResourceInformation> discoverResource(ResourceRequest request, SparkConf conf) {
        return GPU.equals(request.id().resourceName())
                ? Optional.of(new ResourceInformation(GPU, Nvml.addresses().toArray(String[]::new)))
                : Optional.empty();
    }
}
