// Finds what matches a regular expression, following all alternatives at once: small sets, branches, byte by byte through text.
//
// Understood are characters, `.`, `[a-z]`, `(...)`, `|`, `*`, `+`, `?`.
#include "bench.h"

enum { SIZE = 96 << 10, MOST = 64 };

static char text[SIZE + 1];

struct instruction {
    enum { RANGE, SPLIT, JUMP, MATCH } kind;
    u8 low, high;
    u32 one, other;
};

static struct instruction program[MOST];
static u32 length;
static const char *pattern;

static void alternatives(void);

static void insert_at(u32 at) {
    memmove(&program[at + 1], &program[at], (length - at) * sizeof *program);
    length++;
    for (u32 i = at + 1; i < length; i++) {
        program[i].one += program[i].one >= at;
        program[i].other += program[i].other >= at;
    }
}

static void repeated(void) {
    u32 start = length;
    if (*pattern == '(') {
        pattern++;
        alternatives();
        pattern++;
    } else if (*pattern == '[') {
        program[length++] = (struct instruction){RANGE, (u8)pattern[1], (u8)pattern[3], 0, 0};
        pattern += 5;
    } else {
        int any = *pattern == '.';
        program[length++] = (struct instruction){RANGE, any ? ' ' : (u8)*pattern, any ? '~' : (u8)*pattern, 0, 0};
        pattern++;
    }
    char suffix = *pattern;
    if (suffix == '+') {
        program[length] = (struct instruction){SPLIT, 0, 0, start, length + 1};
        length++;
    } else if (suffix == '*' || suffix == '?') {
        insert_at(start);
        u32 end = length + (suffix == '*');
        program[start] = (struct instruction){SPLIT, 0, 0, start + 1, end};
        if (suffix == '*')
            program[length++] = (struct instruction){JUMP, 0, 0, start, 0};
    } else {
        return;
    }
    pattern++;
}

static void alternatives(void) {
    u32 start = length;
    while (*pattern && *pattern != ')' && *pattern != '|')
        repeated();
    if (*pattern != '|')
        return;
    pattern++;
    insert_at(start);
    program[start] = (struct instruction){SPLIT, 0, 0, start + 1, length + 1};
    u32 jump = length++;
    alternatives();
    program[jump] = (struct instruction){JUMP, 0, 0, length, 0};
}

static void compile(const char *from) {
    pattern = from;
    length = 0;
    alternatives();
    program[length++] = (struct instruction){MATCH, 0, 0, 0, 0};
}

struct set {
    u32 count;
    u8 members[MOST], place[MOST];
};

static void add(struct set *set, u32 at) {
    if (set->place[at] < set->count && set->members[set->place[at]] == at)
        return;
    set->place[at] = (u8)set->count;
    set->members[set->count++] = (u8)at;
    if (program[at].kind == JUMP) {
        add(set, program[at].one);
    } else if (program[at].kind == SPLIT) {
        add(set, program[at].one);
        add(set, program[at].other);
    }
}

// How many bytes from `from` match, at most; or -1.
static i32 match(const char *from) {
    static struct set sets[2];
    struct set *now = &sets[0], *next = &sets[1];
    i32 longest = -1;
    now->count = 0;
    add(now, 0);
    for (i32 at = 0; now->count; at++) {
        u8 byte = (u8)from[at];
        next->count = 0;
        for (u32 i = 0; i < now->count; i++) {
            const struct instruction *instruction = &program[now->members[i]];
            if (instruction->kind == MATCH)
                longest = at;
            else if (instruction->kind == RANGE && instruction->low <= byte && byte <= instruction->high)
                add(next, now->members[i] + 1u);
        }
        struct set *swapped = now;
        now = next;
        next = swapped;
    }
    return longest;
}

static const char *const patterns[] = {"(ta|et)+[n-s]", "s.*e$?t", "[a-m]+ [n-z]+ e", "((a|e)(t|n|s))*o? "};

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        compile(patterns[round % 4]);
        for (u32 at = 0; at < SIZE;) {
            i32 found = match(text + at);
            if (found > 0)
                sum = mix(sum, (u64)found << 32 | at);
            at += found > 0 ? (u32)found : 1;
        }
    }
    return sum;
}

int main(void) {
    random_text(text, SIZE);
    return bench(work, 40);
}
