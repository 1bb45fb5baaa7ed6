// A hash table with open addressing: numbers are put in, looked up, taken out; every access somewhere else in memory.
#include "bench.h"

enum { PLACES = 1 << 18 };

static u64 keys[PLACES]; // 0: free
static u32 values[PLACES];
static u32 count;

static inline u32 home(u64 key) { return (u32)(key * 0x9e3779b97f4a7c15 >> 46); }

static u32 find(u64 key) {
    u32 at = home(key);
    while (keys[at] && keys[at] != key)
        at = (at + 1) % PLACES;
    return at;
}

static void put(u64 key, u32 value) {
    u32 at = find(key);
    count += keys[at] == 0;
    keys[at] = key;
    values[at] = value;
}

// Takes it out, and moves what would not be found any more across the gap.
static void take(u64 key) {
    u32 gap = find(key);
    if (!keys[gap])
        return;
    count--;
    for (u32 at = (gap + 1) % PLACES; keys[at]; at = (at + 1) % PLACES)
        if ((at - home(keys[at])) % PLACES >= (at - gap) % PLACES) {
            keys[gap] = keys[at];
            values[gap] = values[at];
            gap = at;
        }
    keys[gap] = 0;
}

static u64 work(u32 operations) {
    u64 sum = 0, state = 1;
    for (u32 i = 0; i < operations; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        u64 key = (state >> 33) % 200000 + 1;
        switch (state >> 30 & 7) {
        case 0:
        case 1:
        case 2: put(key, i); break;
        case 3: take(key); break;
        default: {
            u32 at = find(key);
            sum += keys[at] ? values[at] : 1;
        }
        }
    }
    return mix(sum, count);
}

int main(void) { return bench(work, 8000000); }
