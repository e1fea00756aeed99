package io.brazier.spark.cli;

import io.brazier.spark.ml.CausalLMModel;
import io.brazier.text.NgramBaseline;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Measures a model on text, beside an n-gram model when asked for. */
@Command(
        name = "evaluate",
        mixinStandardHelpOptions = true,
        description = {
            "Measures a model on running text; rows are joined to passages.",
            "The last line of the output is EVALUATED key=value ...: loss in nats per token, lossPerCharacter and"
                    + " baselineLoss in nats per character."
        })
final class EvaluateCommand implements Callable<Integer> {
    private static final int PASSAGE_CHARACTERS = 1 << 14;

    @Spec
    private CommandSpec command;

    @Mixin
    private ModelOption model;

    @Option(
            names = "--input",
            required = true,
            paramLabel = "PATH",
            description = "Text files, or Parquet, JSON or ORC files with a column of text; may be repeated.")
    private List<String> inputs;

    @Option(
            names = "--baseline-input",
            paramLabel = "PATH",
            description = "Also count an n-gram model (interpolated Kneser-Ney, by characters) on this text, in the"
                    + " driver, and measure it on the input.")
    private List<String> baselineInputs;

    @Option(
            names = "--baseline-order",
            paramLabel = "INTEGER",
            defaultValue = "5",
            description = "Characters of the longest n-gram. Default: ${DEFAULT-VALUE}")
    private int baselineOrder;

    static CommandLine create() {
        CommandLine line = new CommandLine(new EvaluateCommand());
        CausalLMModel params = CausalLMModel.fromHuggingFace("");
        ParamOptions.add(
                line.getCommandSpec(),
                params,
                Set.of(
                        "task",
                        "outputCol",
                        "logLikelihoodCol",
                        "perplexityCol",
                        "maxNewTokens",
                        "temperature",
                        "topK",
                        "topP",
                        "stop",
                        "seed"));
        return line;
    }

    @Override
    public Integer call() throws IOException {
        try (SparkSession session = Sessions.open("evaluate")) {
            CausalLMModel loaded = model.load(session).setTask("score");
            ParamOptions.apply(command.commandLine().getParseResult(), loaded);
            String column = loaded.getTextCol();
            Dataset<Row> passages = passages(Sessions.read(session, inputs, column), column);
            PrintWriter out = command.commandLine().getOut();
            out.println(measure(loaded, passages) + baseline(session, column, passages));
            out.flush();
        }
        return ExitCode.OK.status();
    }

    private static String measure(CausalLMModel model, Dataset<Row> passages) {
        double logLikelihood = 0;
        double tokens = 0;
        long characters = 0;
        Dataset<Row> scored = model.transform(passages);
        for (Row row : scored.select(model.getTextCol(), model.getLogLikelihoodCol(), model.getPerplexityCol())
                .collectAsList()) {
            if (!row.isNullAt(1)) {
                logLikelihood += row.getDouble(1);
                // The perplexity is per predicted token, so the two columns hold their number.
                tokens += Math.rint(-row.getDouble(1) / Math.log(row.getDouble(2)));
                characters +=
                        row.getString(0).codePointCount(0, row.getString(0).length());
            }
        }
        if (tokens == 0) {
            throw new IllegalArgumentException("the input holds no text of two tokens or more");
        }
        return String.format(
                Locale.ROOT,
                "EVALUATED loss=%.4f perplexity=%.4f tokens=%.0f lossPerCharacter=%.4f characters=%d",
                -logLikelihood / tokens,
                Math.exp(-logLikelihood / tokens),
                tokens,
                -logLikelihood / characters,
                characters);
    }

    private String baseline(SparkSession session, String column, Dataset<Row> passages) throws IOException {
        if (baselineInputs == null) {
            return "";
        }
        int[] train = codePoints(passages(Sessions.read(session, baselineInputs, column), column));
        int[] held = codePoints(passages);
        int[] alphabet = IntStream.concat(Arrays.stream(train), Arrays.stream(held))
                .sorted()
                .distinct()
                .toArray();
        NgramBaseline ngrams = NgramBaseline.train(ids(train, alphabet), baselineOrder, Math.max(2, alphabet.length));
        return String.format(
                Locale.ROOT, " baselineLoss=%.4f baselineOrder=%d", ngrams.loss(ids(held, alphabet)), ngrams.order());
    }

    private static int[] codePoints(Dataset<Row> passages) {
        StringBuilder text = new StringBuilder();
        passages.toLocalIterator().forEachRemaining(row -> text.append(row.getString(0)));
        return text.codePoints().toArray();
    }

    private static int[] ids(int[] codePoints, int[] alphabet) {
        return Arrays.stream(codePoints)
                .map(c -> Arrays.binarySearch(alphabet, c))
                .toArray();
    }

    /** Rows of one partition joined by line ends, so that the model sees as much context as it was trained with. */
    private static Dataset<Row> passages(Dataset<Row> table, String column) {
        MapPartitionsFunction<Row, String> join = EvaluateCommand::join;
        return table.select(table.col(column).cast("string"))
                .mapPartitions(join, Encoders.STRING())
                .toDF(column);
    }

    private static Iterator<String> join(Iterator<Row> rows) {
        List<String> passages = new ArrayList<>();
        StringBuilder passage = new StringBuilder();
        while (rows.hasNext()) {
            Row row = rows.next();
            if (!row.isNullAt(0) && !row.getString(0).isEmpty()) {
                passage.append(row.getString(0)).append('\n');
            }
            if (passage.length() >= PASSAGE_CHARACTERS || !rows.hasNext() && passage.length() > 0) {
                passages.add(passage.toString());
                passage.setLength(0);
            }
        }
        return passages.iterator();
    }
}
