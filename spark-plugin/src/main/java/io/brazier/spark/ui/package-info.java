/**
 * What the driver shows of training runs. Invariant: watching a run never changes or delays it.
 */
package io.brazier.spark.ui;
