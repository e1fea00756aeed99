package io.brazier.spark.cli;

import java.util.Arrays;
import java.util.Set;
import org.apache.spark.ml.param.BooleanParam;
import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.LongParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;
import org.apache.spark.ml.param.StringArrayParam;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** The params of a Spark ML stage as options of a command: {@code numLayers} is {@code --num-layers}. */
final class ParamOptions {
    private ParamOptions() {}

    /** Adds an option for every param but those left out. */
    static void add(CommandSpec command, Params stage, Set<String> leftOut) {
        for (Param<?> param : stage.params()) {
            if (!leftOut.contains(param.name())) {
                String otherwise = stage.getDefault(param).isDefined()
                        ? " Default: " + text(stage.getDefault(param).get())
                        : "";
                command.addOption(OptionSpec.builder(optionName(param.name()))
                        .paramLabel(label(param))
                        .type(String.class)
                        // Percent signs would be read as a format.
                        .description((capitalized(param.doc()) + "." + otherwise).replace("%", "%%"))
                        .build());
            }
        }
    }

    /** Sets every param whose option was given. */
    static void apply(ParseResult parsed, Params stage) {
        for (Param<?> param : stage.params()) {
            String option = optionName(param.name());
            if (parsed.hasMatchedOption(option)) {
                String value = parsed.matchedOptionValue(option, "");
                try {
                    set(stage, param, value);
                } catch (IllegalArgumentException e) {
                    throw new ParameterException(
                            parsed.commandSpec().commandLine(),
                            option + " " + value + ": "
                                    + (e instanceof NumberFormatException
                                            ? "expected " + label(param).toLowerCase(java.util.Locale.ROOT)
                                            : e.getMessage()),
                            e);
                }
            }
        }
    }

    static String optionName(String param) {
        return "--" + param.replaceAll("([a-z])([A-Z])", "$1-$2").toLowerCase(java.util.Locale.ROOT);
    }

    @SuppressWarnings("unchecked")
    private static void set(Params stage, Param<?> param, String value) {
        Object parsed;
        if (param instanceof IntParam) {
            parsed = Integer.parseInt(value);
        } else if (param instanceof LongParam) {
            parsed = Long.parseLong(value);
        } else if (param instanceof DoubleParam) {
            parsed = Double.parseDouble(value);
        } else if (param instanceof BooleanParam) {
            parsed = truth(value);
        } else if (param instanceof StringArrayParam) {
            parsed = value.split(",");
        } else {
            parsed = unescaped(value);
        }
        stage.set((Param<Object>) param, parsed);
    }

    private static boolean truth(String value) {
        if (!value.equals("true") && !value.equals("false")) {
            throw new IllegalArgumentException("expected true or false");
        }
        return value.equals("true");
    }

    /** A shell cannot easily pass a line break: \n and \t mean what they mean in Java. */
    private static String unescaped(String value) {
        return value.replace("\\n", "\n").replace("\\t", "\t");
    }

    private static String text(Object value) {
        String shown = value instanceof String[] ? Arrays.toString((String[]) value) : String.valueOf(value);
        return shown.isEmpty() ? "(empty)" : shown.replace("\n", "\\n").replace("\t", "\\t");
    }

    private static String label(Param<?> param) {
        if (param instanceof IntParam || param instanceof LongParam) {
            return "INTEGER";
        }
        if (param instanceof DoubleParam) {
            return "NUMBER";
        }
        if (param instanceof BooleanParam) {
            return "true|false";
        }
        return param instanceof StringArrayParam ? "TEXT,..." : "TEXT";
    }

    private static String capitalized(String doc) {
        return Character.toUpperCase(doc.charAt(0)) + doc.substring(1);
    }
}
