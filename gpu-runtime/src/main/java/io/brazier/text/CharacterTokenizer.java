package io.brazier.text;

import java.util.Arrays;
import java.util.Map;
import java.util.OptionalInt;

/** Code points as tokens. */
final class CharacterTokenizer implements Tokenizer {
    private final int[] codePoints;

    /** @param codePoints sorted and distinct */
    CharacterTokenizer(int[] codePoints) {
        if (Arrays.stream(codePoints).anyMatch(c -> Character.getType(c) == Character.SURROGATE)) {
            throw new IllegalArgumentException(
                    "the text holds half of a surrogate pair, which no file can keep: replace it, or read the text as UTF-8");
        }
        this.codePoints = codePoints;
    }

    @Override
    public String name() {
        return "characters";
    }

    @Override
    public int vocabularySize() {
        return codePoints.length;
    }

    @Override
    public int[] encode(String text) {
        return text.codePoints().map(this::token).toArray();
    }

    private int token(int codePoint) {
        int token = Arrays.binarySearch(codePoints, codePoint);
        if (token < 0) {
            throw new IllegalArgumentException(String.format(
                    "character U+%04X '%s' is not among the %d that the tokenizer knows: leave it out, or train with the"
                            + " tokenizer bytes",
                    codePoint, Character.toString(codePoint), codePoints.length));
        }
        return token;
    }

    @Override
    public String decode(int[] tokens) {
        StringBuilder text = new StringBuilder();
        for (int token : tokens) {
            if (token < 0 || token >= codePoints.length) {
                throw Tokenizers.outside(name(), token, codePoints.length);
            }
            text.appendCodePoint(codePoints[token]);
        }
        return text.toString();
    }

    @Override
    public OptionalInt endOfTextId() {
        return OptionalInt.empty();
    }

    @Override
    public Map<String, byte[]> files() {
        String characters = new String(codePoints, 0, codePoints.length);
        return Tokenizers.files(
                Tokenizers.kind(name()).put("characters", characters),
                TokenizerJson.characters(codePoints),
                Tokenizers.config());
    }
}
