// The edit distance of two texts, row by row: a minimum of three that each wait for the one before.
#include "bench.h"

enum { SIZE = 5000 };

static char one[SIZE], other[SIZE];
static u32 row[SIZE + 1];

static u32 distance(u32 from, u32 to) {
    for (u32 j = 0; j <= SIZE; j++)
        row[j] = j;
    for (u32 i = from; i < to; i++) {
        u32 diagonal = row[0], left = row[0] = i - from + 1;
        for (u32 j = 0; j < SIZE; j++) {
            u32 above = row[j + 1], best = diagonal + (one[i] != other[j]);
            diagonal = above;
            best = above + 1 < best ? above + 1 : best;
            best = left + 1 < best ? left + 1 : best;
            row[j + 1] = left = best;
        }
    }
    return row[SIZE];
}

static u64 work(u32 rows) { return mix(mix(0, distance(0, rows)), distance(SIZE - rows, SIZE)); }

int main(void) {
    random_text(one, SIZE);
    random_text(other, SIZE);
    return bench(work, SIZE * 4 / 5);
}
