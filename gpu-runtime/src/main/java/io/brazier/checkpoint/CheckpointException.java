package io.brazier.checkpoint;

/** A file that is missing, damaged, hostile or of another kind; the message starts with its path. */
public final class CheckpointException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public CheckpointException(String path, String what) {
        this(path, what, null);
    }

    public CheckpointException(String path, String what, Throwable cause) {
        super(path + ": " + what, cause);
    }
}
