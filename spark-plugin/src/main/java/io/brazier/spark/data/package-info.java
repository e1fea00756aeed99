/**
 * From a table to the ranks: text becomes tokens in the executors and stays there. Invariant: the order of tokens is that of the
 * table's rows, whatever the number of ranks, and no row passes through the driver.
 */
package io.brazier.spark.data;
