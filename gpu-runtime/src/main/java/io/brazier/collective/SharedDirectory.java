package io.brazier.collective;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where the processes of a host meet in memory: /dev/shm, else a local directory.
 *
 * @param identity equal for processes that see the same directory as the same user; empty when that cannot be told
 */
record SharedDirectory(Path path, String identity) {

    private static final Logger LOG = LoggerFactory.getLogger(SharedDirectory.class);

    private static final Path MEMORY = Path.of("/dev/shm");
    private static final Path BOOT_ID = Path.of("/proc/sys/kernel/random/boot_id");
    private static final String PREFIX = "brazier-";
    private static final Duration STALE = Duration.ofMinutes(10);

    static SharedDirectory find(Path localDirectory) throws IOException {
        Path path = Files.isDirectory(MEMORY) && Files.isWritable(MEMORY) ? MEMORY : localDirectory;
        SharedDirectory directory = new SharedDirectory(path, identity(path));
        directory.sweep();
        return directory;
    }

    /** The kernel's boot, the file system's device, the directory on it and the user: containers differ in some of these. */
    private static String identity(Path path) throws IOException {
        if (!Files.isReadable(BOOT_ID)) {
            return "";
        }
        Object user = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        return String.join(
                ":",
                Files.readString(BOOT_ID).strip(),
                Files.getAttribute(path, "unix:dev").toString(),
                Files.getAttribute(path, "unix:ino").toString(),
                user.toString());
    }

    /** A name that nobody guesses; the file is not made yet. */
    Path newFile() {
        String name = HexFormat.of().formatHex(Secret.nonce(Handshake.NONCE_BYTES));
        return path.resolve(PREFIX + ProcessHandle.current().pid() + "-" + name);
    }

    /** Removes what processes left that were killed in the moment of connecting. */
    private void sweep() {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(path, PREFIX + "[0-9]*-*")) {
            for (Path file : files) {
                String pid = file.getFileName().toString().split("-")[1];
                boolean old = Files.getLastModifiedTime(file)
                        .toInstant()
                        .isBefore(Instant.now().minus(STALE));
                if (old && ProcessHandle.of(Long.parseLong(pid)).isEmpty()) {
                    Files.deleteIfExists(file);
                }
            }
        } catch (IOException | RuntimeException e) {
            LOG.debug("cannot sweep {}: {}", path, e.toString());
        }
    }
}
