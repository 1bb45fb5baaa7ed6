// Sorts random numbers in place, by quicksort with insertion sort for small pieces, and by heapsort: compares that are
// mispredicted, swaps.
#include "bench.h"

enum { COUNT = 300000 };

static u32 numbers[COUNT], again[COUNT];

static inline void swap(u32 *a, u32 *b) {
    u32 value = *a;
    *a = *b;
    *b = value;
}

static void quicksort(u32 *v, i32 count) {
    while (count > 16) {
        u32 a = v[0], b = v[count / 2], c = v[count - 1];
        u32 pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        i32 i = -1, j = count;
        for (;;) {
            do
                i++;
            while (v[i] < pivot);
            do
                j--;
            while (v[j] > pivot);
            if (i >= j)
                break;
            swap(&v[i], &v[j]);
        }
        quicksort(v, j + 1);
        v += j + 1;
        count -= j + 1;
    }
    for (i32 i = 1; i < count; i++) {
        u32 value = v[i];
        i32 j = i;
        for (; j > 0 && v[j - 1] > value; j--)
            v[j] = v[j - 1];
        v[j] = value;
    }
}

static void sift(u32 *v, u32 root, u32 count) {
    for (;;) {
        u32 child = 2 * root + 1;
        if (child >= count)
            return;
        if (child + 1 < count && v[child + 1] > v[child])
            child++;
        if (v[root] >= v[child])
            return;
        swap(&v[root], &v[child]);
        root = child;
    }
}

static void heapsort_numbers(u32 *v, u32 count) {
    for (u32 i = count / 2; i-- > 0;)
        sift(v, i, count);
    for (u32 last = count - 1; last > 0; last--) {
        swap(&v[0], &v[last]);
        sift(v, 0, last);
    }
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        u32 state = round + 1;
        for (u32 i = 0; i < COUNT; i++)
            numbers[i] = again[COUNT - 1 - i] = state = state * 1664525 + 1013904223;
        quicksort(numbers, COUNT);
        heapsort_numbers(again, COUNT);
        for (u32 i = 0; i < COUNT; i++)
            sum = mix(sum, (u64)numbers[i] - again[i] + i % 7 * numbers[i]);
    }
    return sum;
}

int main(void) { return bench(work, 2); }
