// The primes below a bound, by the sieve of Eratosthenes: strided stores over more memory than the inner caches hold.
#include "bench.h"

enum { BOUND = 4 << 20 };

static u8 composite[BOUND];

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        memset(composite, 0, sizeof composite);
        for (u32 i = 2; i * i < BOUND; i++)
            if (!composite[i])
                for (u32 j = i * i; j < BOUND; j += i)
                    composite[j] = 1;
        u64 primes = 0;
        for (u32 i = 2 + round; i < BOUND; i++)
            if (!composite[i])
                primes += i;
        sum = mix(sum, primes);
    }
    return sum;
}

int main(void) { return bench(work, 12); }
