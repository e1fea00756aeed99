package io.brazier.tests.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.spark.ml.CausalLM;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;
import org.apache.spark.ml.param.Param;
import org.junit.jupiter.api.Test;

/** The README's table of settings is the estimator's params; {@code -Dgolden.update=true} writes it anew. */
class ReadmeTest {
    private static final String BEGIN = "<!-- settings: a test compares this table with the estimator -->\n";
    private static final String END = "<!-- end of settings -->";

    @Test
    void tableOfSettingsIsThatOfTheEstimator() throws IOException {
        Path readme = Path.of(System.getProperty("brazier.root", ".."), "README.md");
        String text = Files.readString(readme);
        int begin = text.indexOf(BEGIN) + BEGIN.length();
        int end = text.indexOf(END);
        if (Boolean.getBoolean("golden.update")) {
            Files.writeString(readme, text.substring(0, begin) + table(new CausalLM()) + text.substring(end));
        } else {
            assertEquals(table(new CausalLM()), text.substring(begin, end));
        }
    }

    private static String table(CausalLM estimator) {
        return Arrays.stream(estimator.params())
                .map(param -> "| `" + param.name() + "` | " + defaultOf(estimator, param) + " | "
                        + param.doc().replace("|", "\\|") + " |\n")
                .collect(Collectors.joining("", "| setting | default | meaning |\n|---|---|---|\n", ""));
    }

    private static String defaultOf(CausalLM estimator, Param<?> param) {
        Object value = estimator.getDefault(param).get();
        String text = value instanceof Object[] ? String.join(",", (String[]) value) : String.valueOf(value);
        return text.isEmpty() ? "(empty)" : "`" + text.replace("\n", "\\n") + "`";
    }
}
