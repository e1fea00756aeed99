package io.brazier.collective;

/** How two ranks exchange data. */
public enum Transport {
    /** Shared memory inside a host, TCP across hosts. */
    AUTO,
    /** Refuse a group that spans hosts. */
    SHARED_MEMORY,
    /** TCP inside a host as well. */
    TCP
}
