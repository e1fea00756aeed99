package io.brazier.spark.ml;

import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.Storage;
import io.brazier.spark.data.Corpus;
import io.brazier.spark.data.HadoopStorage;
import io.brazier.text.Tokenizer;
import io.brazier.text.Tokenizers;
import java.io.IOException;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Dataset;

/** Finds the tokenizer that the params ask for. */
final class Tokenizing {
    private Tokenizing() {}

    /** The one that is set, unless only the table tells. */
    static Optional<Tokenizer> known(CausalLM params, Configuration configuration) {
        boolean ofModel = !params.getInitialModel().isEmpty() && !params.isSet(params.tokenizer());
        boolean ofTable = params.getTokenizer().equals("characters") && !ofModel;
        return ofTable ? Optional.empty() : Optional.of(of(params, null, configuration));
    }

    /**
     * The one that is set; else that of the initial model; else bytes. The tokenizer characters reads the table once.
     *
     * @throws IllegalArgumentException when there is none
     */
    static Tokenizer of(CausalLM params, Dataset<?> table, Configuration configuration) {
        Storage storage = new HadoopStorage(configuration);
        String name = params.getTokenizer();
        try {
            if (!params.getInitialModel().isEmpty() && !params.isSet(params.tokenizer())) {
                return Tokenizers.load(storage, params.getInitialModel());
            }
            switch (name) {
                case "bytes":
                    return Tokenizers.bytes();
                case "gpt2":
                    return Tokenizers.gpt2();
                case "characters":
                    int[] codePoints = Corpus.codePoints(table, params.getTextCol(), params.getRowSeparator());
                    return Tokenizers.characters(new String(codePoints, 0, codePoints.length));
                default:
                    return Tokenizers.huggingFace(name, Tokenizers.read(storage, name));
            }
        } catch (IOException | CheckpointException e) {
            throw new IllegalArgumentException(
                    "tokenizer " + name + " cannot be used: " + e.getMessage()
                            + ": set it to bytes, characters, gpt2 or the path of a tokenizer.json",
                    e);
        }
    }
}
