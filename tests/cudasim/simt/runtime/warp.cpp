// What the lanes of a warp do together: barriers, shuffles, votes, and the instructions of the tensor cores.
#include <cstring>

#include "engine.h"

namespace cudasim {

namespace {

// What a lane reads from one that takes no part.
constexpr uint64_t kUndefined = 0x7fbadbad7fbadbad;

float bf16_to_float(unsigned bits) {
    bits <<= 16;
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

// d += a b; rows of eight so that the compiler takes vectors.
__attribute__((target_clones("arch=haswell", "default"), optimize("O3"))) void multiply(
    const float (&a)[16][16], const float (&b)[16][8], float (&d)[16][8]) {
    for (int m = 0; m < 16; m++) {
        for (int k = 0; k < 16; k++) {
            for (int n = 0; n < 8; n++) {
                d[m][n] += a[m][k] * b[k][n];
            }
        }
    }
}

}  // namespace

// The caller's group of lanes, itself counted; groups of one warp are told apart by their masks.
Group* Engine::join(Meeting meeting, unsigned mask, Place place) {
    Warp& warp = this->warp();
    unsigned bit = 1u << current_->id % kLanes;
    if (!(mask & bit)) {
        fail(kLaunchFailed, text(place), "the mask %#x does not name its own lane %u", mask, current_->id % kLanes);
    }
    if (mask & ~warp.present) {
        // A full mask in a warp that the block does not fill names nobody else.
        mask &= warp.present;
    }
    if (mask & warp.exited) {
        fail(kLaunchFailed, text(place), "the mask %#x names lanes %#x, which have left the kernel", mask, mask & warp.exited);
    }
    for (unsigned x = 0; x < warp.group_count; x++) {
        Group& group = warp.groups[x];
        if (group.mask != mask) {
            continue;
        }
        if (group.meeting != meeting || !same(group.place, place)) {
            fail(kLaunchFailed, text(place), "divergent lanes: others of mask %#x wait at %s", mask, text(group.place).c_str());
        }
        group.arrived |= bit;
        return &group;
    }
    Group& group = warp.groups[warp.group_count++];
    group = {mask, bit, meeting, place};
    return &group;
}

// The last of the lanes completes the exchange for all.
template <typename Complete>
void Engine::meet(Meeting meeting, unsigned mask, Place place, Complete complete) {
    Warp& warp = this->warp();
    Group* group = join(meeting, mask, place);
    mask = group->mask;
    if (group->arrived != mask) {
        wait(meeting, mask, place);
        return;
    }
    *group = warp.groups[--warp.group_count];
    complete(mask);
    for (unsigned x = 0; x < kLanes; x++) {
        Thread& other = lane(x);
        if (mask >> x & 1 && &other != current_) {
            wake(other);
        }
    }
}

void Engine::warp_barrier(unsigned mask, Place place) {
    current_->worked = true;
    meet(Meeting::kBarrier, mask, place, [this](unsigned lanes) {
        if (checked_) {
            clocks_[current_->id / kLanes].meet(lanes);
        }
    });
}

uint64_t Engine::shuffle(unsigned mask, uint64_t value, int source, Place place) {
    Thread& me = *current_;
    me.exchange.value = value;
    me.exchange.source = source < 0 ? static_cast<int>(me.id % kLanes) : source;
    meet(Meeting::kShuffle, mask, place, [this](unsigned lanes) {
        uint64_t values[kLanes];
        Thread* warp = &lane(0);
        for (unsigned x = 0; x < kLanes; x++) {
            values[x] = lanes >> x & 1 ? warp[x].exchange.value : kUndefined;
        }
        for (unsigned x = 0; x < kLanes; x++) {
            if (lanes >> x & 1) {
                warp[x].exchange.value = values[warp[x].exchange.source & 31];
            }
        }
    });
    return me.exchange.value;
}

unsigned Engine::ballot(unsigned mask, bool predicate, Place place) {
    Thread& me = *current_;
    me.exchange.b0 = predicate;
    meet(Meeting::kBallot, mask, place, [this](unsigned lanes) {
        unsigned votes = 0;
        for (unsigned x = 0; x < kLanes; x++) {
            votes |= (lanes >> x & 1 ? lane(x).exchange.b0 & 1u : 0u) << x;
        }
        for (unsigned x = 0; x < kLanes; x++) {
            if (lanes >> x & 1) {
                lane(x).exchange.b0 = votes;
            }
        }
    });
    return me.exchange.b0;
}

// Lane l supplies row l % 8 of tile l / 8; it gets elements 2 (l % 4) and the next of row l / 4 of each tile, or of its column.
FourWords Engine::ldmatrix(const void* row, int tiles, bool transposed, Place place) {
    Thread& me = *current_;
    if (me.id % kLanes < 8u * static_cast<unsigned>(tiles)) {
        if (reinterpret_cast<uint64_t>(row) % 16 != 0) {
            fail(kMisaligned, text(place), "ldmatrix of a row at %p, which is not a multiple of 16", row);
        }
        if (checked_) {
            Site site{nullptr, &place};
            long offset = shared_offset(row, 16, site);
            if (offset < 0) {
                fail(kLaunchFailed, text(place), "ldmatrix of a row at %p, which is not in shared memory", row);
            }
            judge_shared(static_cast<size_t>(offset), 16, Access::kRead, site);
        }
    }
    me.exchange.row = row;
    unsigned all = warp().present;
    if (all != ~0u) {
        fail(kLaunchFailed, text(place), "ldmatrix needs all 32 lanes, and the warp has only %#x", all);
    }
    meet(Meeting::kLdmatrix, all, place, [this, tiles, transposed](unsigned) {
        Thread* warp = &lane(0);
        for (int tile = 0; tile < tiles; tile++) {
            uint16_t at[8][8];
            for (int x = 0; x < 8; x++) {
                memcpy(at[x], warp[8 * tile + x].exchange.row, sizeof(at[x]));
            }
            for (unsigned x = 0; x < kLanes; x++) {
                unsigned group = x / 4, pair = x % 4 * 2;
                unsigned low = transposed ? at[pair][group] : at[group][pair];
                unsigned high = transposed ? at[pair + 1][group] : at[group][pair + 1];
                warp[x].exchange.a.at[tile] = low | high << 16;
            }
        }
    });
    return me.exchange.a;
}

// PTX ISA, fragments of mma.m16n8k16 with group g = lane / 4 and t = lane % 4: a holds rows g and g + 8 of columns 2t, 2t + 1, and
// again 8 columns further; b rows 2t, 2t + 1, and 8 further, of column g; d columns 2t, 2t + 1 of rows g and g + 8.
FourFloats Engine::mma_bf16(const Exchange& operands, Place place) {
    Thread& me = *current_;
    me.exchange = operands;
    unsigned all = warp().present;
    if (all != ~0u) {
        fail(kLaunchFailed, text(place), "mma needs all 32 lanes, and the warp has only %#x", all);
    }
    meet(Meeting::kMma, all, place, [this](unsigned) {
        Thread* warp = &lane(0);
        float a[16][16], b[16][8], d[16][8];
        for (unsigned x = 0; x < kLanes; x++) {
            const Exchange& from = warp[x].exchange;
            unsigned group = x / 4, pair = x % 4 * 2;
            for (unsigned half = 0; half < 2; half++) {
                for (unsigned register_pair = 0; register_pair < 2; register_pair++) {
                    unsigned packed = from.a.at[2 * half + register_pair];
                    unsigned m = group + 8 * register_pair, k = pair + 8 * half;
                    a[m][k] = bf16_to_float(packed & 0xffff);
                    a[m][k + 1] = bf16_to_float(packed >> 16);
                }
                unsigned packed = half == 0 ? from.b0 : from.b1;
                b[pair + 8 * half][group] = bf16_to_float(packed & 0xffff);
                b[pair + 8 * half + 1][group] = bf16_to_float(packed >> 16);
                d[group + 8 * half][pair] = from.d.at[2 * half];
                d[group + 8 * half][pair + 1] = from.d.at[2 * half + 1];
            }
        }
        multiply(a, b, d);
        for (unsigned x = 0; x < kLanes; x++) {
            unsigned group = x / 4, pair = x % 4 * 2;
            warp[x].exchange.d = {{d[group][pair], d[group][pair + 1], d[group + 8][pair], d[group + 8][pair + 1]}};
        }
    });
    return me.exchange.d;
}

}  // namespace cudasim
