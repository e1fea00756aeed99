package io.brazier.cuda;

import java.util.stream.Collectors;

/** Prints the GPUs of this machine in the form that Spark expects of a discovery script; needs no class of Spark. */
public final class GpuAddresses {
    private GpuAddresses() {}

    /** Ends with status 1 and one sentence on the error stream where there is no GPU. */
    public static void main(String[] arguments) {
        try {
            System.out.println(Nvml.addresses().stream()
                    .map(address -> '"' + address + '"')
                    .collect(Collectors.joining(", ", "{\"name\": \"gpu\", \"addresses\": [", "]}")));
        } catch (IllegalArgumentException | IllegalStateException | CudaException | LinkageError e) {
            System.err.println("gpu-discovery: " + e.getMessage());
            System.exit(1);
        }
    }
}
