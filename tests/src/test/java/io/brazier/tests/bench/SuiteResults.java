package io.brazier.tests.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;
import org.xml.sax.SAXException;

/** The results of tests, from the files that Maven leaves. */
final class SuiteResults {
    private SuiteResults() {}

    /**
     * Adds a table of suites, what failed, and why tests were skipped, to a report.
     *
     * @return tests that failed
     * @throws IllegalArgumentException when no test ran
     */
    static int read(Path directory, List<String> report) throws IOException {
        List<Path> files = List.of();
        if (Files.isDirectory(directory)) {
            try (Stream<Path> all = Files.list(directory)) {
                files = all.filter(f -> f.getFileName().toString().matches("TEST-.*\\.xml"))
                        .sorted()
                        .toList();
            }
        }
        if (files.isEmpty()) {
            throw new IllegalArgumentException(directory + " holds no results of tests: run them first");
        }
        report.addAll(List.of("## Tests", "", "| suite | passed | failed | skipped | s |", "|---|---|---|---|---|"));
        List<String> failures = new ArrayList<>();
        Map<String, Integer> reasons = new TreeMap<>();
        for (Path file : files) {
            Element suite = parse(file);
            int failed = number(suite, "failures") + number(suite, "errors");
            int skipped = number(suite, "skipped");
            report.add("| " + suite.getAttribute("name") + " | " + (number(suite, "tests") - failed - skipped) + " | "
                    + failed + " | " + skipped + " | " + suite.getAttribute("time") + " |");
            NodeList tests = suite.getElementsByTagName("testcase");
            for (int x = 0; x < tests.getLength(); x++) {
                read((Element) tests.item(x), failures, reasons);
            }
        }
        report.add("");
        reasons.forEach((reason, count) -> report.add("- skipped, " + count + " times: " + reason));
        failures.forEach(failure -> report.add("- **failed**: " + failure));
        report.addAll(List.of("", "## Device", ""));
        return failures.size();
    }

    private static void read(Element test, List<String> failures, Map<String, Integer> reasons) {
        for (Node n = test.getFirstChild(); n != null; n = n.getNextSibling()) {
            String message = n instanceof Element e ? message(e) : "";
            switch (n.getNodeName()) {
                case "failure", "error" -> failures.add(
                        test.getAttribute("classname") + "." + test.getAttribute("name") + ": " + message);
                case "skipped" -> reasons.merge(message, 1, Integer::sum);
                default -> {}
            }
        }
    }

    /** The attribute, or where there is none the first line of the stack trace without the class. */
    private static String message(Element result) {
        String text = result.hasAttribute("message") ? result.getAttribute("message") : result.getTextContent();
        return text.lines().findFirst().orElse("").replaceFirst("^[\\w.]+: (Assumption failed: )?", "");
    }

    private static int number(Element suite, String attribute) {
        return Integer.parseInt(suite.getAttribute(attribute));
    }

    private static Element parse(Path file) throws IOException {
        try {
            return DocumentBuilderFactory.newInstance()
                    .newDocumentBuilder()
                    .parse(file.toFile())
                    .getDocumentElement();
        } catch (ParserConfigurationException | SAXException e) {
            throw new IOException(file + " is no result of tests", e);
        }
    }
}
