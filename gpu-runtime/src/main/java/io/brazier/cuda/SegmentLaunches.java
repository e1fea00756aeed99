package io.brazier.cuda;

import io.brazier.plan.Segment;
import io.brazier.program.Instruction;

/** The launches of a segment's instructions, one after the other; errors name the instruction. */
final class SegmentLaunches implements Runnable {
    private final Segment segment;
    private final Runnable[] launches;
    private final CudaBackend backend;

    SegmentLaunches(Segment segment, Runnable[] launches, CudaBackend backend) {
        this.segment = segment;
        this.launches = launches;
        this.backend = backend;
    }

    @Override
    public void run() {
        Ranges ranges = Ranges.ON ? new Ranges() : null;
        try {
            for (int x = 0; x < launches.length; x++) {
                Instruction i = segment.program().instructions().get(x);
                if (ranges != null) {
                    ranges.enter(i.path());
                }
                run(launches[x], i);
            }
        } finally {
            if (ranges != null) {
                ranges.leave();
            }
        }
    }

    private void run(Runnable launch, Instruction i) {
        try {
            launch.run();
        } catch (CudaException e) {
            throw e.at(i.op().mnemonic() + " of " + i.path() + " in "
                    + segment.program().name() + " on " + backend.place());
        }
    }
}
