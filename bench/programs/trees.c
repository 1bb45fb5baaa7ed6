// Builds binary trees, walks them and gives their nodes back, with an allocator of its own: pointers, recursion, a free list.
#include "bench.h"

enum { NODES = 1 << 17 };

struct node {
    struct node *left, *right;
};

static struct node arena[NODES];
static struct node *spare;
static u32 fresh;

static struct node *allocate(void) {
    struct node *node = spare;
    if (node)
        spare = node->left;
    else
        node = &arena[fresh++];
    return node;
}

__attribute__((noinline)) static struct node *build(u32 depth) {
    struct node *node = allocate();
    node->left = depth ? build(depth - 1) : NULL;
    node->right = depth ? build(depth - 1) : NULL;
    return node;
}

__attribute__((noinline)) static u32 check(const struct node *node) {
    return node->left ? 1 + check(node->left) * 3 + check(node->right) : 1;
}

__attribute__((noinline)) static void release(struct node *node) {
    if (!node)
        return;
    release(node->left);
    release(node->right);
    node->left = spare;
    spare = node;
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    struct node *kept = build(14);
    for (u32 round = 0; round < rounds; round++)
        for (u32 depth = 4; depth <= 14; depth += 2)
            for (u32 i = 0; i < 1u << (14 - depth); i++) {
                struct node *tree = build(depth);
                sum = mix(sum, check(tree));
                release(tree);
            }
    return mix(sum, check(kept));
}

int main(void) { return bench(work, 100); }
