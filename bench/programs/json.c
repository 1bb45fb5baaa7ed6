// Parses JSON into a tree and sums it up: byte-wise branches, recursion, numbers from decimal, nodes from an arena.
#include "bench.h"

enum { SIZE = 600 << 10, NODES = 200000 };

static char text[SIZE];

static struct node {
    enum { NOTHING, TRUTH, NUMBER, STRING, LIST, MAP } kind;
    u32 next, first; // of a list's or map's members, 0: none
    u32 name, name_length;
    double number;
} nodes[NODES];

static u32 used;
static const char *at;

// ---- writing a document ----

static char *put_text(char *to, const char *from) {
    while (*from)
        *to++ = *from++;
    return to;
}

static char *put_number(char *to, u32 number) {
    char digits[10];
    u32 count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        *to++ = digits[--count];
    return to;
}

static void write_document(void) {
    static const char *const tags[] = {"red", "a \\\"quoted\\\" tag", "caf\\u00e9", "", "long enough to be looked at"};
    char *to = put_text(text, "{\"things\": [\n");
    while (to < text + SIZE - 512) {
        to = put_number(put_text(to, "  {\"id\": "), (u32)random64());
        to = put_number(put_text(to, ", \"x\": -"), random_below(1000));
        to = put_number(put_text(to, "."), 1 + random_below(99999));
        to = put_number(put_text(to, ", \"y\": "), random_below(1000));
        to = put_number(put_text(to, "e-"), random_below(9));
        to = put_text(to, random_below(2) ? ", \"on\": true, \"tags\": [" : ", \"on\": null, \"tags\": [");
        for (u32 i = random_below(4); i > 0; i--)
            to = put_text(put_text(put_text(to, "\""), tags[random_below(5)]), i > 1 ? "\", " : "\"");
        to = put_text(to, "]},\n");
    }
    put_text(to, "  {}]}\n");
}

// ---- reading it ----

static void skip_space(void) {
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')
        at++;
}

static double read_number(void) {
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    int minus = *at == '-';
    at += minus;
    u64 digits = 0;
    i32 exponent = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        digits = digits * 10 + (u64)(*at - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, exponent--)
            digits = digits * 10 + (u64)(*at - '0');
    if (*at == 'e') {
        int down = *++at == '-';
        at += down;
        i32 shift = 0;
        for (; *at >= '0' && *at <= '9'; at++)
            shift = shift * 10 + (*at - '0');
        exponent += down ? -shift : shift;
    }
    double number = (double)digits;
    number = exponent < 0 ? number / powers[-exponent & 15] : number * powers[exponent & 15];
    return minus ? -number : number;
}

// Returns its length, with what is escaped counted as one.
static u32 read_string(void) {
    u32 length = 0;
    for (at++; *at != '"'; at++, length++)
        if (*at == '\\')
            at += at[1] == 'u' ? 5 : 1;
    at++;
    return length;
}

static u32 read_value(void) {
    u32 index = ++used;
    struct node *node = &nodes[index];
    *node = (struct node){0};
    skip_space();
    switch (*at) {
    case '{':
    case '[': {
        int is_map = *at == '{';
        char end = is_map ? '}' : ']';
        u32 *link = &node->first;
        node->kind = is_map ? MAP : LIST;
        at++;
        for (skip_space(); *at != end; skip_space()) {
            if (*at == ',') {
                at++;
                skip_space();
            }
            u32 name = (u32)(at - text), name_length = 0;
            if (is_map) {
                name_length = read_string();
                skip_space();
                at++;
            }
            u32 member = read_value();
            nodes[member].name = name;
            nodes[member].name_length = name_length;
            *link = member;
            link = &nodes[member].next;
        }
        at++;
        break;
    }
    case '"':
        node->kind = STRING;
        node->number = read_string();
        break;
    case 't':
        node->kind = TRUTH;
        at += 4;
        break;
    case 'n':
        node->kind = NOTHING;
        at += 4;
        break;
    default:
        node->kind = NUMBER;
        node->number = read_number();
    }
    return index;
}

static u64 summed(u32 index) {
    const struct node *node = &nodes[index];
    u64 sum = mix(node->kind, bits(node->number));
    for (u32 i = 0; i < node->name_length; i++)
        sum = sum * 31 + (u8)text[node->name + 1 + i];
    for (u32 member = node->first; member; member = nodes[member].next)
        sum = mix(sum, summed(member));
    return sum;
}

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++) {
        at = text;
        used = 0;
        sum = mix(sum, summed(read_value()));
        sum = mix(sum, used);
    }
    return sum;
}

int main(void) {
    write_document();
    return bench(work, 100);
}
