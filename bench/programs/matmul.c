// Multiplies matrices of doubles in blocks that fit into the first cache.
#include "bench.h"

enum { SIZE = 384, BLOCK = 48 };

static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

static void multiply_block(u32 row, u32 column, u32 depth) {
    for (u32 i = row; i < row + BLOCK; i++)
        for (u32 k = depth; k < depth + BLOCK; k++) {
            double factor = a[i][k];
            for (u32 j = column; j < column + BLOCK; j++)
                c[i][j] += factor * b[k][j];
        }
}

static u64 work(u32 rounds) {
    for (u32 round = 0; round < rounds; round++)
        for (u32 i = 0; i < SIZE; i += BLOCK)
            for (u32 j = 0; j < SIZE; j += BLOCK)
                for (u32 k = 0; k < SIZE; k += BLOCK)
                    multiply_block(i, j, k);
    u64 sum = 0;
    for (u32 i = 0; i < SIZE; i++)
        for (u32 j = 0; j < SIZE; j++)
            sum = mix(sum, bits(c[i][j]));
    return sum;
}

int main(void) {
    for (u32 i = 0; i < SIZE; i++)
        for (u32 j = 0; j < SIZE; j++) {
            a[i][j] = random_unit() - 0.5;
            b[i][j] = random_unit() - 0.5;
        }
    return bench(work, 5);
}
