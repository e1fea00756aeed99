package io.brazier.cpu;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/**
 * Loads the native libraries of the CPU back end from the class path, once per JVM.
 *
 * <p>Each library is unpacked into a directory that only this user can write, in a subdirectory named by the content's
 * SHA-256, by an atomic rename: any number of JVMs may race. A file that is there already is hashed before it is used.
 */
public final class NativeLibrary {

    private static final String OS = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    private static final String PLATFORM =
            OS + "-" + System.getProperty("os.arch").replace("amd64", "x86_64").replace("aarch64", "arm64");
    private static final String OURS = "io/brazier/native/" + PLATFORM + "/";
    private static final String ONEDNN = "org/bytedeco/dnnl/" + PLATFORM + "/";

    /** In the order of loading: brazier_openmp sets what OpenMP's library reads when it is loaded. */
    private static final List<String> RESOURCES = List.of(
            OURS + "libbrazier_openmp.so",
            ONEDNN + "libgomp.so.1",
            ONEDNN + "libdnnl.so.3",
            OURS + "libbrazier_cpu.so");

    private static final Set<PosixFilePermission> OWNER_ONLY = PosixFilePermissions.fromString("rwx------");

    /** Whether the libraries are loaded, or the reason why they cannot be. */
    public record Availability(Optional<String> reason) {

        /** True when the libraries are loaded. */
        public boolean available() {
            return reason.isEmpty();
        }
    }

    /** Loads on first use, by the JVM's own once-only class initialization. */
    private static final class Holder {
        private static final Availability RESULT = load();
    }

    private NativeLibrary() {}

    /** Loads the libraries if that has not been tried yet; the outcome stays for the life of the JVM. */
    public static Availability availability() {
        return Holder.RESULT;
    }

    /**
     * Loads the libraries or refuses.
     *
     * @throws IllegalStateException naming the reason and what to do
     */
    public static void require() {
        availability().reason().ifPresent(reason -> {
            throw new IllegalStateException("the native library of the CPU back end cannot be loaded: " + reason);
        });
    }

    private static Availability load() {
        try {
            Path directory = cacheDirectory();
            for (String resource : RESOURCES) {
                System.load(unpack(resource, directory).toString());
            }
            return new Availability(Optional.empty());
        } catch (IOException | UnsatisfiedLinkError e) {
            return new Availability(Optional.of(e.getMessage()));
        }
    }

    /** BRAZIER_NATIVE_DIR, or a directory of this user's own under the system's temporary one. */
    private static Path cacheDirectory() throws IOException {
        String chosen = System.getenv("BRAZIER_NATIVE_DIR");
        Path directory = chosen != null && !chosen.isBlank()
                ? Path.of(chosen)
                : Path.of(System.getProperty("java.io.tmpdir"), "brazier-native-" + System.getProperty("user.name"));
        if (!Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)) {
            try {
                Files.createDirectory(directory, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
            } catch (java.nio.file.FileAlreadyExistsException raced) {
                // Another JVM made it, or it is no directory: the checks below tell.
            }
        }
        String owner = Files.getOwner(directory, LinkOption.NOFOLLOW_LINKS).getName();
        boolean safe = Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)
                && owner.equals(ownerOfNewFile())
                && Files.getPosixFilePermissions(directory, LinkOption.NOFOLLOW_LINKS)
                        .equals(OWNER_ONLY);
        if (!safe) {
            throw new IOException(directory + " must be a directory of mode 0700 owned by this user (it is owned by "
                    + owner + "): remove it, or set BRAZIER_NATIVE_DIR to a directory of your own");
        }
        return directory;
    }

    private static String ownerOfNewFile() throws IOException {
        Path probe = Files.createTempFile("brazier-owner", null);
        try {
            return Files.getOwner(probe).getName();
        } finally {
            Files.delete(probe);
        }
    }

    private static Path unpack(String resource, Path directory) throws IOException {
        String hash = hash(open(resource));
        String name = resource.substring(resource.lastIndexOf('/') + 1);
        Path home = directory.resolve(hash.substring(0, 32));
        Path target = home.resolve(name);
        if (Files.isRegularFile(target, LinkOption.NOFOLLOW_LINKS) && hash.equals(hash(Files.newInputStream(target)))) {
            return target;
        }
        Files.createDirectories(home, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
        Path temporary = Files.createTempFile(home, name, ".tmp");
        try (InputStream in = open(resource)) {
            Files.copy(in, temporary, StandardCopyOption.REPLACE_EXISTING);
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(temporary);
        }
        return target;
    }

    private static InputStream open(String resource) throws IOException {
        InputStream in = NativeLibrary.class.getClassLoader().getResourceAsStream(resource);
        if (in == null) {
            throw new IOException(resource + " is not on the class path: use the jar that was built for this platform ("
                    + PLATFORM + "), or build it there");
        }
        return in;
    }

    private static String hash(InputStream opened) throws IOException {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java platform has SHA-256", e);
        }
        try (InputStream in = new DigestInputStream(opened, digest)) {
            in.transferTo(java.io.OutputStream.nullOutputStream());
        }
        return HexFormat.of().formatHex(digest.digest());
    }
}
