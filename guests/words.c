// Counts lines, words and bytes of files, or of the standard input, and shows the most frequent words.
//
//   words [-t N] [FILE...]

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    unsigned long lines, words, bytes;
} Counts;

// Words seen, in a hash table with open addressing that doubles when it is three quarters full.
typedef struct {
    char *word;
    unsigned long times;
} Entry;

static Entry *table;
static size_t capacity, used;

static size_t find(const char *word) {
    size_t hash = 2166136261u;
    for (const char *c = word; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    size_t at = hash & (capacity - 1);
    while (table[at].word && strcmp(table[at].word, word)) at = (at + 1) & (capacity - 1);
    return at;
}

static void *checked(void *memory) {
    if (!memory) {
        fprintf(stderr, "words: out of memory\n");
        exit(1);
    }
    return memory;
}

static void remember(const char *word) {
    if (4 * (used + 1) > 3 * capacity) {
        Entry *old = table;
        size_t old_capacity = capacity;
        capacity = capacity ? 2 * capacity : 256;
        table = checked(calloc(capacity, sizeof *table));
        for (size_t i = 0; i < old_capacity; i++)
            if (old[i].word) table[find(old[i].word)] = old[i];
        free(old);
    }
    size_t at = find(word);
    if (!table[at].word) {
        table[at].word = checked(strdup(word));
        used++;
    }
    table[at].times++;
}

static int by_times(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    if (x->times != y->times) return x->times < y->times ? 1 : -1;
    if (!x->word || !y->word) return !x->word - !y->word;
    return strcmp(x->word, y->word);
}

static Counts count(FILE *in) {
    Counts counts = {0, 0, 0};
    char word[64];
    size_t length = 0;
    int inside = 0;
    for (int c; (c = getc(in)) != EOF;) {
        counts.bytes++;
        counts.lines += c == '\n';
        if (isspace(c)) {
            inside = 0;
        } else {
            counts.words += !inside;
            inside = 1;
        }
        if (isalpha(c) && length < sizeof word - 1) {
            word[length++] = (char)tolower(c);
        } else if (!isalpha(c) && length) {
            word[length] = 0;
            remember(word);
            length = 0;
        }
    }
    if (length) {
        word[length] = 0;
        remember(word);
    }
    return counts;
}

static void print(Counts c, const char *name) { printf("%8lu %8lu %8lu %s\n", c.lines, c.words, c.bytes, name); }

int main(int argc, char **argv) {
    size_t top = 0;
    int first = 1, failed = 0;
    if (argc > 2 && !strcmp(argv[1], "-t")) {
        top = strtoul(argv[2], NULL, 10);
        first = 3;
    }
    Counts total = {0, 0, 0};
    if (first == argc) print(total = count(stdin), "-");
    for (int i = first; i < argc; i++) {
        FILE *file = fopen(argv[i], "r");
        if (!file) {
            fprintf(stderr, "words: %s: %s\n", argv[i], strerror(errno));
            failed = 1;
            continue;
        }
        Counts counts = count(file);
        if (ferror(file)) {
            fprintf(stderr, "words: %s: %s\n", argv[i], strerror(errno));
            failed = 1;
        }
        fclose(file);
        print(counts, argv[i]);
        total.lines += counts.lines;
        total.words += counts.words;
        total.bytes += counts.bytes;
    }
    if (argc - first > 1) print(total, "total");
    if (top) {
        qsort(table, capacity, sizeof *table, by_times);
        for (size_t i = 0; i < top && i < used; i++) printf("%8lu %s\n", table[i].times, table[i].word);
    }
    return failed;
}
