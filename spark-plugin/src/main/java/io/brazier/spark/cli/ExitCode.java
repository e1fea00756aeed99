package io.brazier.spark.cli;

import io.brazier.train.TrainingException;

/** What the process ends with, so that a scheduler can tell a wrong setting from a lost machine. */
enum ExitCode {
    OK(0, "done"),
    FAILED(1, "doctor found a failure, or an error that is none of the below"),
    USAGE(2, "wrong options or values"),
    CONFIG(3, "a setting of the job or of Spark has to change"),
    DATA(4, "the input has to change"),
    DEVICE(5, "a native library or device is missing or failed"),
    COLLECTIVE(6, "ranks lost each other"),
    CHECKPOINT(7, "a checkpoint or model could not be read or written");

    private final int status;
    private final String meaning;

    ExitCode(int status, String meaning) {
        this.status = status;
        this.meaning = meaning;
    }

    int status() {
        return status;
    }

    String meaning() {
        return meaning;
    }

    static ExitCode of(TrainingException.Category category) {
        return switch (category) {
            case CONFIG -> CONFIG;
            case DATA -> DATA;
            case DEVICE -> DEVICE;
            case COLLECTIVE -> COLLECTIVE;
            case CHECKPOINT -> CHECKPOINT;
        };
    }
}
