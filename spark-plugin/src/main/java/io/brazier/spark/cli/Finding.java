package io.brazier.spark.cli;

/**
 * One thing that doctor looked at.
 *
 * @param subject what was looked at
 * @param text what was found
 * @param remedy what to do now; empty when all is well
 */
record Finding(Level level, String subject, String text, String remedy) {

    /** How bad it is: a failure stops training, a warning slows it down or may surprise. */
    enum Level {
        OK,
        WARN,
        FAIL
    }

    static Finding ok(String subject, String text) {
        return new Finding(Level.OK, subject, text, "");
    }

    static Finding warn(String subject, String text, String remedy) {
        return new Finding(Level.WARN, subject, text, remedy);
    }

    static Finding fail(String subject, String text, String remedy) {
        return new Finding(Level.FAIL, subject, text, remedy);
    }
}
