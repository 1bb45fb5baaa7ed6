// Follows pointers from one cache line to a random other one: nothing but the latency of memory.
#include "bench.h"

enum { NODES = 1 << 16 };

struct node {
    struct node *next;
    u32 value;
} __attribute__((aligned(64)));

static struct node nodes[NODES];
static u32 order[NODES];

// Links all nodes into one cycle.
static void link_nodes(void) {
    for (u32 i = 0; i < NODES; i++)
        order[i] = i;
    for (u32 i = NODES - 1; i > 0; i--) {
        u32 j = random_below(i), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    for (u32 i = 0; i < NODES; i++) {
        nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
        nodes[order[i]].value = (u32)random64();
    }
}

static u64 work(u32 steps) {
    const struct node *at = nodes;
    u64 sum = 0;
    for (u32 i = 0; i < steps; i++) {
        sum += at->value ^ i;
        at = at->next;
    }
    return sum;
}

int main(void) {
    link_nodes();
    return bench(work, 4000000);
}
