package io.brazier.spark.barrier;

/**
 * Barrier tasks that must run at once.
 *
 * @param number of them
 * @param setting that asks for them, with its value
 * @param name of what is to be lowered where there are fewer
 */
record Slots(int number, String setting, String name) {

    static Slots ofWorkers(int numWorkers) {
        return new Slots(numWorkers, "numWorkers " + numWorkers, "numWorkers");
    }

    String remedy(int available) {
        return "set " + name + " to at most " + Math.max(available, 1);
    }
}
