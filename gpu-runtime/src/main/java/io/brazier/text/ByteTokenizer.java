package io.brazier.text;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.OptionalInt;

/** UTF-8 bytes as tokens. */
final class ByteTokenizer implements Tokenizer {
    private static final int VOCABULARY_SIZE = 256;

    @Override
    public String name() {
        return "bytes";
    }

    @Override
    public int vocabularySize() {
        return VOCABULARY_SIZE;
    }

    @Override
    public int[] encode(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        int[] tokens = new int[bytes.length];
        for (int x = 0; x < tokens.length; x++) {
            tokens[x] = Byte.toUnsignedInt(bytes[x]);
        }
        return tokens;
    }

    @Override
    public String decode(int[] tokens) {
        byte[] bytes = new byte[tokens.length];
        for (int x = 0; x < tokens.length; x++) {
            if (tokens[x] < 0 || tokens[x] >= VOCABULARY_SIZE) {
                throw Tokenizers.outside(name(), tokens[x], VOCABULARY_SIZE);
            }
            bytes[x] = (byte) tokens[x];
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }

    @Override
    public OptionalInt endOfTextId() {
        return OptionalInt.empty();
    }

    @Override
    public Map<String, byte[]> files() {
        ObjectNode json = TokenizerJson.byteLevel(false);
        for (int b = 0; b < VOCABULARY_SIZE; b++) {
            TokenizerJson.vocabulary(json).put(TokenizerJson.symbol(b), b);
        }
        return Tokenizers.files(Tokenizers.kind(name()), json, Tokenizers.config());
    }
}
