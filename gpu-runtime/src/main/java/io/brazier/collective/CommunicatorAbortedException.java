package io.brazier.collective;

/** The group was ended, by {@link Communicator#abort} on some rank or by an earlier failure. */
public final class CommunicatorAbortedException extends CollectiveException {
    private static final long serialVersionUID = 1L;

    public CommunicatorAbortedException(String message) {
        super(Category.ABORTED, message);
    }
}
