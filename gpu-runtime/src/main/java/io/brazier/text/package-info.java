/** Tokenizers, and a baseline that a language model has to beat. Invariant: a tokenizer's files make an equal tokenizer. */
package io.brazier.text;
