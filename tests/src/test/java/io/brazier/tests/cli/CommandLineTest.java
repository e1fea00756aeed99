package io.brazier.tests.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.cli.CommandLineTool;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The command line in this JVM, with Spark's local master. */
class CommandLineTest {
    private static final int USAGE = 2;

    @TempDir
    private Path directory;

    /** What a run printed and returned. */
    private record Outcome(int status, String out, String err) {
        double value(String name) {
            Matcher matcher = Pattern.compile("\\b" + name + "=(\\S+)").matcher(out);
            assertTrue(matcher.find(), () -> name + " in " + out);
            return Double.parseDouble(matcher.group(1));
        }
    }

    @BeforeEach
    void useALocalMaster() {
        System.setProperty("spark.master", "local[2]");
        System.setProperty("spark.ui.enabled", "false");
        System.setProperty(
                "spark.sql.warehouse.dir", directory.resolve("warehouse").toString());
    }

    @AfterEach
    void forgetIt() {
        Stream.of("spark.master", "spark.ui.enabled", "spark.sql.warehouse.dir").forEach(System::clearProperty);
    }

    private static Outcome run(String... arguments) {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream outBytes = new ByteArrayOutputStream();
        ByteArrayOutputStream errBytes = new ByteArrayOutputStream();
        System.setOut(new PrintStream(outBytes, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(errBytes, true, StandardCharsets.UTF_8));
        try {
            int status = CommandLineTool.run(arguments);
            return new Outcome(
                    status, outBytes.toString(StandardCharsets.UTF_8), errBytes.toString(StandardCharsets.UTF_8));
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
    }

    private Path text() throws IOException {
        return Files.writeString(
                directory.resolve("text.txt"), "the quick brown fox jumps over the lazy dog\n".repeat(200));
    }

    @Test
    void trainedModelScoresContinuesAndTravels() throws IOException {
        String text = text().toString();
        String model = directory.resolve("model").toString();
        Outcome trained = run(
                "train",
                "--input",
                text,
                "--output",
                model,
                "--tokenizer",
                "characters",
                "--num-workers",
                "2",
                "--num-layers",
                "1",
                "--num-heads",
                "2",
                "--width",
                "32",
                "--sequence-length",
                "32",
                "--batch-size",
                "8",
                "--num-steps",
                "60",
                "--warmup-steps",
                "5",
                "--learning-rate",
                "1e-2",
                "--tensorboard",
                directory.resolve("curves").toString());
        assertEquals(0, trained.status(), trained.err());
        assertEquals(60, trained.value("steps"));
        assertTrue(trained.value("validationLoss") < 1, trained.out());
        assertTrue(trained.err().contains("step 60/60 loss "), trained.err());
        try (Stream<Path> curves = Files.list(directory.resolve("curves"))) {
            assertEquals(1, curves.count());
        }

        Outcome evaluated =
                run("evaluate", "--model", model, "--input", text, "--baseline-input", text, "--baseline-order", "1");
        assertEquals(0, evaluated.status(), evaluated.err());
        assertTrue(evaluated.value("loss") < evaluated.value("baselineLoss"), evaluated.out());

        String exported = directory.resolve("exported").toString();
        assertEquals(0, run("export", "--model", model, "--output", exported).status());
        assertTrue(Files.exists(Path.of(exported, "config.json")));

        Path config = Files.createDirectory(directory.resolve("sizes")).resolve("config.json");
        Files.copy(Path.of(exported, "config.json"), config);
        Outcome plan = run("plan", "--model", config.getParent().toString(), "--sequence-length", "8");
        assertEquals(0, plan.status(), plan.err());
        assertTrue(plan.out().contains("1 blocks of width"), plan.out());

        String[] continuation = {"--prompt", "the quick ", "--max-new-tokens", "12", "--temperature", "0"};
        Outcome saved = run(concat(new String[] {"generate", "--model", model}, continuation));
        Outcome copied = run(concat(new String[] {"generate", "--model", exported}, continuation));
        assertEquals(0, saved.status(), saved.err());
        assertTrue(saved.out().startsWith("the quick "), saved.out());
        assertEquals(saved.out(), copied.out());
        Outcome shared =
                run(concat(new String[] {"generate", "--model", model, "--pipeline-parallel", "2"}, continuation));
        assertEquals(saved.out(), shared.out(), shared.err());

        Outcome again = run("train", "--input", text, "--output", model);
        assertEquals(USAGE, again.status());
        assertTrue(again.err().contains("--overwrite"), again.err());
    }

    @Test
    void wrongOptionsEndInOneSentenceAndNoStackTrace() throws IOException {
        String[][] wrong = {
            {"--num-layers", "0"},
            {"--num-layers", "two"},
            {"--learning-rate", "-1"},
            {"--handle-invalid", "maybe"},
            {"--no-such-option", "1"},
            {"--batch-size", "7", "--num-workers", "2"},
        };
        String text = text().toString();
        for (String[] options : wrong) {
            Outcome outcome = run(concat(
                    new String[] {
                        "train",
                        "--input",
                        text,
                        "--output",
                        directory.resolve("x").toString()
                    },
                    options));
            assertEquals(USAGE, outcome.status(), () -> String.join(" ", options) + ": " + outcome.err());
            assertFalse(outcome.err().contains("\tat "), outcome.err());
        }
    }

    @Test
    void missingInputIsNamed() {
        String missing = directory.resolve("nothing.txt").toString();
        Outcome outcome = run(
                "train", "--input", missing, "--output", directory.resolve("x").toString());
        assertEquals(USAGE, outcome.status());
        assertTrue(outcome.err().contains(missing), outcome.err());
    }

    @Test
    void planTellsWhatTrainingNeedsWithoutTextOrCluster() {
        String[] options = {"--num-workers", "4", "--pipeline-parallel", "2", "--num-micro-batches", "4"};
        String[] more = {"--batch-size", "16", "--zero-stage", "1", "--device-memory", "1g"};
        String[] plan = concat(concat(new String[] {"plan"}, options), more);
        Outcome text = run(plan);
        assertEquals(0, text.status(), text.err());
        for (String part : new String[] {
            "layout  dp 2 * pp 2", "blocks 0-1", "sent over dp", "stage 1 |", "bubble", "fits the deviceMemory"
        }) {
            assertTrue(text.out().contains(part), text.out());
        }
        Outcome json = run(concat(plan, new String[] {"--json"}));
        assertEquals(0, json.status(), json.err());
        assertTrue(json.out().startsWith("{") && json.out().contains("\"peakBytes\""), json.out());
    }

    @Test
    void planRefusesWhatDoesNotFitOrDivide() {
        Outcome large = run("plan", "--num-workers", "2", "--width", "512", "--device-memory", "180m");
        assertEquals(USAGE, large.status());
        assertTrue(large.out().contains("these do: dp 2"), large.out());
        Outcome wrong = run("plan", "--num-workers", "3", "--tensor-parallel", "2", "--num-heads", "3");
        assertEquals(USAGE, wrong.status());
        assertTrue(wrong.err().contains("= ? * 2 ranks, but numWorkers is 3"), wrong.err());
        assertTrue(wrong.err().contains("numHeads 3"), wrong.err());
    }

    @Test
    void doctorTellsWhatIsWrongWithItsRemedy() {
        System.setProperty("spark.dynamicAllocation.enabled", "true");
        try {
            Outcome outcome = run("doctor");
            assertEquals(1, outcome.status());
            assertTrue(outcome.out().contains("fail  spark.dynamicAllocation.enabled"), outcome.out());
            assertTrue(outcome.out().contains("-> set it to false"), outcome.out());
        } finally {
            System.clearProperty("spark.dynamicAllocation.enabled");
        }
        assertEquals(0, run("doctor").status());
    }

    private static String[] concat(String[] first, String[] second) {
        return Stream.concat(Stream.of(first), Stream.of(second)).toArray(String[]::new);
    }
}
