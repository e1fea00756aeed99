package io.brazier.text;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import io.brazier.checkpoint.CheckpointException;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The library behind a tokenizer.json is native: what it cannot take must not take the process with it. */
class DamagedTokenizerTest {
    private static final long SEED = 11;
    private static final String TEXT = "aé \uD83D\uDE00 b";
    private static final String[] PIECES = {
        "null",
        "-1",
        "1e9",
        "0",
        "true",
        "\"\"",
        "{}",
        "[]",
        "4294967295",
        "18446744073709551616",
        "\"BPE\"",
        "\"Unigram\"",
        "\"WordPiece\"",
        "\"WordLevel\"",
        "\"ByteLevel\"",
        "\"Metaspace\"",
        "\"ByteFallback\"",
        "\"Replace\"",
        ",",
        ":",
        "{",
        "]"
    };

    private static final String FRAME =
            """
            {"version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{"id": 3, "content": "<eos>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "x+"},
            "content": "x"}]},
            "pre_tokenizer": {"type": "%s", "replacement": "\u2581", "prepend_scheme": "always", "split": true},
            "post_processor": null,
            "decoder": {"type": "%s", "replacement": "\u2581", "prefix": "##", "cleanup": true, "prepend_scheme": "always"},
            "model": {"type": "%s", %s}}""";

    static Stream<String> tokenizers() {
        String bytePairs = "\"dropout\": null, \"unk_token\": \"u\", \"fuse_unk\": true, \"byte_fallback\": true,\n"
                + "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"<eos>\": 3, \"u\": 4}, \"merges\": [[\"a\", \"b\"]]";
        String pieces = "\"unk_id\": 0, \"byte_fallback\": true,\n"
                + "\"vocab\": [[\"u\", 0.0], [\"a\", -1.5], [\"\u2581b\", -2.0]]";
        String words =
                "\"unk_token\": \"u\", \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100,\n"
                        + "\"vocab\": {\"a\": 0, \"##b\": 1, \"u\": 2}";
        return Stream.of(
                new String(
                        Tokenizers.characters(TEXT).files().get(Tokenizers.HUGGING_FACE_FILE), StandardCharsets.UTF_8),
                String.format(FRAME, "Metaspace", "ByteFallback", "BPE", bytePairs),
                String.format(FRAME, "Metaspace", "Metaspace", "Unigram", pieces),
                String.format(FRAME, "BertPreTokenizer", "WordPiece", "WordPiece", words));
    }

    @ParameterizedTest
    @MethodSource("tokenizers")
    void damageGivesATypedErrorOrATokenizer(String whole) {
        Tokenizers.huggingFace("x", whole.getBytes(StandardCharsets.UTF_8)).encode(TEXT);
        Random random = new Random(SEED);
        int numRefused = 0;
        int numRuns = Integer.getInteger("brazier.fuzz", 2000);
        for (int run = 0; run < numRuns; run++) {
            String damaged = damage(whole, random);
            try {
                Tokenizer tokenizer = Tokenizers.huggingFace("x", damaged.getBytes(StandardCharsets.UTF_8));
                tokenizer.decode(tokenizer.encode(TEXT));
            } catch (CheckpointException | IllegalArgumentException e) {
                numRefused++;
            } catch (RuntimeException | Error e) {
                fail("seed " + SEED + " run " + run + ": " + damaged, e);
            }
        }
        assertTrue(numRefused > numRuns / 4, numRefused + " refused");
    }

    /** Replaces values and spans. */
    private static String damage(String whole, Random random) {
        StringBuilder damaged = new StringBuilder(whole);
        for (int edits = 1 + random.nextInt(3); edits > 0; edits--) {
            String piece = PIECES[random.nextInt(PIECES.length)];
            int from = random.nextInt(damaged.length());
            int colon = damaged.indexOf(": ", from);
            if (random.nextInt(4) > 0 && colon > 0) {
                int end = colon + 2;
                while (end < damaged.length() && ",}\n".indexOf(damaged.charAt(end)) < 0) {
                    end++;
                }
                damaged.replace(colon + 2, end, piece);
            } else {
                damaged.replace(from, Math.min(damaged.length(), from + random.nextInt(8)), piece);
            }
        }
        return damaged.toString();
    }
}
