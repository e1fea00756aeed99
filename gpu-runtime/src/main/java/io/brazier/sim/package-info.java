/**
 * The clock: the third way to run rank plans. It prices every instruction on a {@link io.brazier.sim.Hardware}, plays the plans
 * of all pipeline stages against each other and reports step time, utilisation, memory and what communication costs. Invariant:
 * it reads the plans that executors run, and of those, one for each stage; ranks that differ only in other axes do the same
 * work at the same time.
 */
package io.brazier.sim;
