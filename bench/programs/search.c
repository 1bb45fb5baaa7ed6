// Looks for words in text by skipping as far as the byte found allows, and by a rolling hash: table look-ups, byte loads, compares.
#include "bench.h"

enum { SIZE = 1 << 20, WORDS = 24 };

static char text[SIZE];

static u32 by_skipping(const char *word, u32 length) {
    u32 skip[256], found = 0;
    for (u32 i = 0; i < 256; i++)
        skip[i] = length;
    for (u32 i = 0; i + 1 < length; i++)
        skip[(u8)word[i]] = length - 1 - i;
    for (u32 at = length - 1; at < SIZE; at += skip[(u8)text[at]]) {
        u32 same = 0;
        while (same < length && text[at - same] == word[length - 1 - same])
            same++;
        found += same == length;
    }
    return found;
}

static u32 by_hash(const char *word, u32 length) {
    u32 wanted = 0, hash = 0, leaving = 1, found = 0;
    for (u32 i = 0; i < length; i++) {
        wanted = wanted * 257 + (u8)word[i];
        hash = hash * 257 + (u8)text[i];
        leaving *= 257;
    }
    for (u32 at = 0; at + length < SIZE; at++) {
        if (hash == wanted) {
            u32 same = 0;
            while (same < length && text[at + same] == word[same])
                same++;
            found += same == length;
        }
        hash = hash * 257 + (u8)text[at + length] - leaving * (u8)text[at];
    }
    return found;
}

static u64 work(u32 words) {
    u64 sum = 0;
    for (u32 i = 0; i < words; i++) {
        const char *word = text + 40000 * (i % WORDS);
        u32 length = 3 + i % 9;
        sum = mix(sum, by_skipping(word, length));
        sum = mix(sum, by_hash(word, length));
    }
    return sum;
}

int main(void) {
    random_text(text, SIZE);
    return bench(work, 40);
}
