package io.brazier.spark.ml;

import org.apache.spark.ml.evaluation.Evaluator;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReadable;
import org.apache.spark.ml.util.DefaultParamsWritable;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.ml.util.MLWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.functions;

/**
 * Mean over the rows of the perplexity that a {@link CausalLMModel} of task score adds: what {@code CrossValidator} minimises. Rows
 * without a score are left out.
 */
public final class PerplexityEvaluator extends Evaluator implements DefaultParamsWritable {
    private static final long serialVersionUID = 1L;

    private final String uid;

    public PerplexityEvaluator() {
        this(Identifiable$.MODULE$.randomUID("perplexityEvaluator"));
    }

    public PerplexityEvaluator(String uid) {
        this.uid = uid;
        setDefault(perplexityCol(), "perplexity");
    }

    @Override
    public String uid() {
        return uid;
    }

    /** Column of perplexities. */
    public Param<String> perplexityCol() {
        return Declare.stringParam(this, "perplexityCol", "column of perplexities");
    }

    public String getPerplexityCol() {
        return getOrDefault(perplexityCol());
    }

    public PerplexityEvaluator setPerplexityCol(String value) {
        set(perplexityCol(), value);
        return this;
    }

    @Override
    public double evaluate(Dataset<?> table) {
        Object mean = table.agg(functions.mean(getPerplexityCol())).head().get(0);
        return mean == null ? Double.NaN : (Double) mean;
    }

    @Override
    public boolean isLargerBetter() {
        return false;
    }

    @Override
    public PerplexityEvaluator copy(ParamMap extra) {
        return defaultCopy(extra);
    }

    @Override
    public MLWriter write() {
        return DefaultParamsWritable.super.write();
    }

    public static MLReader<PerplexityEvaluator> read() {
        return new Reader().read();
    }

    public static PerplexityEvaluator load(String path) {
        return read().load(path);
    }

    private static final class Reader implements DefaultParamsReadable<PerplexityEvaluator> {}
}
