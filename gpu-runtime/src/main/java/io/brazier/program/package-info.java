/**
 * Typed straight-line programs of coarse ops. Invariant: a program that exists is well typed, placements included; an op's plain
 * reference is its specification.
 */
package io.brazier.program;
