package io.brazier.collective;

/** The group was ended, by {@link Communicator#abort} on some rank or by an earlier failure. */
public final class CommunicatorAbortedException extends CollectiveException {
    private static final long serialVersionUID = 1L;

    public CommunicatorAbortedException(String message) {
        this(message, null);
    }

    private CommunicatorAbortedException(String message, Throwable cause) {
        super(Category.ABORTED, message, cause);
    }

    @Override
    CollectiveException again() {
        return new CommunicatorAbortedException(what(), this);
    }

    @Override
    CollectiveException in(String where) {
        return new CommunicatorAbortedException(where + ": " + what(), this);
    }
}
