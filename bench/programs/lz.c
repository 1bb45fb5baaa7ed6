// Compresses text by references to what came before, found through a hash table, and expands it again: byte copies, unpredictable
// lengths.
//
// A token is a byte: the upper half says how many literal bytes follow, the lower how many bytes to repeat less MIN; 15 means that
// bytes follow that are added, up to one that is not 255. The distance comes last, in two bytes.
#include "bench.h"

enum { SIZE = 1 << 20, HASHES = 1 << 14, MIN = 4, REACH = 65535 };

static u8 text[SIZE], packed[SIZE + SIZE / 8], expanded[SIZE];
static u32 heads[HASHES];

static inline u32 four(const u8 *from) {
    u32 value;
    memcpy(&value, from, sizeof value);
    return value;
}

static u8 *put_length(u8 *to, u32 length) {
    for (; length >= 255; length -= 255)
        *to++ = 255;
    *to++ = (u8)length;
    return to;
}

static u8 *put(u8 *to, const u8 *literals, u32 count, u32 repeat, u32 distance) {
    u8 *token = to++;
    *token = (u8)((count < 15 ? count : 15) << 4 | (repeat < 15 ? repeat : 15));
    if (count >= 15)
        to = put_length(to, count - 15);
    for (u32 i = 0; i < count; i++)
        *to++ = literals[i];
    if (repeat >= 15)
        to = put_length(to, repeat - 15);
    *to++ = (u8)distance;
    *to++ = (u8)(distance >> 8);
    return to;
}

static u32 compress(void) {
    memset(heads, 0, sizeof heads);
    u8 *to = packed;
    u32 at = 1, done = 0;
    while (at + MIN + 8 < SIZE) {
        u32 *head = &heads[four(text + at) * 2654435761u >> 18];
        u32 before = *head;
        *head = at;
        if (at - before > REACH || four(text + before) != four(text + at)) {
            at++;
            continue;
        }
        u32 length = MIN;
        while (at + length < SIZE && text[before + length] == text[at + length])
            length++;
        to = put(to, text + done, at - done, length - MIN, at - before);
        at += length;
        done = at;
    }
    return (u32)(put(to, text + done, SIZE - done, 0, 0) - packed);
}

static const u8 *get_length(const u8 *from, u32 *length) {
    if (*length != 15)
        return from;
    u8 more;
    do
        *length += more = *from++;
    while (more == 255);
    return from;
}

static u32 expand(u32 size) {
    const u8 *from = packed, *end = packed + size;
    u8 *to = expanded;
    while (from < end) {
        u32 literals = *from >> 4, repeat = *from & 15;
        from = get_length(from + 1, &literals);
        while (literals--)
            *to++ = *from++;
        from = get_length(from, &repeat);
        u32 distance = from[0] | (u32)from[1] << 8;
        from += 2;
        if (distance)
            for (repeat += MIN; repeat--; to++)
                *to = to[-(i32)distance];
    }
    return (u32)(to - expanded);
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        u32 size = compress();
        sum = mix(mix(sum, size), expand(size));
        for (u32 i = 0; i < SIZE; i++)
            sum += text[i] ^ expanded[i];
        for (u32 i = 0; i < size; i += 64)
            sum = mix(sum, packed[i]);
        text[round * 1000] ^= 1;
    }
    return sum;
}

int main(void) {
    random_text((char *)text, SIZE);
    return bench(work, 20);
}
