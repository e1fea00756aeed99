/** Schedules as lists of actions. Invariant: a list holds every micro-batch's forward before its backward, and ends in an update. */
package io.brazier.pipeline;
