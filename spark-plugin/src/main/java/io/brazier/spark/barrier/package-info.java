/**
 * Runs one task per rank at once: a job of the driver's own, which retries it, or a stage that Spark runs when others read it.
 * Invariant: every attempt has a generation number larger than
 * any before it; ranks, sockets and checkpoints of an older generation are refused, and no wait is without limit.
 */
package io.brazier.spark.barrier;
