// Counts the ways to place queens so that none attacks another: deep recursion over bit sets.
#include "bench.h"

static u64 place(u32 all, u32 columns, u32 left, u32 right) {
    if (columns == all)
        return 1;
    u64 found = 0;
    for (u32 open = all & ~(columns | left | right); open;) {
        u32 queen = open & -open;
        open ^= queen;
        found += place(all, columns | queen, (left | queen) << 1, (right | queen) >> 1);
    }
    return found;
}

static u64 work(u32 size) { return place((1u << size) - 1, 0, 0, 0); }

int main(void) { return bench(work, 14); }
