/** Optimizer settings and schedules as plain values. Invariant: what a step uses depends on its number and the settings alone. */
package io.brazier.optim;
