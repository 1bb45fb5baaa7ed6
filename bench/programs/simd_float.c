// The Mandelbrot set four points at a time, in vectors of single-precision numbers with masks.
#include "simd.h"

enum { SIZE = 512, LIMIT = 500 };

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++)
        for (u32 row = 0; row < SIZE; row++)
            for (u32 column = 0; column < SIZE; column += 4) {
                float x = -2.0f + 2.5f * (float)column / SIZE, right = 2.5f / SIZE;
                vector cr = f32_lanes(x, x + right, x + 2 * right, x + 3 * right);
                vector ci = f32_all(-1.25f + 2.5f * (float)row / SIZE + (float)round * 0x1p-12f);
                vector zr = f32_all(0), zi = zr, rr = zr, ii = zr, steps = i32_all(0), inside = i32_all(-1);
                for (u32 i = 0; i < LIMIT && any(inside); i++) {
                    vector product = f32_mul(zr, zi);
                    zi = f32_add(f32_add(product, product), ci);
                    zr = f32_add(f32_sub(rr, ii), cr);
                    rr = f32_mul(zr, zr);
                    ii = f32_mul(zi, zi);
                    inside = both(inside, f32_at_most(f32_add(rr, ii), f32_all(4)));
                    steps = i32_sub(steps, inside);
                }
                for (u32 lane = 0; lane < 4; lane++)
                    sum = mix(sum, i32_lane(steps, lane));
            }
    return sum;
}

int main(void) { return bench(work, 3); }
