// Planets round a star, integrated with a symplectic method of fourth order, in double precision.
//
//   orbits [YEARS] [STEPS_PER_YEAR]
//
// Units: distance in astronomical units, time in years, mass in solar masses. Prints where each planet ends and how far the
// energy drifted, with enough digits that any difference in floating point shows.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODIES = 9 };

static struct Body {
    const char *name;
    double mass, radius, angle; // of a circular orbit at the start
    double position[2], velocity[2];
} bodies[BODIES] = {
    {"Sun", 1.0, 0.0, 0.0},         {"Mercury", 1.66e-7, 0.387, 0.3}, {"Venus", 2.45e-6, 0.723, 1.1},
    {"Earth", 3.00e-6, 1.0, 2.0},   {"Mars", 3.23e-7, 1.524, 2.9},    {"Jupiter", 9.55e-4, 5.203, 3.8},
    {"Saturn", 2.86e-4, 9.537, 4.6}, {"Uranus", 4.37e-5, 19.19, 5.3}, {"Neptune", 5.15e-5, 30.07, 6.0},
};

static const double G = 39.478417604357434; // 4 pi^2

static void place_bodies(void) {
    double momentum[2] = {0.0, 0.0};
    for (int i = 1; i < BODIES; i++) {
        struct Body *b = &bodies[i];
        double speed = sqrt(G / b->radius);
        b->position[0] = b->radius * cos(b->angle);
        b->position[1] = b->radius * sin(b->angle);
        b->velocity[0] = -speed * sin(b->angle);
        b->velocity[1] = speed * cos(b->angle);
        for (int k = 0; k < 2; k++) momentum[k] += b->mass * b->velocity[k];
    }
    for (int k = 0; k < 2; k++) bodies[0].velocity[k] = -momentum[k];
}

static void drift(double dt) {
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 2; k++) bodies[i].position[k] += dt * bodies[i].velocity[k];
}

static void kick(double dt) {
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            struct Body *a = &bodies[i], *b = &bodies[j];
            double dx = b->position[0] - a->position[0], dy = b->position[1] - a->position[1];
            double square = dx * dx + dy * dy, pull = dt * G / (square * sqrt(square));
            a->velocity[0] += b->mass * pull * dx;
            a->velocity[1] += b->mass * pull * dy;
            b->velocity[0] -= a->mass * pull * dx;
            b->velocity[1] -= a->mass * pull * dy;
        }
}

// Three leapfrog steps whose lengths cancel the error of third order.
static void step(double dt) {
    const double root = cbrt(2.0), outer = 1.0 / (2.0 - root), lengths[3] = {outer, -root * outer, outer};
    for (int i = 0; i < 3; i++) {
        drift(0.5 * lengths[i] * dt);
        kick(lengths[i] * dt);
        drift(0.5 * lengths[i] * dt);
    }
}

static double energy(void) {
    double sum = 0.0;
    for (int i = 0; i < BODIES; i++) {
        struct Body *a = &bodies[i];
        sum += 0.5 * a->mass * (a->velocity[0] * a->velocity[0] + a->velocity[1] * a->velocity[1]);
        for (int j = i + 1; j < BODIES; j++)
            sum -= G * a->mass * bodies[j].mass / hypot(a->position[0] - bodies[j].position[0], a->position[1] - bodies[j].position[1]);
    }
    return sum;
}

int main(int argc, char **argv) {
    int years = argc > 1 ? atoi(argv[1]) : 100, steps = argc > 2 ? atoi(argv[2]) : 500;
    if (years < 1 || steps < 1) {
        fprintf(stderr, "usage: orbits [YEARS] [STEPS_PER_YEAR]\n");
        return 2;
    }
    place_bodies();
    double before = energy();
    for (long i = 0; i < (long)years * steps; i++) step(1.0 / steps);
    for (int i = 0; i < BODIES; i++)
        printf("%-8s %18.12f %18.12f\n", bodies[i].name, bodies[i].position[0], bodies[i].position[1]);
    printf("energy drift %.3e\n", (energy() - before) / before);
    return 0;
}
