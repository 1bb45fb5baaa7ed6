// The Game of Life on a torus, 64 cells at a time: neighbours are counted by adders made of logical operations.
#include "bench.h"

enum { ROWS = 512, WORDS = 8 };

static u64 boards[2][ROWS][WORDS];

// Adds up one bit of each, for 64 at once.
static inline void add3(u64 a, u64 b, u64 c, u64 *sum, u64 *carry) {
    *sum = a ^ b ^ c;
    *carry = (a & b) | (c & (a ^ b));
}

static inline u64 from_left(const u64 *row, u32 i) { return row[i] << 1 | row[(i + WORDS - 1) % WORDS] >> 63; }
static inline u64 from_right(const u64 *row, u32 i) { return row[i] >> 1 | row[(i + 1) % WORDS] << 63; }

static void step(u64 (*from)[WORDS], u64 (*to)[WORDS]) {
    for (u32 y = 0; y < ROWS; y++) {
        const u64 *above = from[(y + ROWS - 1) % ROWS], *here = from[y], *below = from[(y + 1) % ROWS];
        for (u32 i = 0; i < WORDS; i++) {
            u64 a, a2, b, b2, c, c2, ones, twos, fours, carry;
            add3(from_left(above, i), above[i], from_right(above, i), &a, &a2);
            add3(from_left(below, i), below[i], from_right(below, i), &b, &b2);
            c = from_left(here, i) ^ from_right(here, i);
            c2 = from_left(here, i) & from_right(here, i);
            add3(a, b, c, &ones, &carry);
            add3(a2, b2, c2, &twos, &fours);
            fours |= twos & carry;
            twos ^= carry;
            to[y][i] = twos & ~fours & (ones | here[i]);
        }
    }
}

static u64 work(u32 generations) {
    for (u32 i = 0; i < generations; i++)
        step(boards[i % 2], boards[(i + 1) % 2]);
    u64 sum = 0;
    for (u32 y = 0; y < ROWS; y++)
        for (u32 i = 0; i < WORDS; i++)
            sum = mix(sum, boards[generations % 2][y][i]);
    return sum;
}

int main(void) {
    for (u32 y = 0; y < ROWS; y++)
        for (u32 i = 0; i < WORDS; i++)
            boards[0][y][i] = random64() & random64();
    return bench(work, 6000);
}
