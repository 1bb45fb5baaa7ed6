// Bodies that attract each other, every pair in every step: double-precision arithmetic with square roots and divisions.
#include "bench.h"

enum { BODIES = 40 };

static struct body {
    double x, y, z, vx, vy, vz, mass;
} bodies[BODIES];

static void step(double time) {
    for (u32 i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        for (u32 j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double square = dx * dx + dy * dy + dz * dz + 0.01;
            double pull = time / (square * __builtin_sqrt(square));
            a->vx -= dx * b->mass * pull;
            a->vy -= dy * b->mass * pull;
            a->vz -= dz * b->mass * pull;
            b->vx += dx * a->mass * pull;
            b->vy += dy * a->mass * pull;
            b->vz += dz * a->mass * pull;
        }
    }
    for (u32 i = 0; i < BODIES; i++) {
        bodies[i].x += time * bodies[i].vx;
        bodies[i].y += time * bodies[i].vy;
        bodies[i].z += time * bodies[i].vz;
    }
}

static u64 work(u32 steps) {
    for (u32 i = 0; i < steps; i++)
        step(0x1p-10);
    u64 sum = 0;
    for (u32 i = 0; i < BODIES; i++)
        sum = mix(mix(sum, bits(bodies[i].x)), bits(bodies[i].vz));
    return sum;
}

int main(void) {
    for (u32 i = 0; i < BODIES; i++)
        bodies[i] = (struct body){random_unit(), random_unit(), random_unit(), random_unit() - 0.5,
                                  random_unit() - 0.5, random_unit() - 0.5, random_unit() / BODIES};
    return bench(work, 16000);
}
