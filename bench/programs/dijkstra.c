// Shortest ways through a random graph, with a binary heap: scattered loads, and compares that decide where to go on.
#include "bench.h"

enum { NODES = 40000, EDGES = NODES * 6, NEVER = 0x7fffffff };

static struct edge {
    u32 to, length;
} edges[EDGES];

static u32 first[NODES + 1], distance[NODES];

static struct entry {
    u32 distance, node;
} heap[EDGES + 1];

static u32 waiting;

static void push(u32 far, u32 node) {
    u32 at = waiting++;
    for (; at > 0; at = (at - 1) / 2) {
        u32 parent = (at - 1) / 2;
        if (heap[parent].distance <= far)
            break;
        heap[at] = heap[parent];
    }
    heap[at] = (struct entry){far, node};
}

static struct entry pop(void) {
    struct entry top = heap[0], last = heap[--waiting];
    u32 at = 0;
    for (u32 child; (child = 2 * at + 1) < waiting; at = child) {
        if (child + 1 < waiting && heap[child + 1].distance < heap[child].distance)
            child++;
        if (heap[child].distance >= last.distance)
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return top;
}

static u64 search(u32 start) {
    for (u32 i = 0; i < NODES; i++)
        distance[i] = NEVER;
    distance[start] = 0;
    push(0, start);
    while (waiting) {
        struct entry here = pop();
        if (here.distance != distance[here.node])
            continue;
        for (u32 e = first[here.node]; e < first[here.node + 1]; e++) {
            u32 far = here.distance + edges[e].length;
            if (far < distance[edges[e].to]) {
                distance[edges[e].to] = far;
                push(far, edges[e].to);
            }
        }
    }
    u64 sum = 0;
    for (u32 i = 0; i < NODES; i++)
        sum = mix(sum, distance[i]);
    return sum;
}

static u64 work(u32 searches) {
    u64 sum = 0;
    for (u32 i = 0; i < searches; i++)
        sum = mix(sum, search(i * 7919 % NODES));
    return sum;
}

int main(void) {
    for (u32 i = 0; i < EDGES; i++)
        edges[i] = (struct edge){random_below(NODES), 1 + random_below(1000)};
    for (u32 i = 0; i <= NODES; i++)
        first[i] = i * 6;
    return bench(work, 10);
}
