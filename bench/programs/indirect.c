// Objects of several kinds behind tables of functions, visited in random order: calls whose target is only known when made.
#include "bench.h"

enum { OBJECTS = 4096 };

struct object;

struct methods {
    u32 (*area)(const struct object *);
    void (*grow)(struct object *, u32 by);
    u32 (*combine)(const struct object *, const struct object *other);
};

struct object {
    const struct methods *methods;
    u32 width, height;
};

static struct object objects[OBJECTS];

static u32 box_area(const struct object *o) { return o->width * o->height; }
static u32 triangle_area(const struct object *o) { return o->width * o->height / 2; }
static u32 disc_area(const struct object *o) { return o->width * o->width * 355 / 113; }
static u32 ring_area(const struct object *o) { return disc_area(o) - o->height * o->height * 355 / 113; }

static void grow_both(struct object *o, u32 by) {
    o->width = (o->width + by) & 1023;
    o->height = (o->height + by) & 1023;
}
static void grow_width(struct object *o, u32 by) { o->width = (o->width + by) & 2047; }
static void grow_height(struct object *o, u32 by) { o->height = (o->height ^ by) & 2047; }

static u32 larger(const struct object *a, const struct object *b) {
    u32 x = a->methods->area(a), y = b->methods->area(b);
    return x > y ? x : y;
}
static u32 difference(const struct object *a, const struct object *b) { return a->methods->area(a) - b->methods->area(b); }

static const struct methods kinds[] = {
    {box_area, grow_both, larger},
    {triangle_area, grow_height, difference},
    {disc_area, grow_width, larger},
    {ring_area, grow_both, difference},
    {triangle_area, grow_width, difference},
};

static u64 work(u32 rounds) {
    u64 sum = 0;
    for (u32 round = 0; round < rounds; round++)
        for (u32 i = 0; i < OBJECTS; i++) {
            struct object *a = &objects[i], *b = &objects[i * 5 % OBJECTS];
            a->methods->grow(a, round);
            sum += a->methods->combine(a, b) ^ i;
        }
    return sum;
}

int main(void) {
    for (u32 i = 0; i < OBJECTS; i++)
        objects[i] = (struct object){&kinds[random_below(5)], 1 + random_below(1000), 1 + random_below(1000)};
    return bench(work, 1200);
}
