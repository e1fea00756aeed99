package io.brazier.spark.ml;

import java.io.IOException;
import java.util.HashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.ml.Model;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsReader$;
import org.apache.spark.ml.util.DefaultParamsWriter$;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.ml.util.MLWritable;
import org.apache.spark.ml.util.MLWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.StructType;
import scala.Option;

/**
 * A trained language model. {@link #transform} continues the text of each row, or scores it, in parallel over the partitions; each
 * executor loads the weights once. A model that one executor cannot hold is shared by tensorParallel * pipelineParallel ranks, with
 * its key/value cache: then {@link #transform} is one barrier stage, and each rank reads its own slices of the model's directory,
 * which every executor must reach. On disk a model is Spark's metadata beside a directory {@code model} in Hugging Face layout.
 */
public final class CausalLMModel extends Model<CausalLMModel>
        implements TextParams<CausalLMModel>,
                GenerationParams<CausalLMModel>,
                ShardingParams<CausalLMModel>,
                MLWritable {
    private static final long serialVersionUID = 1L;
    private static final String DIRECTORY = "model";

    private final String uid;
    private final String directory;
    private final transient CausalLMSummary summary;
    private transient Weights weights;

    /** The files in the executors' reach; shared by copies of a model. */
    private static final class Weights {
        private SparkContext context;
        private Broadcast<HashMap<String, byte[][]>> files;

        synchronized Broadcast<HashMap<String, byte[][]>> files(SparkContext wanted, String directory) {
            if (context != wanted) {
                HashMap<String, byte[][]> content = ModelFiles.read(directory, wanted.hadoopConfiguration());
                files = JavaSparkContext.fromSparkContext(wanted).broadcast(content);
                context = wanted;
            }
            return files;
        }
    }

    CausalLMModel(String uid, String directory, CausalLMSummary summary) {
        this(uid, directory, summary, new Weights());
    }

    private CausalLMModel(String uid, String directory, CausalLMSummary summary, Weights weights) {
        this.uid = uid;
        this.directory = directory;
        this.summary = summary;
        this.weights = weights;
        Defaults.text(this);
        Defaults.generation(this);
        Defaults.sharding(this);
    }

    /** For Spark Connect alone, which refuses every stage on the class path unless each can be made without arguments. */
    public CausalLMModel() {
        this(Identifiable$.MODULE$.randomUID("causalLMModel"), "", null);
    }

    /** A model from a directory in Hugging Face layout, on any file system that Hadoop reads from the driver. */
    public static CausalLMModel fromHuggingFace(String directory) {
        return new CausalLMModel(Identifiable$.MODULE$.randomUID("causalLMModel"), directory, null);
    }

    @Override
    public String uid() {
        return uid;
    }

    /** Where the model's files are, in Hugging Face layout. A model that was just trained has them on the driver's disk. */
    public String directory() {
        return directory;
    }

    public boolean hasSummary() {
        return summary != null;
    }

    /**
     * What happened in training.
     *
     * @throws IllegalStateException when the model was loaded
     */
    public CausalLMSummary summary() {
        if (summary == null) {
            throw new IllegalStateException("model " + uid + " was loaded from " + directory + " and has no summary");
        }
        return summary;
    }

    /** Copies the model's files, in Hugging Face layout, to a directory. */
    public void exportTo(String target, Configuration configuration) throws IOException {
        ModelFiles.copy(directory, target, configuration);
    }

    @Override
    public Dataset<Row> transform(Dataset<?> table) {
        StructType schema = transformSchema(table.schema());
        if (getTensorParallel() > 1 || getPipelineParallel() > 1) {
            return new ShardedInference(this, table).transform(schema);
        }
        Broadcast<HashMap<String, byte[][]>> files =
                weights.files(table.sparkSession().sparkContext(), directory);
        int text = table.schema().fieldIndex(getTextCol());
        return table.toDF().mapPartitions(new Inference(files, text, InferenceSettings.of(this)), Encoders.row(schema));
    }

    @Override
    public StructType transformSchema(StructType schema) {
        return Columns.added(schema, this);
    }

    @Override
    public CausalLMModel copy(ParamMap extra) {
        CausalLMModel copy = new CausalLMModel(uid, directory, summary, weights);
        return copyValues(copy, extra).setParent(parent());
    }

    @Override
    public MLWriter write() {
        return new Writer(this);
    }

    public static MLReader<CausalLMModel> read() {
        return new Reader();
    }

    public static CausalLMModel load(String path) {
        return read().load(path);
    }

    private static final class Writer extends MLWriter {
        private final CausalLMModel model;

        Writer(CausalLMModel model) {
            this.model = model;
        }

        @Override
        @SuppressWarnings("deprecation") // Spark 3.5 has only this overload
        public void saveImpl(String path) {
            DefaultParamsWriter$.MODULE$.saveMetadata(model, path, sc(), Option.empty(), Option.empty());
            try {
                model.exportTo(path + "/" + DIRECTORY, sc().hadoopConfiguration());
            } catch (IOException e) {
                throw new java.io.UncheckedIOException("model " + model.uid + " was not saved to " + path, e);
            }
        }
    }

    private static final class Reader extends MLReader<CausalLMModel> {
        @Override
        @SuppressWarnings("deprecation") // Spark 3.5 has only this overload
        public CausalLMModel load(String path) {
            DefaultParamsReader.Metadata metadata =
                    DefaultParamsReader$.MODULE$.loadMetadata(path, sc(), CausalLMModel.class.getName());
            CausalLMModel model = new CausalLMModel(metadata.uid(), path + "/" + DIRECTORY, null);
            metadata.getAndSetParams(model, Option.empty());
            return model;
        }
    }
}
