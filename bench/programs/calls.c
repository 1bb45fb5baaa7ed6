// Small recursive functions: calls and returns, and little else.
#include "bench.h"

__attribute__((noinline)) static u32 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

__attribute__((noinline)) static i32 takeuchi(i32 x, i32 y, i32 z) {
    if (y >= x)
        return z;
    return takeuchi(takeuchi(x - 1, y, z), takeuchi(y - 1, z, x), takeuchi(z - 1, x, y));
}

__attribute__((noinline)) static u32 ackermann(u32 m, u32 n) {
    if (m == 0)
        return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static u64 work(u32 size) {
    u64 sum = mix(0, fibonacci(size));
    sum = mix(sum, (u64)takeuchi((i32)size - 13, (i32)size - 20, (i32)size - 28));
    return mix(sum, ackermann(2, size * 50));
}

int main(void) { return bench(work, 37); }
