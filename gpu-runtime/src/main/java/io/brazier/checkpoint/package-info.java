/**
 * Models and training checkpoints on storage. Invariant: what is read is whole and checked, or a typed error; what is written
 * becomes visible in one step.
 */
package io.brazier.checkpoint;
