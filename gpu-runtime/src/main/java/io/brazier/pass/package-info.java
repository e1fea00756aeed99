/**
 * Functions from programs to programs. Invariant: what a pass returns is verified, and computes what it computed before.
 */
package io.brazier.pass;
