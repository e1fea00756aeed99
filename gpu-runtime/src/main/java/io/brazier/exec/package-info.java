/**
 * What runs a plan: engines with one owner thread each. Invariant: no device memory is allocated after an engine is made.
 */
package io.brazier.exec;
