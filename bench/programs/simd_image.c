// Sharpens, blends and reverses the pixels of an image, 16 bytes at a time: saturating arithmetic, averages, minima, shuffles.
#include "simd.h"

enum { ROWS = 512, BYTES = 2048 };

static u8 image[ROWS][BYTES + 16], result[ROWS][BYTES + 16];

static u32 pass(u8 level) {
    u32 saturated = 0;
    for (u32 y = 1; y + 1 < ROWS; y++)
        for (u32 x = 0; x < BYTES; x += 16) {
            vector here = from_memory(&image[y][x]), above = from_memory(&image[y - 1][x]);
            vector below = from_memory(&image[y + 1][x]), right = from_memory(&image[y][x + 4]);
            vector around = u8_average(u8_average(above, below), u8_average(here, right));
            vector lighter = u8_sub_limited(here, around), darker = u8_sub_limited(around, here);
            vector sharp = u8_sub_limited(u8_add_limited(here, lighter), darker);
            vector kept = u8_max(u8_min(sharp, u8_all(250)), u8_all(level));
            saturated += any(u8_equal(kept, u8_all(250)));
            to_memory(&result[y][x], u8_average(reverse_in_fours(kept), above));
        }
    return saturated;
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        sum = mix(sum, pass((u8)round));
        memcpy(image, result, sizeof image);
    }
    for (u32 y = 0; y < ROWS; y++)
        for (u32 x = 0; x < BYTES; x++)
            sum = mix(sum, image[y][x]);
    return sum;
}

int main(void) {
    for (u32 y = 0; y < ROWS; y++)
        for (u32 x = 0; x < BYTES; x++)
            image[y][x] = (u8)(128 + (x * y >> 10) % 64 + random_below(64));
    return bench(work, 600);
}
