package io.brazier.text;

import java.util.Map;
import java.util.OptionalInt;

/** Text to token ids and back. Thread-safe. */
public interface Tokenizer {

    /** What it is, for messages: bytes, characters, gpt2, or a path. */
    String name();

    /** V; ids lie in [0, V). */
    int vocabularySize();

    /** @throws IllegalArgumentException when the text holds something that has no token, naming it */
    int[] encode(String text);

    /** The text of some tokens; bytes that are no UTF-8 become U+FFFD. */
    String decode(int[] tokens);

    /** The token between documents, where there is one. */
    OptionalInt endOfTextId();

    /** Files by name that {@link Tokenizers#load} makes an equal tokenizer from; Hugging Face's tokenizer.json is one of them. */
    Map<String, byte[]> files();
}
