// SHA-256: 32-bit additions and rotations, long dependent chains, many live values.
#include "bench.h"

enum { SIZE = 256 << 10 };

static u8 data[SIZE];
static u32 constants[64];

static inline u32 rotated(u32 x, u32 by) { return x >> by | x << (32 - by); }

// The first bits of the fraction of the `n`th root of `x`, by bisection.
static u32 root_fraction(u32 x, u32 n) {
    u64 low = 0, high = (u64)x << 32;
    while (high - low > 1) {
        u64 middle = low + (high - low) / 2;
        unsigned __int128 square = (unsigned __int128)middle * middle;
        int above = n == 2 ? square > (unsigned __int128)x << 64 : square * middle > (unsigned __int128)x << 96;
        *(above ? &high : &low) = middle;
    }
    return (u32)low;
}

static void first_primes(u32 *primes, u32 count) {
    for (u32 n = 2, found = 0; found < count; n++) {
        u32 divisor = 2;
        while (n % divisor)
            divisor++;
        if (divisor == n)
            primes[found++] = n;
    }
}

static void digest_block(u32 state[8], const u8 *block) {
    u32 w[64];
    for (u32 i = 0; i < 16; i++)
        w[i] = (u32)block[4 * i] << 24 | (u32)block[4 * i + 1] << 16 | (u32)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (u32 i = 16; i < 64; i++) {
        u32 s0 = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3;
        u32 s1 = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    u32 a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (u32 i = 0; i < 64; i++) {
        u32 s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
        u32 t1 = h + s1 + ((e & f) ^ (~e & g)) + constants[i] + w[i];
        u32 s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
        u32 t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    u32 after[8] = {a, b, c, d, e, f, g, h};
    for (u32 i = 0; i < 8; i++)
        state[i] += after[i];
}

static u32 initial[8];

static u64 work(u32 rounds) {
    u32 state[8];
    memcpy(state, initial, sizeof state);
    for (u32 round = 0; round < rounds; round++)
        for (u32 at = 0; at < SIZE; at += 64)
            digest_block(state, data + at);
    u64 sum = 0;
    for (u32 i = 0; i < 8; i++)
        sum = mix(sum, state[i]);
    return sum;
}

int main(void) {
    u32 primes[64];
    first_primes(primes, 64);
    for (u32 i = 0; i < 64; i++)
        constants[i] = root_fraction(primes[i], 3);
    for (u32 i = 0; i < 8; i++)
        initial[i] = root_fraction(primes[i], 2);
    for (u32 i = 0; i < SIZE; i++)
        data[i] = (u8)random64();
    return bench(work, 96);
}
