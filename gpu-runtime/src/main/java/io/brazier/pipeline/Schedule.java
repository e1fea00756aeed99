package io.brazier.pipeline;

import io.brazier.pipeline.Action.Phase;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Pipeline schedules by name. Each is a list of actions per stage; transfers, slots and time are derived from the lists. Every
 * one runs the backward phases of a chunk in the order of the micro-batches, so that gradients are summed in the order of one
 * rank, bit by bit. With one stage all are gradient accumulation, F0 B0 F1 B1 .. U, which stashes one micro-batch at a time.
 */
public enum Schedule {
    /** All forwards, then all backwards (arXiv:1811.06965). Stashes all m micro-batches. */
    GPIPE {
        @Override
        void write(Writer out, int stage, int numStages, int numMicroBatches, int chunksPerStage) {
            for (int x = 0; x < numMicroBatches; x++) {
                out.add(Phase.FORWARD, 0, x);
            }
            for (int x = 0; x < numMicroBatches; x++) {
                out.add(Phase.BACKWARD, 0, x);
            }
        }
    },

    /** One forward, one backward, with the update at the end (arXiv:1806.03377; arXiv:2104.04473, sec. 2.1). Stashes p - s. */
    ONE_F_ONE_B {
        @Override
        void write(Writer out, int stage, int numStages, int numMicroBatches, int chunksPerStage) {
            int warmUp = Math.min(numStages - 1 - stage, numMicroBatches);
            for (int x = 0; x < numMicroBatches + warmUp; x++) {
                if (x < numMicroBatches) {
                    out.add(Phase.FORWARD, 0, x);
                }
                if (x >= warmUp) {
                    out.add(Phase.BACKWARD, 0, x - warmUp);
                }
            }
        }
    },

    /**
     * 1F1B over v model chunks per stage: the bubble is v times smaller (arXiv:2104.04473, sec. 2.2). Micro-batches go through the
     * chunks in groups of p, so their number must be a multiple of p.
     */
    INTERLEAVED {
        @Override
        void write(Writer out, int stage, int numStages, int numMicroBatches, int chunksPerStage) {
            int total = numMicroBatches * chunksPerStage;
            int warmUp = Math.min(2 * (numStages - 1 - stage) + (chunksPerStage - 1) * numStages, total);
            int round = numStages * chunksPerStage;
            for (int x = 0; x < total + warmUp; x++) {
                if (x < total) {
                    int chunk = x % round / numStages;
                    out.add(Phase.FORWARD, chunk, x / round * numStages + x % numStages);
                }
                int back = x - warmUp;
                if (back >= 0) {
                    int chunk = chunksPerStage - 1 - back % round / numStages;
                    out.add(Phase.BACKWARD, chunk, back / round * numStages + back % numStages);
                }
            }
        }
    },

    /**
     * 1F1B with backward split in two: stage s puts the weight gradients off by s micro-batches, and they fill the tail
     * (arXiv:2401.10241, sec. 2.1). Every stage stashes p, as the first of 1F1B does.
     */
    ZB_H1 {
        @Override
        void write(Writer out, int stage, int numStages, int numMicroBatches, int chunksPerStage) {
            int warmUp = Math.min(numStages - 1 - stage, numMicroBatches);
            for (int x = 0; x < numMicroBatches + warmUp + stage; x++) {
                if (x < numMicroBatches) {
                    out.add(Phase.FORWARD, 0, x);
                }
                int input = x - warmUp;
                if (input >= 0 && input < numMicroBatches) {
                    out.add(Phase.BACKWARD_INPUT, 0, input);
                }
                int weight = input - stage;
                if (weight >= 0) {
                    out.add(Phase.BACKWARD_WEIGHT, 0, weight);
                }
            }
        }
    };

    abstract void write(Writer out, int stage, int numStages, int numMicroBatches, int chunksPerStage);

    /**
     * What a stage does, in order; its last action is the update.
     *
     * @throws IllegalArgumentException with the {@link #violation}, if there is one
     */
    public List<Action> actions(int stage, int numStages, int numMicroBatches, int chunksPerStage) {
        violation(numStages, numMicroBatches, chunksPerStage).ifPresent(message -> {
            throw new IllegalArgumentException(message);
        });
        if (stage < 0 || stage >= numStages) {
            throw new IllegalArgumentException("stage " + stage + " of " + numStages + ": count from 0");
        }
        Writer out = new Writer();
        if (numStages == 1) {
            for (int x = 0; x < numMicroBatches; x++) {
                out.add(Phase.FORWARD, 0, x);
                out.add(Phase.BACKWARD, 0, x);
            }
        } else {
            write(out, stage, numStages, numMicroBatches, chunksPerStage);
        }
        out.add(Phase.UPDATE, 0, numMicroBatches - 1);
        return List.copyOf(out.actions);
    }

    /** The lists of all stages. */
    public List<List<Action>> allActions(int numStages, int numMicroBatches, int chunksPerStage) {
        return IntStream.range(0, numStages)
                .mapToObj(stage -> actions(stage, numStages, numMicroBatches, chunksPerStage))
                .toList();
    }

    /** Why there is no such schedule and what to change, or empty. */
    public Optional<String> violation(int numStages, int numMicroBatches, int chunksPerStage) {
        if (numStages < 1 || numMicroBatches < 1 || chunksPerStage < 1) {
            return Optional.of(this + ": " + numStages + " stages, " + numMicroBatches + " micro-batches and "
                    + chunksPerStage + " chunks per stage must all be at least 1");
        }
        if (chunksPerStage > 1 && this != INTERLEAVED) {
            return Optional.of(this + " has 1 chunk per stage, not " + chunksPerStage + ": choose " + INTERLEAVED);
        }
        if (chunksPerStage > 1 && numStages == 1) {
            return Optional.of(
                    this + ": " + chunksPerStage + " chunks on a single stage gain nothing: set chunks to 1");
        }
        if (this == INTERLEAVED && numMicroBatches % numStages != 0) {
            return Optional.of(this + ": " + numMicroBatches + " micro-batches are no multiple of the " + numStages
                    + " stages: use " + (numMicroBatches / numStages + 1) * numStages);
        }
        return Optional.empty();
    }

    /**
     * The schedule that {@link #toString} names.
     *
     * @throws IllegalArgumentException naming all when there is none
     */
    public static Schedule parse(String name) {
        for (Schedule schedule : values()) {
            if (schedule.toString().equals(name)) {
                return schedule;
            }
        }
        throw new IllegalArgumentException("schedule " + name + " is none of " + List.of(values()));
    }

    /** gpipe, 1f1b, interleaved or zb-h1. */
    @Override
    public String toString() {
        return this == ONE_F_ONE_B ? "1f1b" : name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    private static final class Writer {
        private final List<Action> actions = new ArrayList<>();

        void add(Phase phase, int chunk, int microBatch) {
            actions.add(new Action(phase, chunk, microBatch));
        }
    }
}
