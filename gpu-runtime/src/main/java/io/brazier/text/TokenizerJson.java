package io.brazier.text;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;

/** Hugging Face's tokenizer.json for our own kinds. */
final class TokenizerJson {
    private TokenizerJson() {}

    /** Code points as byte-pair encoding without pairs. */
    static ObjectNode characters(int[] codePoints) {
        ObjectNode json = root();
        json.putNull("pre_tokenizer");
        json.putObject("decoder").put("type", "Fuse");
        ObjectNode vocabulary = model(json);
        for (int token = 0; token < codePoints.length; token++) {
            vocabulary.put(Character.toString(codePoints[token]), token);
        }
        return json;
    }

    /** GPT-2's byte-level form, its vocabulary and merges left empty. */
    static ObjectNode byteLevel(boolean splitWords) {
        ObjectNode json = root();
        for (String part : new String[] {"pre_tokenizer", "decoder"}) {
            json.putObject(part)
                    .put("type", "ByteLevel")
                    .put("add_prefix_space", false)
                    .put("trim_offsets", true)
                    .put("use_regex", splitWords);
        }
        model(json);
        return json;
    }

    static ObjectNode vocabulary(ObjectNode json) {
        return (ObjectNode) json.get("model").get("vocab");
    }

    static ArrayNode merges(ObjectNode json) {
        return (ArrayNode) json.get("model").get("merges");
    }

    private static ObjectNode root() {
        ObjectNode json = Json.mapper().createObjectNode();
        json.put("version", "1.0").putNull("truncation").putNull("padding");
        json.putArray("added_tokens");
        json.putNull("normalizer").putNull("post_processor");
        return json;
    }

    private static ObjectNode model(ObjectNode json) {
        ObjectNode model = json.putObject("model");
        model.put("type", "BPE").putNull("dropout").putNull("unk_token");
        model.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
        model.put("fuse_unk", false).put("byte_fallback", false);
        ObjectNode vocabulary = model.putObject("vocab");
        model.putArray("merges");
        return vocabulary;
    }

    /** The printable character that stands for a byte: itself where it is printable Latin-1, else one from U+0100 on. */
    static String symbol(int b) {
        return Character.toString(isPrintable(b) ? b : 0x100 + numUnprintableBelow(b));
    }

    private static boolean isPrintable(int b) {
        return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE && b <= 0xFF;
    }

    private static int numUnprintableBelow(int b) {
        int count = 0;
        for (int x = 0; x < b; x++) {
            count += isPrintable(x) ? 0 : 1;
        }
        return count;
    }
}
