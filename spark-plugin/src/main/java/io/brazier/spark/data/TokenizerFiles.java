package io.brazier.spark.data;

import io.brazier.checkpoint.LocalStorage;
import io.brazier.text.Tokenizer;
import io.brazier.text.Tokenizers;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.hadoop.fs.FileUtil;

/** A tokenizer on its way to the executors. A JVM keeps the one that it opened last, since each task brings its own copy. */
public final class TokenizerFiles implements Serializable {
    private static final long serialVersionUID = 1L;
    private static TokenizerFiles lastOpened;

    private final HashMap<String, byte[]> files;
    private transient Tokenizer tokenizer;

    public TokenizerFiles(Tokenizer tokenizer) {
        this.files = new HashMap<>(tokenizer.files());
        this.tokenizer = tokenizer;
    }

    /** By name, as they lie beside a model. */
    public Map<String, byte[]> files() {
        return Map.copyOf(files);
    }

    public Tokenizer open() {
        synchronized (TokenizerFiles.class) {
            if (tokenizer == null) {
                tokenizer = lastOpened != null && lastOpened.hasFilesOf(this) ? lastOpened.tokenizer : load();
                lastOpened = this;
            }
            return tokenizer;
        }
    }

    private boolean hasFilesOf(TokenizerFiles other) {
        return files.keySet().equals(other.files.keySet())
                && files.entrySet().stream()
                        .allMatch(file -> Arrays.equals(file.getValue(), other.files.get(file.getKey())));
    }

    private Tokenizer load() {
        try {
            Path directory = Files.createTempDirectory("brazier-tokenizer");
            try {
                for (Map.Entry<String, byte[]> file : files.entrySet()) {
                    Files.write(directory.resolve(file.getKey()), file.getValue());
                }
                return Tokenizers.load(new LocalStorage(), directory.toString());
            } finally {
                FileUtil.fullyDelete(directory.toFile());
            }
        } catch (IOException e) {
            throw new UncheckedIOException("no tokenizer could be unpacked in java.io.tmpdir", e);
        }
    }
}
