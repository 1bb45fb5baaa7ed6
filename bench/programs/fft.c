// Fast Fourier transforms of complex doubles, there and back: butterflies over strides from one to half of the data.
#include "bench.h"

enum { LOG = 14, SIZE = 1 << LOG };

struct complex {
    double re, im;
};

static struct complex data[SIZE], roots[SIZE / 2];

// The roots of unity, each from the half of its index and the root before it, so that no library's sine is needed.
static void find_roots(void) {
    struct complex step[LOG] = {[LOG - 1] = {-1, 0}};
    for (i32 level = LOG - 2; level >= 0; level--) {
        struct complex whole = step[level + 1];
        double re = __builtin_sqrt((1 + whole.re) / 2);
        step[level] = (struct complex){re, level == LOG - 2 ? 1 : whole.im / (2 * re)};
    }
    for (u32 i = 0; i < SIZE / 2; i++) {
        struct complex root = {1, 0};
        for (u32 level = 0; level < LOG; level++)
            if (i >> level & 1) {
                struct complex by = step[level];
                root = (struct complex){root.re * by.re - root.im * by.im, root.re * by.im + root.im * by.re};
            }
        roots[i] = root;
    }
}

static void transform(double direction) {
    for (u32 i = 1, j = 0; i < SIZE; i++) {
        u32 bit = SIZE / 2;
        for (; j & bit; bit /= 2)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            struct complex swapped = data[i];
            data[i] = data[j];
            data[j] = swapped;
        }
    }
    for (u32 half = 1; half < SIZE; half *= 2)
        for (u32 start = 0; start < SIZE; start += 2 * half)
            for (u32 k = 0; k < half; k++) {
                struct complex root = roots[k * (SIZE / 2 / half)];
                struct complex *low = &data[start + k], *high = low + half;
                root.im *= direction;
                double re = high->re * root.re - high->im * root.im;
                double im = high->re * root.im + high->im * root.re;
                *high = (struct complex){low->re - re, low->im - im};
                low->re += re;
                low->im += im;
            }
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        transform(1);
        sum = mix(sum, bits(data[round % SIZE].re));
        transform(-1);
        for (u32 i = 0; i < SIZE; i++) {
            data[i].re /= SIZE;
            data[i].im /= SIZE;
        }
    }
    for (u32 i = 0; i < SIZE; i++)
        sum = mix(sum, bits(data[i].re) ^ bits(data[i].im));
    return sum;
}

int main(void) {
    find_roots();
    for (u32 i = 0; i < SIZE; i++)
        data[i] = (struct complex){random_unit(), random_unit()};
    return bench(work, 150);
}
