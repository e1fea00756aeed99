package io.brazier.spark.ml;

import java.util.Arrays;
import java.util.List;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/** The columns that go in and come out. */
final class Columns {
    private Columns() {}

    /**
     * The schema with the model's columns added.
     *
     * @throws IllegalArgumentException when the text column is missing or no string, or an output column exists
     */
    static <P extends TextParams<?> & GenerationParams<?>> StructType added(StructType schema, P params) {
        List<String> present = Arrays.asList(schema.fieldNames());
        String text = params.getTextCol();
        if (!present.contains(text)) {
            throw new IllegalArgumentException(
                    "textCol " + text + " is not among the columns " + present + ": set textCol");
        }
        DataType type = schema.apply(text).dataType();
        if (!type.equals(DataTypes.StringType)) {
            throw new IllegalArgumentException(
                    "textCol " + text + " is " + type.simpleString() + ", but must be string: cast it");
        }
        StructType result = schema;
        for (String column : outputs(params)) {
            if (Arrays.asList(result.fieldNames()).contains(column)) {
                throw new IllegalArgumentException(
                        "output column " + column + " exists already: drop it or choose another name");
            }
            boolean isText = params.getTask().equals("generate");
            result = result.add(column, isText ? DataTypes.StringType : DataTypes.DoubleType, true);
        }
        return result;
    }

    private static List<String> outputs(GenerationParams<?> params) {
        return params.getTask().equals("generate")
                ? List.of(params.getOutputCol())
                : List.of(params.getLogLikelihoodCol(), params.getPerplexityCol());
    }
}
