package io.brazier.collective;

import java.nio.charset.StandardCharsets;
import java.util.Base64;

/**
 * Where a rank can be reached; holds no secret.
 *
 * @param host equal for processes that can share memory (one kernel, one file system, one user); empty when this one does not
 * @param sharedFile path of the rank's shared memory, which exists for the moment of connecting
 * @param address literal IP address
 */
public record Endpoint(String host, String sharedFile, String address, int port) {

    private static final String SEPARATOR = "\n";
    private static final int NUM_FIELDS = 4;

    public Endpoint {
        if ((host + sharedFile + address).contains(SEPARATOR) || address.isEmpty() || port < 1 || port > 65535) {
            throw new IllegalArgumentException("no endpoint: host " + host + ", shared file " + sharedFile
                    + ", address " + address + ", port " + port);
        }
    }

    /** As one word of letters, digits, - and _. */
    public String encode() {
        String text = String.join(SEPARATOR, host, sharedFile, address, Integer.toString(port));
        return Base64.getUrlEncoder().withoutPadding().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * Reads what {@link #encode} wrote.
     *
     * @throws IllegalArgumentException when it is something else
     */
    public static Endpoint decode(String encoded) {
        String[] fields =
                new String(Base64.getUrlDecoder().decode(encoded), StandardCharsets.UTF_8).split(SEPARATOR, -1);
        if (fields.length != NUM_FIELDS) {
            throw new IllegalArgumentException("no endpoint: " + encoded);
        }
        return new Endpoint(fields[0], fields[1], fields[2], Integer.parseInt(fields[3]));
    }

    boolean sharesMemoryWith(Endpoint other) {
        return !host.isEmpty() && host.equals(other.host);
    }
}
