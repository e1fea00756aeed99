/**
 * Model families as programs: modules write their ops and their collectives. Invariant: a parameter's path names it in
 * programs, plans, checkpoints and errors alike.
 */
package io.brazier.nn;
