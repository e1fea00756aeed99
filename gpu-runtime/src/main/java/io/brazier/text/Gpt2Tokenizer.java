package io.brazier.text;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.Encoding;
import com.knuddels.jtokkit.api.EncodingType;
import com.knuddels.jtokkit.api.IntArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/** GPT-2's byte-pair encoding by jtokkit; {@code <|endoftext|>} in a text is the token between documents. */
final class Gpt2Tokenizer implements Tokenizer {
    private static final String END_OF_TEXT = "<|endoftext|>";
    private static final int END_OF_TEXT_ID = 50256;

    private final Encoding encoding = Encodings.newLazyEncodingRegistry().getEncoding(EncodingType.R50K_BASE);

    @Override
    public String name() {
        return "gpt2";
    }

    @Override
    public int vocabularySize() {
        return END_OF_TEXT_ID + 1;
    }

    @Override
    public int[] encode(String text) {
        IntStream.Builder tokens = IntStream.builder();
        int from = 0;
        for (int at = text.indexOf(END_OF_TEXT); at >= 0; at = text.indexOf(END_OF_TEXT, from)) {
            encodePart(text.substring(from, at), tokens);
            tokens.add(END_OF_TEXT_ID);
            from = at + END_OF_TEXT.length();
        }
        encodePart(text.substring(from), tokens);
        return tokens.build().toArray();
    }

    private void encodePart(String text, IntStream.Builder tokens) {
        IntArrayList part = encoding.encodeOrdinary(text);
        for (int x = 0; x < part.size(); x++) {
            tokens.add(part.get(x));
        }
    }

    @Override
    public String decode(int[] tokens) {
        IntArrayList list = new IntArrayList(tokens.length);
        for (int token : tokens) {
            if (token < 0 || token > END_OF_TEXT_ID) {
                throw Tokenizers.outside(name(), token, vocabularySize());
            }
            list.add(token);
        }
        return encoding.decode(list);
    }

    @Override
    public OptionalInt endOfTextId() {
        return OptionalInt.of(END_OF_TEXT_ID);
    }

    /** jtokkit's ranks are GPT-2's ids; the pair that a token is merged from follows from them. */
    @Override
    public Map<String, byte[]> files() {
        ObjectNode json = TokenizerJson.byteLevel(true);
        Map<String, Integer> ranks = new HashMap<>();
        String[] symbols = new String[END_OF_TEXT_ID];
        for (int id = 0; id < END_OF_TEXT_ID; id++) {
            IntArrayList one = new IntArrayList(1);
            one.add(id);
            StringBuilder symbol = new StringBuilder();
            for (byte b : encoding.decodeBytes(one)) {
                symbol.append(TokenizerJson.symbol(Byte.toUnsignedInt(b)));
            }
            symbols[id] = symbol.toString();
            ranks.put(symbols[id], id);
            TokenizerJson.vocabulary(json).put(symbols[id], id);
        }
        TokenizerJson.vocabulary(json).put(END_OF_TEXT, END_OF_TEXT_ID);
        ArrayNode merges = TokenizerJson.merges(json);
        for (String symbol : symbols) {
            if (symbol.length() > 1) {
                merges.add(lastMerge(symbol, ranks));
            }
        }
        json.withArray("added_tokens")
                .addObject()
                .put("id", END_OF_TEXT_ID)
                .put("content", END_OF_TEXT)
                .put("single_word", false)
                .put("lstrip", false)
                .put("rstrip", false)
                .put("normalized", false)
                .put("special", true);
        return Tokenizers.files(
                Tokenizers.kind(name()), json, Tokenizers.config().put("eos_token", END_OF_TEXT));
    }

    /** The two parts, with a blank between, that byte-pair encoding with the tokens below this one leaves of it. */
    private static String lastMerge(String symbol, Map<String, Integer> ranks) {
        String[] parts = symbol.codePoints().mapToObj(Character::toString).toArray(String[]::new);
        while (parts.length > 2) {
            int best = -1;
            int bestRank = ranks.get(symbol);
            for (int x = 0; x + 1 < parts.length; x++) {
                int rank = ranks.getOrDefault(parts[x] + parts[x + 1], Integer.MAX_VALUE);
                if (rank < bestRank) {
                    best = x;
                    bestRank = rank;
                }
            }
            String[] fewer = Arrays.copyOf(parts, parts.length - 1);
            fewer[best] = parts[best] + parts[best + 1];
            System.arraycopy(parts, best + 2, fewer, best + 1, parts.length - best - 2);
            parts = fewer;
        }
        return parts[0] + " " + parts[1];
    }
}
