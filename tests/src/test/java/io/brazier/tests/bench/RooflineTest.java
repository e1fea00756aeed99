package io.brazier.tests.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.tests.cuda.TestGpu;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The report on a GPU is whole, also where the GPU is simulated; what the numbers are, no test says. */
@Tag("cuda")
class RooflineTest {
    @Test
    @Tag(TestGpu.TAG)
    void everyKernelOfAStepIsInTheReport() {
        List<String> report = new ArrayList<>();
        assertEquals(0, RooflineBench.report("tiny", "h100", report), () -> String.join("\n", report));
        TestGpu.assertNoViolations("the report");
        TestGpu.assertNothingIsLeft(1);
        boolean marked = report.stream().anyMatch(line -> line.contains("times mean nothing"));
        assertEquals(report.stream().anyMatch(line -> line.contains("Simulated H100")), marked);
        List<String[]> rows = report.stream()
                .filter(line -> line.startsWith("| ") && line.endsWith(" |"))
                .map(line -> line.substring(2).split(" \\| ?"))
                .filter(cells -> cells.length == 10 && !cells[0].equals("kernel"))
                .toList();
        Set<String> timed = rows.stream().map(cells -> cells[0]).collect(Collectors.toSet());
        for (String op : List.of(
                "mat_mul",
                "causal_attention",
                "causal_attention_grad",
                "layer_norm",
                "rms_norm",
                "rotary_grad",
                "embedding",
                "adam_w",
                "cross_entropy",
                "sharded_cross_entropy")) {
            assertTrue(timed.contains(op), op + " is not among " + timed);
        }
        for (String[] cells : rows) {
            assertTrue(Integer.parseInt(cells[3]) > 0, String.join(" ", cells));
            assertTrue(Double.parseDouble(cells[4]) > 0, String.join(" ", cells));
            assertTrue(Double.parseDouble(cells[7]) >= 2, String.join(" ", cells));
        }
        assertTrue(report.contains("| ms | tokens/s | TFLOP/s | MFU |"), () -> String.join("\n", report));
        String result = report.get(report.size() - 1);
        assertTrue(result.matches("RESULT roofline.* kernels=" + rows.size() + " failed=0 .* mfu=[0-9.]+"), result);
    }

    @Test
    void theReportTellsWhatTheTestsDid(@TempDir Path folder) throws Exception {
        Files.writeString(
                folder.resolve("TEST-io.brazier.A.xml"),
                "<testsuite name=\"io.brazier.A\" time=\"1.5\" tests=\"3\" errors=\"0\" skipped=\"1\" failures=\"1\">"
                        + "<testcase name=\"good\" classname=\"io.brazier.A\"/>"
                        + "<testcase name=\"bad\" classname=\"io.brazier.A\"><failure message=\"1 is not 2&#10;at\">at</failure>"
                        + "</testcase><testcase name=\"left\" classname=\"io.brazier.A\"><skipped type=\"a.B\">a.B: Assumption failed: two GPUs&#10;at</skipped>"
                        + "</testcase></testsuite>");
        List<String> report = new ArrayList<>();
        assertEquals(1, SuiteResults.read(folder, report));
        assertTrue(report.contains("| io.brazier.A | 1 | 1 | 1 | 1.5 |"), report::toString);
        assertTrue(report.contains("- skipped, 1 times: two GPUs"), report::toString);
        assertTrue(report.contains("- **failed**: io.brazier.A.bad: 1 is not 2"), report::toString);
        assertThrows(
                IllegalArgumentException.class, () -> SuiteResults.read(folder.resolve("none"), new ArrayList<>()));
    }
}
