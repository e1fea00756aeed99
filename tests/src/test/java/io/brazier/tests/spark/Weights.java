package io.brazier.tests.spark;

import io.brazier.spark.ml.CausalLMModel;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;

/** The weights of a model as the bytes of its file. */
public final class Weights {
    private Weights() {}

    /** Of a model whose files are on this machine. */
    public static byte[] of(CausalLMModel model) throws IOException {
        return in(Path.of(URI.create(model.directory())));
    }

    /** In a directory of Hugging Face layout. */
    public static byte[] in(Path directory) throws IOException {
        return Files.readAllBytes(directory.resolve("model.safetensors"));
    }
}
