package io.brazier.train;

/** The one failure of training that crosses the Spark boundary: what went wrong, where, and which setting to change. */
public final class TrainingException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What kind of thing has to be changed before the next attempt can succeed. */
    public enum Category {
        CONFIG,
        DATA,
        DEVICE,
        COLLECTIVE,
        CHECKPOINT
    }

    private final Category category;

    public TrainingException(Category category, String message) {
        this(category, message, null);
    }

    public TrainingException(Category category, String message, Throwable cause) {
        super(category + ": " + message, cause);
        this.category = category;
    }

    public Category category() {
        return category;
    }
}
