package io.brazier.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.checkpoint.CheckpointException;
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
