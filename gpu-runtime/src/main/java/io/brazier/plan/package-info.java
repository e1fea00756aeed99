/**
 * The waist: above it is meaning, below it are addresses and time. Invariant: a plan holds an address for every byte that a rank
 * will ever touch, so planned bytes are allocated bytes.
 */
package io.brazier.plan;
