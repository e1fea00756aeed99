/**
 * Spark's plugin, which makes executors ready before the first task and shows metrics. Invariant: everything works without it, and
 * no failure of it reaches Spark.
 */
package io.brazier.spark.plugin;
