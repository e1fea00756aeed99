package io.brazier.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.Set;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compiled kernels on disk, by the hash of all that decides them. Their code runs on the GPU with this user's rights, so a folder
 * that others may write to is refused.
 */
public final class KernelCache {

    /** The folder; brazier/kernels in the user's cache folder unless set. */
    public static final String PROPERTY = "brazier.cuda.cache";

    private static final Logger LOG = LoggerFactory.getLogger(KernelCache.class);
    private static final Set<PosixFilePermission> OWNER_ONLY = PosixFilePermissions.fromString("rwx------");
    private static final Set<PosixFilePermission> OTHERS_WRITE =
            EnumSet.of(PosixFilePermission.GROUP_WRITE, PosixFilePermission.OTHERS_WRITE);

    private final Path folder;

    /** @throws IllegalArgumentException when others may write to the folder */
    public KernelCache(Path folder) {
        this.folder = folder;
        try {
            if (!Files.isDirectory(folder)) {
                Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
            }
            boolean mine = Files.getOwner(folder)
                    .equals(folder.getFileSystem()
                            .getUserPrincipalLookupService()
                            .lookupPrincipalByName(System.getProperty("user.name")));
            if (!mine || Files.getPosixFilePermissions(folder).stream().anyMatch(OTHERS_WRITE::contains)) {
                throw new IllegalArgumentException("the kernel cache " + folder
                        + " must belong to this user and be writable by nobody else; chmod 700 it, or name another in -D"
                        + PROPERTY);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("the kernel cache " + folder + "; name another folder in -D" + PROPERTY, e);
        }
    }

    /** The folder of {@link #PROPERTY}. */
    public static KernelCache ofUser() {
        String named = System.getProperty(PROPERTY);
        if (named != null) {
            return new KernelCache(Path.of(named));
        }
        String caches = System.getenv("XDG_CACHE_HOME");
        Path base = caches == null ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(caches);
        return new KernelCache(base.resolve("brazier").resolve("kernels"));
    }

    /** The hash of texts and of the compiler that is loaded. */
    String key(String... texts) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            Path compiler = CudaLibraries.found().get("libnvrtc.so.13").toRealPath();
            digest.update((compiler + " " + Files.size(compiler) + " " + Files.getLastModifiedTime(compiler))
                    .getBytes(StandardCharsets.UTF_8));
            for (String text : texts) {
                digest.update(text.getBytes(StandardCharsets.UTF_8));
                digest.update((byte) 0);
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException | IOException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The code under a key; made, and kept for the next process, if it is not there. A disk that takes no more costs time alone. */
    byte[] get(String key, Supplier<byte[]> maker) {
        Path file = folder.resolve(key + ".cubin");
        try {
            if (Files.isRegularFile(file)) {
                return Files.readAllBytes(file);
            }
        } catch (IOException e) {
            LOG.warn("Compiling {} again, which cannot be read: {}", file, e.toString());
        }
        byte[] code = maker.get();
        Path part = folder.resolve(key + "." + ProcessHandle.current().pid() + "."
                + Thread.currentThread().getId());
        try {
            Files.write(part, code);
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            LOG.warn("Kernels are not kept for the next process: {}", e.toString());
            delete(part);
        }
        return code;
    }

    private static void delete(Path part) {
        try {
            Files.deleteIfExists(part);
        } catch (IOException e) {
            LOG.warn("{} stays: {}", part, e.toString());
        }
    }
}
