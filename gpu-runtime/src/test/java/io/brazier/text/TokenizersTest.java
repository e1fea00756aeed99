package io.brazier.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.LocalStorage;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class TokenizersTest {
    private static final String TEXT =
            "In the beginning, God created 10 heavens:\n\n\tnaïve “Ωμέγα” \uD83D\uDE00 don't <|x|>  end ";

    @TempDir
    Path directory;

    static Stream<Tokenizer> all() {
        return Stream.of(Tokenizers.bytes(), Tokenizers.characters(TEXT), Tokenizers.gpt2());
    }

    @ParameterizedTest
    @MethodSource("all")
    void textSurvives(Tokenizer tokenizer) {
        for (String text : new String[] {TEXT, "", " ", TEXT.repeat(5000)}) {
            int[] tokens = tokenizer.encode(text);
            assertEquals(text, tokenizer.decode(tokens));
            for (int token : tokens) {
                assertTrue(token >= 0 && token < tokenizer.vocabularySize());
            }
        }
        assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {tokenizer.vocabularySize()}));
        assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {-1}));
    }

    /** Hugging Face's own library reads our files and agrees. */
    @ParameterizedTest
    @MethodSource("all")
    void huggingFaceReadsTheSavedFile(Tokenizer tokenizer) {
        Tokenizer other = Tokenizers.huggingFace("saved", tokenizer.files().get("tokenizer.json"));
        assertEquals(tokenizer.vocabularySize(), other.vocabularySize());
        assertEquals(tokenizer.endOfTextId(), other.endOfTextId());
        assertArrayEquals(tokenizer.encode(TEXT), other.encode(TEXT));
        assertEquals(TEXT, other.decode(other.encode(TEXT)));
    }

    @ParameterizedTest
    @MethodSource("all")
    void filesMakeAnEqualTokenizer(Tokenizer tokenizer) throws Exception {
        for (Map.Entry<String, byte[]> file : tokenizer.files().entrySet()) {
            Files.write(directory.resolve(file.getKey()), file.getValue());
        }
        Tokenizer again = Tokenizers.load(new LocalStorage(), directory.toString());
        assertEquals(tokenizer.name(), again.name());
        assertArrayEquals(tokenizer.encode(TEXT), again.encode(TEXT));
    }

    /** Nothing is cut or filled up, whatever the file asks for or the library is used to. */
    @Test
    void huggingFaceEncodesTheWholeText() throws Exception {
        String json = new String(Tokenizers.gpt2().files().get("tokenizer.json"), StandardCharsets.UTF_8);
        ObjectNode limited = (ObjectNode) Json.mapper().readTree(json);
        limited.putObject("truncation")
                .put("direction", "Right")
                .put("max_length", 8)
                .put("strategy", "LongestFirst")
                .put("stride", 0);
        ObjectNode padding = limited.putObject("padding");
        padding.put("direction", "Right").putNull("pad_to_multiple_of").put("pad_id", 0);
        padding.put("pad_type_id", 0)
                .put("pad_token", "!")
                .putObject("strategy")
                .put("Fixed", 16);
        Tokenizer whole = Tokenizers.huggingFace("plain", json.getBytes(StandardCharsets.UTF_8));
        Tokenizer other = Tokenizers.huggingFace("limited", Json.bytes(limited));
        String[] texts = {"word", "word ".repeat(1000), TEXT.repeat(300), " ".repeat(20_000), "a".repeat(20_000), "\0\0"
        };
        for (String text : texts) {
            int[] expected = Tokenizers.gpt2().encode(text);
            assertArrayEquals(expected, whole.encode(text));
            assertArrayEquals(expected, other.encode(text));
        }
    }

    @Test
    void halfASurrogatePairIsNoCharacter() {
        assertThrows(IllegalArgumentException.class, () -> Tokenizers.characters("a\uD83Db"));
        for (Tokenizer tokenizer : new Tokenizer[] {Tokenizers.bytes(), Tokenizers.gpt2()}) {
            assertEquals("a?b", tokenizer.decode(tokenizer.encode("a\uDE00b")));
        }
    }

    @Test
    void hugeIdsAndTextsWithoutTokensAreRefused() {
        String model =
                "{\"version\":\"1.0\",\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":%d},\"unk_token\":\"b\"}}";
        byte[] huge = model.formatted(Integer.MAX_VALUE).getBytes(StandardCharsets.UTF_8);
        assertThrows(CheckpointException.class, () -> Tokenizers.huggingFace("huge", huge));
        Tokenizer one = Tokenizers.huggingFace("one", model.formatted(0).getBytes(StandardCharsets.UTF_8));
        assertArrayEquals(new int[] {0}, one.encode("a"));
        assertThrows(IllegalArgumentException.class, () -> one.encode("c"));
    }

    /** Values that OpenAI's and Hugging Face's GPT-2 tokenizers give. */
    @Test
    void gpt2() {
        Tokenizer tokenizer = Tokenizers.gpt2();
        assertArrayEquals(new int[] {15496, 995}, tokenizer.encode("Hello world"));
        assertArrayEquals(new int[] {15496, 50256, 995}, tokenizer.encode("Hello<|endoftext|> world"));
        assertEquals(OptionalInt.of(50256), tokenizer.endOfTextId());
        assertEquals(50257, tokenizer.vocabularySize());
    }

    @Test
    void anUnknownCharacterIsNamed() {
        Tokenizer tokenizer = Tokenizers.characters("abc");
        assertArrayEquals(new int[] {2, 0}, tokenizer.encode("ca"));
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> tokenizer.encode("abé"));
        assertTrue(e.getMessage().contains("U+00E9 'é'"), e.getMessage());
    }

    @Test
    void brokenBytesBecomeReplacementCharacters() {
        assertEquals("a\uFFFD", Tokenizers.bytes().decode(new int[] {'a', 0xC3}));
    }

    @Test
    void filesThatAreNoTokenizerAreRefused() throws Exception {
        String path = directory.toString();
        assertThrows(CheckpointException.class, () -> Tokenizers.load(new LocalStorage(), path));
        for (String json : new String[] {"", "[]", "{}", "{\"model\":{}}", "{\"a\":".repeat(1000)}) {
            Files.write(directory.resolve("tokenizer.json"), json.getBytes(StandardCharsets.UTF_8));
            assertThrows(CheckpointException.class, () -> Tokenizers.load(new LocalStorage(), path), json);
        }
    }
}
