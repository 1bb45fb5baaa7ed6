// Rays through a scene of spheres, with shadows and reflections: single precision, branches that depend on it, recursion.
#include "bench.h"

enum { SIZE = 160, SPHERES = 24, DEPTH = 4 };

struct vector {
    float x, y, z;
};

static struct sphere {
    struct vector centre;
    float radius, shade, mirror;
} spheres[SPHERES];

static const struct vector LIGHT = {0.48f, 0.6f, -0.64f};

static inline struct vector along(struct vector a, struct vector b, float by) {
    return (struct vector){a.x + b.x * by, a.y + b.y * by, a.z + b.z * by};
}

static inline float dot(struct vector a, struct vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

static inline struct vector unit(struct vector a) {
    return along((struct vector){0, 0, 0}, a, 1 / __builtin_sqrtf(dot(a, a)));
}

// The nearest sphere that the ray meets, and how far away.
static const struct sphere *nearest(struct vector from, struct vector to, float *distance) {
    const struct sphere *found = NULL;
    *distance = 1e9f;
    for (const struct sphere *s = spheres; s < spheres + SPHERES; s++) {
        struct vector towards = along(s->centre, from, -1);
        float middle = dot(towards, to);
        float inside = middle * middle - dot(towards, towards) + s->radius * s->radius;
        if (inside <= 0)
            continue;
        float first = middle - __builtin_sqrtf(inside);
        if (first > 1e-3f && first < *distance) {
            *distance = first;
            found = s;
        }
    }
    return found;
}

static float trace(struct vector from, struct vector to, u32 depth) {
    float distance, ignored;
    const struct sphere *hit = nearest(from, to, &distance);
    if (!hit)
        return 0.3f + 0.3f * to.y;
    struct vector at = along(from, to, distance);
    struct vector normal = unit(along(at, hit->centre, -1));
    float light = dot(normal, LIGHT);
    float shade = hit->shade * (light > 0 && !nearest(at, LIGHT, &ignored) ? 0.1f + light : 0.1f);
    if (hit->mirror == 0 || depth == 0)
        return shade;
    struct vector onward = along(to, normal, -2 * dot(to, normal));
    return shade * (1 - hit->mirror) + hit->mirror * trace(at, onward, depth - 1);
}

static u64 work(u32 frames) {
    u64 sum = 0;
    for (u32 frame = 0; frame < frames; frame++)
        for (u32 row = 0; row < SIZE; row++)
            for (u32 column = 0; column < SIZE; column++) {
                struct vector to = {(float)column / SIZE - 0.5f, 0.5f - (float)row / SIZE, 0.8f};
                struct vector from = {(float)frame * 0.05f, 0, -4};
                sum = mix(sum, bits(trace(from, unit(to), DEPTH)));
            }
    return sum;
}

int main(void) {
    for (u32 i = 0; i < SPHERES; i++)
        spheres[i] = (struct sphere){{(float)random_unit() * 4 - 2, (float)random_unit() * 4 - 2, (float)random_unit() * 4 - 2},
                                     0.2f + 0.5f * (float)random_unit(),
                                     (float)random_unit(),
                                     random_below(2) ? (float)random_unit() : 0};
    return bench(work, 20);
}
