package io.brazier.train;

/** Where a run starts. */
public sealed interface Resume {

    /** From the newest checkpoint of the run's directory that is whole, else from step 0. */
    record Auto() implements Resume {}

    /** From step 0, whatever the directory holds. */
    record Never() implements Resume {}

    /** From a given checkpoint; it is an error if that is damaged or does not fit. */
    record From(String path) implements Resume {}

    /** Reads {@code auto}, {@code never} or a path. */
    static Resume parse(String text) {
        return switch (text) {
            case "auto" -> new Auto();
            case "never" -> new Never();
            default -> new From(text);
        };
    }
}
