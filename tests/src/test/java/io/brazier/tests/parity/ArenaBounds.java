package io.brazier.tests.parity;

import io.brazier.cpu.CpuBackend;
import io.brazier.exec.Backend;
import io.brazier.plan.RankPlan;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import java.nio.ByteBuffer;
import java.util.List;

/** A device without memory: counts what is asked for, and refuses kernels that would work outside of it. */
final class ArenaBounds implements Backend {
    private static final long BASE = 1L << 40;

    private final CpuBackend workspaces = new CpuBackend(1);
    private long allocatedBytes;
    private long highestByte;

    /** Bytes of all allocations. */
    long allocatedBytes() {
        return allocatedBytes;
    }

    /** Bytes up to the last one that something works on. */
    long usedBytes() {
        return highestByte - BASE;
    }

    @Override
    public long allocate(long bytes) {
        allocatedBytes += bytes;
        return BASE;
    }

    @Override
    public long workspaceBytes(Instruction instruction) {
        return workspaces.workspaceBytes(instruction);
    }

    @Override
    public Runnable lower(Instruction i, Addresses a) {
        check(i.inputs(), a.inputs());
        check(i.outputs(), a.outputs());
        long workspace = workspaces.workspaceBytes(i);
        if (workspace > 0) {
            check(i.toString(), a.workspace(), workspace);
        }
        return () -> {};
    }

    private void check(List<Value> values, long[] addresses) {
        for (int x = 0; x < addresses.length; x++) {
            check(values.get(x).toString(), addresses[x], values.get(x).type().bytes());
        }
    }

    private void check(String what, long address, long bytes) {
        if (address < BASE || address + bytes > BASE + allocatedBytes) {
            throw new AssertionError(what + " lies at " + (address - BASE) + " of an arena of " + allocatedBytes);
        }
        highestByte = Math.max(highestByte, address + bytes);
    }

    @Override
    public Runnable start(RankPlan.Transfer transfer, long address) {
        check(transfer.toString(), address, transfer.slice().bytes());
        return () -> {};
    }

    @Override
    public void copy(long target, long source, long bytes) {
        check("copy to", target, bytes);
        check("copy from", source, bytes);
    }

    @Override
    public void free(long address, long bytes) {
        allocatedBytes -= bytes;
    }

    @Override
    public void upload(ByteBuffer source, long address) {
        check("upload", address, source.remaining());
    }

    @Override
    public void download(long address, ByteBuffer target) {
        check("download", address, target.remaining());
    }

    @Override
    public void fill(long address, long numFloats, float value) {
        check("fill", address, numFloats * Float.BYTES);
    }

    @Override
    public void bindThread() {}

    @Override
    public void close() {
        workspaces.close();
    }
}
