package io.brazier.host;

/** The environment as native code sees it. Java's own view, and what child processes inherit, stay as they were at the start. */
public final class NativeEnvironment {
    static {
        NativeLibrary.require();
    }

    private NativeEnvironment() {}

    /** Sets a variable for libraries that have yet to read it. Not safe beside native threads that read the environment. */
    public static native void set(String name, String value);
}
