/**
 * Runs one task per rank as a barrier job of Spark and retries it. Invariant: every attempt has a generation number larger than
 * any before it; ranks, sockets and checkpoints of an older generation are refused, and no wait is without limit.
 */
package io.brazier.spark.barrier;
