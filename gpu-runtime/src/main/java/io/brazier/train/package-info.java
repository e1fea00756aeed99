/**
 * The training loop of one rank: batches in, optimizer steps, evaluations and checkpoints out. Invariant: every rank runs the
 * same steps and makes the same collective calls in the same order, agreed before step 0.
 */
package io.brazier.train;
