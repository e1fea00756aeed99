package io.brazier.spark.ml;

import io.brazier.train.TrainingListener;
import java.util.Objects;
import org.apache.spark.ml.Estimator;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReadable;
import org.apache.spark.ml.util.DefaultParamsWritable;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.ml.util.MLWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.types.StructType;

/**
 * Trains a GPT-2 style language model on a column of text, one barrier task per rank, under any layout ({@link LayoutParams}), and
 * gives a {@link CausalLMModel}.
 *
 * <pre>{@code
 * CausalLMModel model = new CausalLM().setTokenizer("characters").setNumWorkers(2).setNumSteps(2000).fit(book);
 * model.setMaxNewTokens(200).transform(prompts).show(false);
 * }</pre>
 *
 * The text never passes through the driver. The same seed and params give the same weights, bit for bit, on every cluster that
 * runs as many ranks. The table must give the same rows in the same order when Spark reads it again after a failure.
 */
public final class CausalLM extends Estimator<CausalLMModel>
        implements TextParams<CausalLM>,
                ArchitectureParams<CausalLM>,
                TrainingParams<CausalLM>,
                LayoutParams<CausalLM>,
                OptimizerParams<CausalLM>,
                GenerationParams<CausalLM>,
                DefaultParamsWritable {
    private static final long serialVersionUID = 1L;

    private final String uid;
    private transient TrainingListener listener = new TrainingListener() {};

    public CausalLM() {
        this(Identifiable$.MODULE$.randomUID("causalLM"));
    }

    public CausalLM(String uid) {
        this.uid = uid;
        Defaults.text(this);
        Defaults.architecture(this);
        Defaults.training(this);
        Defaults.layout(this);
        Defaults.optimizer(this);
        Defaults.generation(this);
    }

    @Override
    public String uid() {
        return uid;
    }

    /** Hears of every step on the driver, on a thread of Spark's; copies of this estimator share it. */
    public CausalLM setListener(TrainingListener value) {
        listener = Objects.requireNonNull(value, "listener");
        return this;
    }

    /**
     * Trains.
     *
     * @throws IllegalArgumentException when params, table and cluster do not go together, before anything runs
     * @throws io.brazier.train.TrainingException when the job fails for good
     */
    @Override
    public CausalLMModel fit(Dataset<?> table) {
        transformSchema(table.schema());
        CausalLMModel model = copyValues(new Fit(this, table, listener).run().setParent(this), ParamMap.empty());
        // How it was trained does not say how it is used.
        model.clear(model.tensorParallel()).clear(model.pipelineParallel()).clear(model.device());
        return model;
    }

    /**
     * The physical plan of {@link #fit}, before anything is booked: who holds what, bytes, messages and FLOPs of each rank, and the
     * schedule as a drawing. Text is read only where the tokenizer needs it.
     *
     * @throws IllegalArgumentException naming every violation of the params
     */
    public String explain(Dataset<?> table) {
        transformSchema(table.schema());
        return new Fit(this, table, listener).explain().text();
    }

    /** {@link #explain} as a JSON object. */
    public String explainJson(Dataset<?> table) {
        transformSchema(table.schema());
        return new Fit(this, table, listener).explain().json();
    }

    @Override
    public StructType transformSchema(StructType schema) {
        return Columns.added(schema, this);
    }

    @Override
    public CausalLM copy(ParamMap extra) {
        CausalLM copy = defaultCopy(extra);
        return copy.setListener(listener);
    }

    @Override
    public MLWriter write() {
        return DefaultParamsWritable.super.write();
    }

    public static MLReader<CausalLM> read() {
        return new Reader().read();
    }

    public static CausalLM load(String path) {
        return read().load(path);
    }

    private static final class Reader implements DefaultParamsReadable<CausalLM> {}
}
