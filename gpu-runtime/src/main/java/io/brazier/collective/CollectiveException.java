package io.brazier.collective;

/** A group of ranks could not be formed or a call in it failed. */
public class CollectiveException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What kind of failure it is. */
    public enum Category {
        /** Ranks called different things. */
        MISMATCH("mismatch"),
        /** A peer did not move for the deadline. */
        TIMEOUT("timeout"),
        /** Somebody ended the group. */
        ABORTED("aborted"),
        /** A peer's process or connection is gone. */
        PEER_LOST("peer lost"),
        /** A peer did not prove that it belongs to the job, or a frame was altered. */
        AUTHENTICATION("authentication"),
        /** This machine refuses a port or memory. */
        SETUP("setup");

        private final String text;

        Category(String text) {
            this.text = text;
        }

        @Override
        public String toString() {
            return text;
        }
    }

    private final Category category;
    private final String what;

    public CollectiveException(Category category, String message) {
        this(category, message, null);
    }

    public CollectiveException(Category category, String message, Throwable cause) {
        super(category + ": " + message, cause);
        this.category = category;
        this.what = message;
    }

    /** What happened, without the category. */
    String what() {
        return what;
    }

    /** The same failure for another thread or a later call, with this one as its cause. */
    CollectiveException again() {
        return new CollectiveException(category, what, this);
    }

    /** The same failure with the name of what it happened in. */
    CollectiveException in(String where) {
        return new CollectiveException(category, where + ": " + what, this);
    }

    public Category category() {
        return category;
    }
}
