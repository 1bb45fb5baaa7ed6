// How long points of the plane take to leave the Mandelbrot set: a short dependent chain of double-precision operations.
#include "bench.h"

enum { SIZE = 300, LIMIT = 1000 };

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++)
        for (u32 row = 0; row < SIZE; row++)
            for (u32 column = 0; column < SIZE; column++) {
                double cr = -2.0 + 2.5 * column / SIZE, ci = -1.25 + 2.5 * row / SIZE + round * 0x1p-12;
                double zr = 0, zi = 0, rr = 0, ii = 0;
                u32 steps = 0;
                for (; steps < LIMIT && rr + ii <= 4.0; steps++) {
                    zi = 2 * zr * zi + ci;
                    zr = rr - ii + cr;
                    rr = zr * zr;
                    ii = zi * zi;
                }
                sum = mix(sum, steps);
            }
    return sum;
}

int main(void) { return bench(work, 2); }
