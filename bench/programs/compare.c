// Merge sort that knows its elements only by size and a comparison function, the way a library offers it: indirect calls and
// small copies.
#include "bench.h"

enum { COUNT = 120000 };

struct record {
    u32 key;
    u16 rank;
    u8 name[10];
};

typedef int compare(const void *, const void *);

static struct record records[COUNT], buffer[COUNT];

static int by_key(const void *a, const void *b) {
    const struct record *left = a, *right = b;
    return (left->key > right->key) - (left->key < right->key);
}

static int by_rank(const void *a, const void *b) {
    const struct record *left = a, *right = b;
    return left->rank != right->rank ? (int)left->rank - right->rank : by_key(a, b);
}

static int by_name(const void *a, const void *b) {
    const struct record *left = a, *right = b;
    for (u32 i = 0; i < sizeof left->name; i++)
        if (left->name[i] != right->name[i])
            return left->name[i] - right->name[i];
    return 0;
}

static compare *const orders[] = {by_key, by_name, by_rank};

__attribute__((noinline)) static void merge_sort(u8 *all, u8 *spare, size_t count, size_t size, compare *order) {
    if (count < 2)
        return;
    size_t half = count / 2;
    merge_sort(all, spare, half, size, order);
    merge_sort(all + half * size, spare, count - half, size, order);
    memcpy(spare, all, half * size);
    u8 *left = spare, *left_end = spare + half * size;
    u8 *right = all + half * size, *right_end = all + count * size;
    for (u8 *to = all; left < left_end; to += size) {
        u8 **from = right < right_end && order(right, left) < 0 ? &right : &left;
        for (size_t i = 0; i < size; i += 4)
            memcpy(to + i, *from + i, 4);
        *from += size;
    }
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        merge_sort((u8 *)records, (u8 *)buffer, COUNT, sizeof(struct record), orders[round % 3]);
        for (u32 i = 0; i < COUNT; i++)
            sum = mix(sum, records[i].key ^ (u64)records[i].rank << 32 ^ records[i].name[i % 10]);
    }
    return sum;
}

int main(void) {
    for (u32 i = 0; i < COUNT; i++) {
        records[i].key = (u32)random64();
        records[i].rank = (u16)random_below(1000);
        for (u32 j = 0; j < sizeof records[i].name; j++)
            records[i].name[j] = (u8)('a' + random_below(3));
    }
    return bench(work, 6);
}
