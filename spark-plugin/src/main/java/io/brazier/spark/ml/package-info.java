/**
 * Spark ML's face of training and inference. Invariant: what MLlib promises of its own estimators holds here: params, copies,
 * schema checks, persistence, pipelines.
 */
package io.brazier.spark.ml;
