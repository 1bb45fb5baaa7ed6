// What every program has: the timed part, random numbers, and one line of output that must be the same everywhere.
//
// A program sets its data up, and ends with `return bench(work, SIZE)`. Only `work` is timed: from `bench.start` to `bench.end`
// as WebAssembly, where whoever runs it takes the time; natively the program writes the nanoseconds to its standard error.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

// The number in the given base, and a line feed.
static inline void print_number(int file, u64 number, u32 base) {
    char text[24];
    size_t at = sizeof text;
    text[--at] = '\n';
    do {
        text[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    if (write(file, text + at, sizeof text - at) < 0)
        _exit(1);
}

#ifdef __wasm__
__attribute__((import_module("bench"), import_name("start"))) void bench_start(void);
__attribute__((import_module("bench"), import_name("end"))) void bench_end(void);
#else
#include <time.h>

static struct timespec bench_started;

static inline void bench_start(void) { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &bench_started); }

static inline void bench_end(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    i64 seconds = now.tv_sec - bench_started.tv_sec;
    print_number(2, (u64)(seconds * 1000000000 + now.tv_nsec - bench_started.tv_nsec), 10);
}
#endif

// Times `work` and prints its result. The volatile variables keep compilers from moving any of the work out of the timed part,
// and from knowing how much of it there is.
static inline int bench(u64 (*work)(u32), u32 size) {
    volatile u32 asked = size;
    bench_start();
    volatile u64 sum = work(asked);
    bench_end();
    print_number(1, sum, 16);
    return 0;
}

// The next number of a sequence that is the same in every run.
static inline u64 random64(void) {
    static u64 state = 20251120;
    u64 z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

// A random number below `bound`.
static inline u32 random_below(u32 bound) { return (u32)((random64() >> 32) * bound >> 32); }

// A random number from 0 to 1.
static inline double random_unit(void) { return (double)(random64() >> 11) * 0x1p-53; }

// A checksum of what `sum` is the checksum of, and `value`.
static inline u64 mix(u64 sum, u64 value) {
    sum = (sum ^ value) * 0x9fb21c651e98df25;
    return sum ^ sum >> 28;
}

// The bits of a floating-point number.
static inline u64 bits(double value) {
    u64 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Fills `text` with words of a small vocabulary, some of them much more frequent than others, in lines.
static inline void random_text(char *text, size_t length) {
    static char words[512][12];
    for (size_t i = 0; i < 512; i++) {
        u32 letters = 2 + random_below(9);
        for (u32 j = 0; j < letters; j++)
            words[i][j] = (char)("etaoinshrdlucmfwypvbgkqjxz"[random_below(1 + random_below(26))]);
    }
    size_t at = 0, column = 0;
    while (at < length) {
        const char *word = words[random_below(1 + random_below(512))];
        for (; *word && at < length; word++, column++)
            text[at++] = *word;
        if (at < length)
            text[at++] = column > 70 ? '\n' : ' ';
        if (column > 70)
            column = 0;
    }
}
