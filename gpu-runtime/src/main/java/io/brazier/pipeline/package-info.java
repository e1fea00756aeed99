/**
 * Pipeline schedules as lists of actions; messages, stash slots and time are derived from the lists. Invariant: a list holds every
 * micro-batch's forward before its backward on every chunk, and ends in the update.
 */
package io.brazier.pipeline;
