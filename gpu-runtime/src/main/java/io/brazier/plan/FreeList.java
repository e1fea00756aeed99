package io.brazier.plan;

import java.util.Map;
import java.util.TreeMap;

/** Free blocks of the memory of one program's temporaries, taken first fit and joined again when they are given back. */
final class FreeList {
    private final TreeMap<Long, Long> blocks = new TreeMap<>();
    private final Region region;
    private long end;

    FreeList(Region region) {
        this.region = region;
    }

    Region region() {
        return region;
    }

    Slice take(long bytes) {
        long size = Slice.align(bytes);
        for (Map.Entry<Long, Long> block : blocks.entrySet()) {
            if (block.getValue() >= size) {
                long offset = block.getKey();
                long rest = block.getValue() - size;
                blocks.remove(offset);
                if (rest > 0) {
                    blocks.put(offset + size, rest);
                }
                return new Slice(region, offset, bytes);
            }
        }
        Map.Entry<Long, Long> last = blocks.lastEntry();
        boolean touchesEnd = last != null && last.getKey() + last.getValue() == end;
        long offset = touchesEnd ? last.getKey() : end;
        if (touchesEnd) {
            blocks.remove(offset);
        }
        end = offset + size;
        return new Slice(region, offset, bytes);
    }

    void give(Slice slice) {
        long offset = slice.offset();
        long size = Slice.align(slice.bytes());
        Map.Entry<Long, Long> before = blocks.lowerEntry(offset);
        if (before != null && before.getKey() + before.getValue() == offset) {
            offset = before.getKey();
            size += before.getValue();
            blocks.remove(offset);
        }
        Long after = blocks.remove(offset + size);
        blocks.put(offset, after == null ? size : size + after);
    }

    /** Bytes that were in use at once, gaps included. */
    long peak() {
        return end;
    }
}
