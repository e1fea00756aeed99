package io.brazier.spark.ml;

import java.io.Serializable;
import java.util.List;
import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.LongParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;
import org.apache.spark.ml.param.StringArrayParam;
import scala.Function1;

/**
 * Declares Spark ML params. A param is equal to another of the same owner and name, so that the methods which declare them may
 * make a new one at each call and need no field.
 */
final class Declare {
    /** A check that Spark can ship with the param. */
    private interface Check extends Function1<Object, Object>, Serializable {}

    private Declare() {}

    static IntParam intParam(Params owner, String name, String doc, int least) {
        Check check = value -> (Integer) value >= least;
        return new IntParam(owner, name, doc, check);
    }

    static IntParam intParam(Params owner, String name, String doc, int least, int most) {
        Check check = value -> (Integer) value >= least && (Integer) value <= most;
        return new IntParam(owner, name, doc, check);
    }

    static LongParam longParam(Params owner, String name, String doc) {
        return new LongParam(owner, name, doc);
    }

    static LongParam longParam(Params owner, String name, String doc, long least) {
        Check check = value -> (Long) value >= least;
        return new LongParam(owner, name, doc, check);
    }

    static DoubleParam doubleParam(Params owner, String name, String doc, double least, double most) {
        Check check = value -> (Double) value >= least && (Double) value <= most && Double.isFinite((Double) value);
        return new DoubleParam(owner, name, doc, check);
    }

    static Param<String> stringParam(Params owner, String name, String doc, String... allowed) {
        List<String> values = List.of(allowed);
        Function1<String, Object> check =
                (Function1<String, Object> & Serializable) value -> values.isEmpty() || values.contains(value);
        return new Param<>(owner.uid(), name, doc, check);
    }

    static StringArrayParam stringsParam(Params owner, String name, String doc) {
        return new StringArrayParam(owner, name, doc);
    }
}
