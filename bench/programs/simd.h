// Vectors of 128 bits: WebAssembly's own operations there; elsewhere the same with what C compilers and processors have.
#pragma once

#include "bench.h"

#ifdef __wasm_simd128__
#include <wasm_simd128.h>

typedef v128_t vector;

#define f32_all wasm_f32x4_splat
#define f32_add wasm_f32x4_add
#define f32_sub wasm_f32x4_sub
#define f32_mul wasm_f32x4_mul
#define f32_at_most wasm_f32x4_le
#define i32_all wasm_i32x4_splat
#define i32_sub wasm_i32x4_sub
#define both wasm_v128_and
#define any wasm_v128_any_true
#define u8_all wasm_u8x16_splat
#define u8_max wasm_u8x16_max
#define u8_min wasm_u8x16_min
#define u8_average wasm_u8x16_avgr
#define u8_add_limited wasm_u8x16_add_sat
#define u8_sub_limited wasm_u8x16_sub_sat
#define u8_equal wasm_i8x16_eq
#define from_memory wasm_v128_load
#define to_memory wasm_v128_store

// The bytes of every group of four in reverse.
#define reverse_in_fours(x) wasm_i8x16_shuffle(x, x, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)

static inline u32 i32_lane(vector x, u32 lane) {
    u32 lanes[4];
    wasm_v128_store(lanes, x);
    return lanes[lane];
}

static inline vector f32_lanes(float a, float b, float c, float d) { return wasm_f32x4_make(a, b, c, d); }
#else
typedef i32 vector __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef u8 u8x16 __attribute__((vector_size(16)));

static inline vector f32_all(float x) { return (vector)(f32x4){x, x, x, x}; }
static inline vector f32_lanes(float a, float b, float c, float d) { return (vector)(f32x4){a, b, c, d}; }
static inline vector f32_add(vector a, vector b) { return (vector)((f32x4)a + (f32x4)b); }
static inline vector f32_sub(vector a, vector b) { return (vector)((f32x4)a - (f32x4)b); }
static inline vector f32_mul(vector a, vector b) { return (vector)((f32x4)a * (f32x4)b); }
static inline vector f32_at_most(vector a, vector b) { return (vector)((f32x4)a <= (f32x4)b); }
static inline vector i32_all(i32 x) { return (vector){x, x, x, x}; }
static inline vector i32_sub(vector a, vector b) { return a - b; }
static inline vector both(vector a, vector b) { return a & b; }
static inline vector u8_all(u8 x) { return (vector)((u8x16){0} + x); }
static inline vector u8_equal(vector a, vector b) { return (vector)((u8x16)a == (u8x16)b); }
static inline u32 i32_lane(vector x, u32 lane) { return (u32)x[lane]; }

static inline int any(vector x) {
    u64 halves[2];
    memcpy(halves, &x, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

#ifdef __SSE2__
// Compilers do not see what the definitions below mean, and native code is not to look worse than it is.
#include <emmintrin.h>

#define SSE2(name, instruction)                                                                                        \
    static inline vector name(vector a, vector b) { return (vector)instruction((__m128i)a, (__m128i)b); }
SSE2(u8_max, _mm_max_epu8)
SSE2(u8_min, _mm_min_epu8)
SSE2(u8_average, _mm_avg_epu8)
SSE2(u8_add_limited, _mm_adds_epu8)
SSE2(u8_sub_limited, _mm_subs_epu8)
#else
static inline vector u8_choose(u8x16 when, u8x16 a, u8x16 b) { return (vector)((a & when) | (b & ~when)); }
static inline vector u8_max(vector a, vector b) { return u8_choose((u8x16)((u8x16)a > (u8x16)b), (u8x16)a, (u8x16)b); }
static inline vector u8_min(vector a, vector b) { return u8_choose((u8x16)((u8x16)a < (u8x16)b), (u8x16)a, (u8x16)b); }

// The mean, rounded up.
static inline vector u8_average(vector a, vector b) {
    u8x16 x = (u8x16)a, y = (u8x16)b;
    return (vector)((x | y) - ((x ^ y) >> 1));
}

static inline vector u8_add_limited(vector a, vector b) {
    u8x16 sum = (u8x16)a + (u8x16)b;
    return (vector)(sum | (u8x16)(sum < (u8x16)a));
}

static inline vector u8_sub_limited(vector a, vector b) {
    u8x16 x = (u8x16)a, y = (u8x16)b;
    return (vector)((x - y) & (u8x16)(x > y));
}
#endif

static inline vector from_memory(const void *from) {
    vector x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline void to_memory(void *to, vector x) { memcpy(to, &x, sizeof x); }

static inline vector reverse_in_fours(vector x) {
    typedef u32 u32x4 __attribute__((vector_size(16)));
    u32x4 swapped = ((u32x4)x >> 8 & 0xff00ff) | ((u32x4)x & 0xff00ff) << 8;
    return (vector)(swapped >> 16 | swapped << 16);
}
#endif
