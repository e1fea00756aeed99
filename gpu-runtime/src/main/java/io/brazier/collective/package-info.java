/**
 * Groups of ranks that sum and exchange native memory. Invariant: a call has one outcome on all ranks, equal bits or a
 * {@link io.brazier.collective.CollectiveException}; it never hangs and never gives different sums.
 */
package io.brazier.collective;
