package io.brazier.tests.tidy;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Files are small, needed, and speak of this project alone. */
class FilesTest {
    private static final int MAX_JAVA_LINES = 400;
    private static final int MAX_NATIVE_LINES = 500;

    /** Split, so that this file does not hold what it forbids. */
    private static final Pattern BANNED = Pattern.compile(
            String.join(
                    "|",
                    "\\bTO" + "DO\\b",
                    "\\bFIX" + "ME\\b",
                    "\\bassis" + "tants?\\b",
                    "\\bclau" + "de\\b",
                    "\\banthro" + "pic\\b",
                    "\\bchat" + "gpt\\b",
                    "\\bcopi" + "lot\\b",
                    "\\bthis ses" + "sion\\b(?! of Spark)",
                    "repo1?\\.ma" + "ven\\.",
                    "\\bpypi\\." + "org",
                    "python" + "hosted\\.org",
                    "deb\\.deb" + "ian\\.org",
                    "(?<![\\w.])/wo" + "rk/(?:main|wt|shared)",
                    "(?<![\\w.])/ro" + "ot/",
                    "(?<![\\w.])/ho" + "me/\\w"),
            Pattern.CASE_INSENSITIVE);

    private static final SourceTree TREE = SourceTree.read();

    @Test
    void filesAreSmall() {
        Stream<String> java = TREE.withSuffix(".java")
                .filter(file -> file.numLines() > MAX_JAVA_LINES)
                .map(file -> file.path() + ": " + file.numLines() + " lines, at most " + MAX_JAVA_LINES);
        Stream<String> other = TREE.withSuffix(".c", ".cpp", ".h", ".cu")
                .filter(file -> file.numLines() > MAX_NATIVE_LINES)
                .map(file -> file.path() + ": " + file.numLines() + " lines, at most " + MAX_NATIVE_LINES);
        assertEquals(List.of(), Stream.concat(java, other).toList());
    }

    @Test
    void filesSpeakOfThisProjectAlone() {
        List<String> violations = new ArrayList<>();
        for (SourceTree.SourceFile file : TREE.files()) {
            Matcher matcher = BANNED.matcher(file.text());
            while (matcher.find()) {
                long line = file.text().substring(0, matcher.start()).lines().count();
                violations.add(file.path() + ":" + line + ": " + matcher.group());
            }
        }
        assertEquals(List.of(), violations);
    }

    @Test
    void everyPackageSaysWhatItIsFor() {
        Set<String> described = TREE.withSuffix("/package-info.java")
                .map(file -> directory(file))
                .collect(Collectors.toSet());
        List<String> missing = TREE.withSuffix(".java")
                .filter(file -> file.path().contains("/src/main/java/"))
                .map(FilesTest::directory)
                .filter(directory -> !described.contains(directory) && !directory.endsWith("/io/brazier"))
                .distinct()
                .toList();
        assertEquals(List.of(), missing);
    }

    /** Whoever reads a kernel learns first what it moves and computes, what bounds it and how it is launched. */
    @Test
    void kernelsSayWhatTheyCost() {
        List<String> missing = new ArrayList<>();
        TREE.withSuffix(".cu").filter(file -> file.path().startsWith("native/")).forEach(file -> {
            String head =
                    file.text().substring(0, file.text().indexOf("#include")).replace("\n// ", " ");
            Stream.of("ytes", "FLOP", "Bound on an H100", "Launch")
                    .filter(word -> !head.contains(word))
                    .forEach(word -> missing.add(file.path() + " does not say its " + word));
        });
        assertEquals(List.of(), missing);
    }

    @Test
    void versionsLiveInTheRootPom() {
        Pattern version = Pattern.compile("<version>([^<$]*)</version>");
        List<String> violations = new ArrayList<>();
        TREE.withSuffix("/pom.xml").forEach(file -> {
            String text = file.text().replaceAll("(?s)<parent>.*?</parent>", "");
            Matcher matcher = version.matcher(text);
            while (matcher.find()) {
                violations.add(file.path() + ": " + matcher.group());
            }
        });
        assertEquals(List.of(), violations);
    }

    /** A class is needed when another file names it; so is a resource, a script, a picture. */
    @Test
    void everyFileIsNamedByAnother() {
        // Read by tools that know them by their place, or found by the name of a pattern.
        Pattern known =
                Pattern.compile("(?x) .*(Test|Bench)\\.java | .*/package-info\\.java | .*pom\\.xml | \\.[^/]*(/.*)?"
                        + "| LICENSE | [A-Z]+\\.md | docs/bench/.*\\.md | .*/META-INF/services/.* | .*/log4j2\\.properties"
                        + "| .*/CMakeLists\\.txt | notebooks/.*\\.(ipynb|zpln) | .*/__init__\\.py | .*/pyproject\\.toml"
                        + "| .*/test_\\w+\\.py | native/.*\\.(c|cpp|h) | .*/src/test/resources/.*");
        List<String> unused = TREE.files().stream()
                .filter(file -> !known.matcher(file.path()).matches())
                .filter(file -> TREE.files().stream().noneMatch(other -> other != file && names(other, file)))
                .map(SourceTree.SourceFile::path)
                .toList();
        assertEquals(List.of(), unused);
    }

    private static boolean names(SourceTree.SourceFile other, SourceTree.SourceFile file) {
        String name = file.endsWith(".java", ".py", ".sh")
                ? file.name().substring(0, file.name().lastIndexOf('.'))
                : file.name();
        Pattern word = Pattern.compile("(?<!\\w)" + Pattern.quote(name) + "(?!\\w)");
        return word.matcher(other.text()).find();
    }

    private static String directory(SourceTree.SourceFile file) {
        return file.path().substring(0, file.path().lastIndexOf('/'));
    }
}
