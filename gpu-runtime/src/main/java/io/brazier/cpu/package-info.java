/**
 * The CPU back end's boundary to native code: finding and loading the libraries, and one static method per kernel.
 *
 * <p>Invariant: native code is reached only through {@link io.brazier.cpu.CpuNative}, whose callers own every address
 * they pass; a library that cannot be loaded is a reason to report, never a crash.
 */
package io.brazier.cpu;
