/**
 * Types of values and the mesh they live on. Invariant: a type says all that is known of a value's place; nothing here holds
 * data.
 */
package io.brazier.tensor;
