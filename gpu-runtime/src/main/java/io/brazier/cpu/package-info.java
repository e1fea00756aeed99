/**
 * The CPU back end: finding and loading the native libraries, one static method per kernel, the lowering of instructions to them, and
 * the doors to engines and communicators.
 *
 * <p>Invariant: kernels are reached only through {@link io.brazier.cpu.CpuNative}, whose callers own every address they pass; a
 * library that cannot be loaded is a reason to report, never a crash.
 */
package io.brazier.cpu;
