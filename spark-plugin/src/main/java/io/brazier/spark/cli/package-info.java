/**
 * The command line. Invariant: a command does nothing that the estimators cannot do; its options are their params, and every
 * failure ends in one sentence on standard error and an exit code.
 */
package io.brazier.spark.cli;
