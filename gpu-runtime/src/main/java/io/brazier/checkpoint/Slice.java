package io.brazier.checkpoint;

/**
 * Elements of one array of a training state: of a parameter's weights, of a moment.
 *
 * @param array name of the whole array
 * @param offset first element
 * @param count number of elements
 */
public record Slice(String array, long offset, long count) {}
