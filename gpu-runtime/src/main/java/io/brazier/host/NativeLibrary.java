package io.brazier.host;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
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
 * Loads our native libraries from the class path, once per JVM.
 *
 * <p>Each library is unpacked into a directory that only this user can write, in a subdirectory named by its SHA-256 (which
 * the build wrote down), by an atomic rename: any number of JVMs may race. What is there is hashed before it is loaded.
 *
 * <p>{@code BRAZIER_CPU_ISA} = {@code portable}, {@code avx2} or {@code avx512} in the environment overrides the choice of
 * instruction set; {@code BRAZIER_NATIVE_DIR} the directory.
 */
public final class NativeLibrary {

    private static final String PLATFORM = System.getProperty("os.name").toLowerCase(Locale.ROOT) + "-"
            + System.getProperty("os.arch").replace("amd64", "x86_64").replace("aarch64", "arm64");
    private static final String OURS = "io/brazier/native/" + PLATFORM + "/";
    private static final String ONEDNN = "org/bytedeco/dnnl/" + PLATFORM + "/";
    private static final Set<PosixFilePermission> OWNER_ONLY = PosixFilePermissions.fromString("rwx------");

    /** Whether the libraries are loaded, or the reason why they cannot be. */
    public record Availability(Optional<String> reason) {

        /** True when the libraries are loaded. */
        public boolean available() {
            return reason.isEmpty();
        }
    }

    /** A library by its file name and what its content hashes to. */
    private record Library(String name, String sha256) {
        String resource() {
            return (name.startsWith("libbrazier") ? OURS : ONEDNN) + name;
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
            throw new IllegalStateException("the native library cannot be loaded: " + reason);
        });
    }

    private static Availability load() {
        try {
            Path directory = cacheDirectory();
            for (Library library : libraries()) {
                System.load(unpack(library, directory).toString());
            }
            return new Availability(Optional.empty());
        } catch (IOException | UnsatisfiedLinkError e) {
            return new Availability(
                    Optional.of(e.getMessage() + " (BRAZIER_NATIVE_DIR names the directory to load from)"));
        }
    }

    /** In the order of loading: brazier_openmp sets what OpenMP's library reads when it is loaded. */
    private static List<Library> libraries() throws IOException {
        try (BufferedReader lines =
                new BufferedReader(new InputStreamReader(open(OURS + "libraries.sha256"), StandardCharsets.UTF_8))) {
            return lines.lines()
                    .map(line -> line.split(" +", 2))
                    .map(fields -> new Library(fields[1], fields[0]))
                    .toList();
        }
    }

    /** BRAZIER_NATIVE_DIR, or a directory of this user's own under the system's temporary one. */
    private static Path cacheDirectory() throws IOException {
        String chosen = System.getenv("BRAZIER_NATIVE_DIR");
        Path directory = chosen != null && !chosen.isBlank()
                ? Path.of(chosen).toAbsolutePath()
                : Path.of(System.getProperty("java.io.tmpdir"), "brazier-native-" + System.getProperty("user.name"));
        try {
            Files.createDirectory(directory, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
        } catch (FileAlreadyExistsException e) {
            // Usual from the second JVM on; whether it is safe to use is checked now.
        }
        boolean safe = Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)
                && Files.getOwner(directory, LinkOption.NOFOLLOW_LINKS).equals(ownerOfNewFile())
                && Files.getPosixFilePermissions(directory, LinkOption.NOFOLLOW_LINKS)
                        .equals(OWNER_ONLY);
        if (!safe) {
            throw new IOException(
                    directory + " must be a directory of mode 0700 that belongs to this user: remove it, or"
                            + " set BRAZIER_NATIVE_DIR to a directory of your own");
        }
        return directory;
    }

    private static Object ownerOfNewFile() throws IOException {
        Path probe = Files.createTempFile("brazier-owner", null);
        try {
            return Files.getOwner(probe);
        } finally {
            Files.delete(probe);
        }
    }

    private static Path unpack(Library library, Path directory) throws IOException {
        Path home = directory.resolve(library.sha256);
        Path target = home.resolve(library.name);
        if (Files.isRegularFile(target, LinkOption.NOFOLLOW_LINKS) && library.sha256.equals(hash(target))) {
            return target;
        }
        Files.createDirectories(home, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
        Path temporary = Files.createTempFile(home, library.name, ".tmp");
        try (InputStream in = open(library.resource())) {
            Files.copy(in, temporary, StandardCopyOption.REPLACE_EXISTING);
            if (!library.sha256.equals(hash(temporary))) {
                throw new IOException(
                        library.resource() + " on the class path is not the one that Brazier was built with:"
                                + " put Brazier's jar before other jars that carry it");
            }
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(temporary);
        }
        return target;
    }

    private static InputStream open(String resource) throws IOException {
        InputStream in = NativeLibrary.class.getClassLoader().getResourceAsStream(resource);
        if (in == null) {
            throw new IOException(
                    resource + " is not on the class path: use a jar that was built for this platform, " + PLATFORM);
        }
        return in;
    }

    private static String hash(Path file) throws IOException {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java platform has SHA-256", e);
        }
        try (InputStream in = new DigestInputStream(Files.newInputStream(file), digest)) {
            in.transferTo(OutputStream.nullOutputStream());
        }
        return HexFormat.of().formatHex(digest.digest());
    }
}
