/**
 * Tells of plans what users ask before they book machines: who holds what, bytes, messages, time. Invariant: every number is read
 * off the very plans that ranks run.
 */
package io.brazier.explain;
