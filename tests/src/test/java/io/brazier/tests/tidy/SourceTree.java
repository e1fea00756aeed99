package io.brazier.tests.tidy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** The files of the repository that git knows or would add. */
record SourceTree(Path root, List<SourceFile> files) {

    /**
     * @param path relative to the root, with slashes
     * @param text empty for a binary file
     */
    record SourceFile(String path, String text) {
        String name() {
            return path.substring(path.lastIndexOf('/') + 1);
        }

        long numLines() {
            return text.lines().count();
        }

        boolean endsWith(String... suffixes) {
            return Stream.of(suffixes).anyMatch(path::endsWith);
        }
    }

    static SourceTree read() {
        Path root = Path.of(System.getProperty("brazier.root", ".."))
                .toAbsolutePath()
                .normalize();
        try {
            Process git = new ProcessBuilder("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
                    .directory(root.toFile())
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            String names = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (git.waitFor() != 0) {
                throw new AssertionError("git could not list the files of " + root);
            }
            List<SourceFile> files = new ArrayList<>();
            for (String name : names.split("\0")) {
                Path file = root.resolve(name);
                if (Files.isRegularFile(file)) {
                    files.add(new SourceFile(name, text(Files.readAllBytes(file))));
                }
            }
            return new SourceTree(root, List.copyOf(files));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new AssertionError(e);
        }
    }

    private static String text(byte[] bytes) {
        for (byte b : bytes) {
            if (b == 0) {
                return "";
            }
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }

    Stream<SourceFile> withSuffix(String... suffixes) {
        return files.stream().filter(file -> file.endsWith(suffixes));
    }
}
