package io.brazier.tests.tidy;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Dependencies between packages point one way. */
class ArrowsTest {
    private static final String MAIN = "gpu-runtime/src/main/java/io/brazier/";
    private static final Pattern PACKAGE_USED = Pattern.compile("\\bio\\.brazier\\.([a-z]+)\\b");
    private static final Pattern COMMENT = Pattern.compile("/\\*.*?\\*/|//[^\n]*", Pattern.DOTALL);

    /** What each package of the runtime may use; train may use all, so it is not a key. */
    private static final Map<String, Set<String>> ALLOWED = Map.ofEntries(
            Map.entry("tensor", Set.of()),
            Map.entry("host", Set.of()),
            Map.entry("program", Set.of("tensor")),
            Map.entry("nn", Set.of("tensor", "program", "checkpoint")),
            Map.entry("optim", Set.of("tensor", "program")),
            Map.entry("pass", Set.of("tensor", "program")),
            Map.entry("pipeline", Set.of()),
            Map.entry("plan", Set.of("tensor", "program", "nn", "optim", "pass", "pipeline")),
            Map.entry("sim", Set.of("tensor", "program", "nn", "optim", "pass", "pipeline", "plan", "checkpoint")),
            Map.entry("explain", Set.of("tensor", "program", "nn", "pipeline", "plan", "checkpoint")),
            Map.entry("exec", Set.of("tensor", "program", "nn", "optim", "pass", "pipeline", "plan")),
            Map.entry("collective", Set.of()),
            Map.entry("checkpoint", Set.of("tensor")),
            Map.entry("text", Set.of("tensor", "checkpoint")));

    /** The back ends sit below the loop and beside each other. */
    private static final Set<String> BACK_ENDS = Set.of("cpu", "cuda");

    @Test
    void packagesOfTheRuntimeUseOnlyWhatIsBelowThem() {
        List<String> violations = new ArrayList<>();
        for (Map.Entry<SourceTree.SourceFile, Set<String>> use : uses().entrySet()) {
            String path = use.getKey().path();
            String from = path.substring(MAIN.length(), path.indexOf('/', MAIN.length()));
            for (String to : use.getValue()) {
                boolean allowed = to.equals(from)
                        || from.equals("train")
                        || BACK_ENDS.contains(from) && !to.equals("train") && !BACK_ENDS.contains(to)
                        || ALLOWED.getOrDefault(from, Set.of()).contains(to);
                if (!allowed) {
                    violations.add(path + " uses io.brazier." + to);
                }
            }
            if (!from.equals("train") && !BACK_ENDS.contains(from) && !ALLOWED.containsKey(from)) {
                violations.add("io.brazier." + from + " has no row of allowed packages in this test");
            }
        }
        assertEquals(List.of(), violations);
    }

    @Test
    void theRuntimeKnowsNothingOfSparkAndHadoop() {
        List<String> violations = SourceTree.read()
                .withSuffix(".java")
                .filter(file -> file.path().startsWith("gpu-runtime/"))
                .filter(file -> code(file).matches("(?s).*\\borg\\.apache\\.(spark|hadoop)\\b.*")
                        || code(file).contains("io.brazier.spark"))
                .map(SourceTree.SourceFile::path)
                .toList();
        assertEquals(List.of(), violations);
    }

    private static Map<SourceTree.SourceFile, Set<String>> uses() {
        Map<SourceTree.SourceFile, Set<String>> uses =
                new TreeMap<>(java.util.Comparator.comparing(SourceTree.SourceFile::path));
        SourceTree.read()
                .withSuffix(".java")
                .filter(file -> file.path().startsWith(MAIN))
                .forEach(file -> {
                    Set<String> packages = new java.util.TreeSet<>();
                    Matcher matcher = PACKAGE_USED.matcher(code(file));
                    while (matcher.find()) {
                        packages.add(matcher.group(1));
                    }
                    uses.put(file, packages);
                });
        return uses;
    }

    private static String code(SourceTree.SourceFile file) {
        return COMMENT.matcher(file.text()).replaceAll(" ");
    }
}
