// Builds a prefix code for text, writes the text with it bit by bit, and reads it again by walking the tree: shifts, and branches
// that nobody can predict.
#include "bench.h"

enum { SIZE = 256 << 10, NODES = 512 };

static char text[SIZE];
static u8 coded[2 * SIZE];

static struct node {
    u32 weight;
    u16 children[2]; // 0: none
    u8 symbol;
} nodes[NODES];

static struct code {
    u64 bits;
    u32 length;
} codes[256];

// The node of least weight among those that have no parent yet, which it is taken from.
static u16 take_lightest(u16 *roots, u32 *count) {
    u32 lightest = 0;
    for (u32 i = 1; i < *count; i++)
        if (nodes[roots[i]].weight < nodes[roots[lightest]].weight)
            lightest = i;
    u16 node = roots[lightest];
    roots[lightest] = roots[--*count];
    return node;
}

static void assign(u16 node, u64 prefix, u32 length) {
    if (!nodes[node].children[0]) {
        codes[nodes[node].symbol] = (struct code){prefix, length};
        return;
    }
    assign(nodes[node].children[0], prefix << 1, length + 1);
    assign(nodes[node].children[1], prefix << 1 | 1, length + 1);
}

static u16 build(void) {
    u32 frequency[256] = {0}, count = 0;
    u16 roots[256], next = 1;
    for (u32 i = 0; i < SIZE; i++)
        frequency[(u8)text[i]]++;
    for (u32 i = 0; i < 256; i++)
        if (frequency[i]) {
            nodes[next] = (struct node){frequency[i], {0, 0}, (u8)i};
            roots[count++] = next++;
        }
    while (count > 1) {
        u16 a = take_lightest(roots, &count), b = take_lightest(roots, &count);
        nodes[next] = (struct node){nodes[a].weight + nodes[b].weight, {a, b}, 0};
        roots[count++] = next++;
    }
    assign(roots[0], 0, 0);
    return roots[0];
}

static u32 encode(void) {
    u64 waiting = 0;
    u32 count = 0, at = 0;
    for (u32 i = 0; i < SIZE; i++) {
        struct code code = codes[(u8)text[i]];
        waiting = waiting << code.length | code.bits;
        for (count += code.length; count >= 8; count -= 8)
            coded[at++] = (u8)(waiting >> (count - 8));
    }
    coded[at++] = (u8)(waiting << (8 - count));
    return at;
}

static u64 decode(u16 root) {
    u64 sum = 0;
    u32 at = 0, bit = 8;
    for (u32 i = 0; i < SIZE; i++) {
        u16 node = root;
        while (nodes[node].children[0]) {
            bit--;
            node = nodes[node].children[coded[at] >> bit & 1];
            if (bit == 0) {
                bit = 8;
                at++;
            }
        }
        sum = sum * 31 + nodes[node].symbol;
    }
    return sum;
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        u16 root = build();
        sum = mix(sum, encode());
        sum = mix(sum, decode(root));
        text[round] = (char)('a' + round % 26);
    }
    return sum;
}

int main(void) {
    random_text(text, SIZE);
    return bench(work, 20);
}
