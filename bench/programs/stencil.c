// Heat that spreads over a plate: single-precision sums of neighbours, streaming through memory.
#include "bench.h"

enum { ROWS = 768, COLUMNS = 768 };

static float plates[2][ROWS][COLUMNS];

static u64 work(u32 steps) {
    for (u32 step = 0; step < steps; step++) {
        float(*restrict from)[COLUMNS] = plates[step % 2], (*restrict to)[COLUMNS] = plates[(step + 1) % 2];
        for (u32 i = 1; i < ROWS - 1; i++)
            for (u32 j = 1; j < COLUMNS - 1; j++) {
                float around = from[i - 1][j] + from[i + 1][j] + from[i][j - 1] + from[i][j + 1];
                to[i][j] = from[i][j] * 0.6f + around * 0.1f;
            }
    }
    u64 sum = 0;
    for (u32 i = 0; i < ROWS; i++)
        for (u32 j = 0; j < COLUMNS; j++)
            sum = mix(sum, bits(plates[steps % 2][i][j]));
    return sum;
}

int main(void) {
    for (u32 i = 0; i < ROWS; i++)
        for (u32 j = 0; j < COLUMNS; j++)
            plates[0][i][j] = plates[1][i][j] = (float)random_unit() * 100;
    return bench(work, 500);
}
