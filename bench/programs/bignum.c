// Powers modulo a number of 2048 bits, by Montgomery's multiplication: 64 by 64 bit products of 128 bits, long carries.
#include "bench.h"

enum { LIMBS = 32 };

typedef unsigned __int128 u128;

static u64 modulus[LIMBS], base[LIMBS], inverse;

static void multiply(u64 *to, const u64 *a, const u64 *b) {
    u64 t[LIMBS + 2] = {0};
    for (u32 i = 0; i < LIMBS; i++) {
        u64 carry = 0;
        for (u32 j = 0; j < LIMBS; j++) {
            u128 sum = (u128)a[j] * b[i] + t[j] + carry;
            t[j] = (u64)sum;
            carry = (u64)(sum >> 64);
        }
        u128 top = (u128)t[LIMBS] + carry;
        t[LIMBS] = (u64)top;
        t[LIMBS + 1] = (u64)(top >> 64);

        u64 factor = t[0] * inverse;
        carry = (u64)(((u128)factor * modulus[0] + t[0]) >> 64);
        for (u32 j = 1; j < LIMBS; j++) {
            u128 sum = (u128)factor * modulus[j] + t[j] + carry;
            t[j - 1] = (u64)sum;
            carry = (u64)(sum >> 64);
        }
        top = (u128)t[LIMBS] + carry;
        t[LIMBS - 1] = (u64)top;
        t[LIMBS] = t[LIMBS + 1] + (u64)(top >> 64);
    }
    u64 reduced[LIMBS], borrow = 0;
    for (u32 j = 0; j < LIMBS; j++) {
        u128 difference = (u128)t[j] - modulus[j] - borrow;
        reduced[j] = (u64)difference;
        borrow = (u64)(difference >> 64) & 1;
    }
    memcpy(to, t[LIMBS] >= borrow ? reduced : t, sizeof reduced);
}

static u64 work(u32 squarings) {
    u64 power[LIMBS];
    memcpy(power, base, sizeof power);
    for (u32 i = 0; i < squarings; i++) {
        multiply(power, power, power);
        if (i * 2654435761u >> 31)
            multiply(power, power, base);
    }
    u64 sum = 0;
    for (u32 i = 0; i < LIMBS; i++)
        sum = mix(sum, power[i]);
    return sum;
}

int main(void) {
    for (u32 i = 0; i < LIMBS; i++) {
        modulus[i] = random64();
        base[i] = random64();
    }
    modulus[0] |= 1;
    modulus[LIMBS - 1] |= (u64)1 << 63;
    base[LIMBS - 1] >>= 1;
    inverse = 1;
    for (u32 i = 0; i < 6; i++)
        inverse *= 2 - modulus[0] * inverse;
    inverse = -inverse;
    return bench(work, 40000);
}
