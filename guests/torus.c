// A ray-marched scene in the terminal: a turning torus and the ball that threads it, over a checkered floor.
//
//   torus [--frames N] [--size COLUMNSxLINES] [--plain] [--fast]
//
// Every cell of the terminal shows two pixels, one above the other, with the character for "upper half block" and 24-bit
// colours. `--plain` prints one frame in ASCII and no timing: the same bytes on every machine. `--fast` does not wait between
// frames. When the output is not a terminal, all frames are computed and the last one is printed. COLUMNS and LINES are
// taken from the environment when they are given.

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    float x, y, z;
} Vec;

static Vec vec(float x, float y, float z) { return (Vec){x, y, z}; }
static Vec add(Vec a, Vec b) { return vec(a.x + b.x, a.y + b.y, a.z + b.z); }
static Vec scale(Vec a, float k) { return vec(a.x * k, a.y * k, a.z * k); }
static float dot(Vec a, Vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static Vec unit(Vec a) { return scale(a, 1.0f / sqrtf(dot(a, a))); }
static float clamp(float v, float low, float high) { return v < low ? low : v > high ? high : v; }
static Vec blend(Vec a, Vec b, float k) { return add(scale(a, 1.0f - k), scale(b, k)); }

// A turn about one axis, as its cosine and sine.
typedef struct {
    float c, s;
} Turn;

static Turn turn(float angle) { return (Turn){cosf(angle), sinf(angle)}; }

// What moves: set once for each frame.
static struct {
    Turn about_x, about_z;
    Vec ball;
    Vec light;
    float phase;
} scene;

static const float FLOOR = -1.45f;
static const float FAR = 24.0f;
static const float VIEW = 0.5f; // half the height of what is seen, at distance 1

enum { SAMPLES = 2 }; // rays for each pixel, along each side

// Takes a point into the space in which the torus lies flat.
static Vec into_torus_space(Vec p) {
    Turn x = scene.about_x, z = scene.about_z;
    p = vec(p.x, p.y * x.c - p.z * x.s, p.y * x.s + p.z * x.c);
    return vec(p.x * z.c - p.y * z.s, p.x * z.s + p.y * z.c, p.z);
}

static float torus_distance(Vec p) {
    p = into_torus_space(p);
    float around = sqrtf(p.x * p.x + p.z * p.z) - 1.0f;
    return sqrtf(around * around + p.y * p.y) - 0.42f;
}

static float ball_distance(Vec p) {
    Vec d = add(p, scale(scene.ball, -1.0f));
    return sqrtf(dot(d, d)) - 0.28f;
}

static float distance(Vec p) {
    float d = fminf(torus_distance(p), ball_distance(p));
    return fminf(d, p.y - FLOOR);
}

static Vec normal(Vec p) {
    const float e = 0.002f;
    float here = distance(p);
    return unit(vec(distance(add(p, vec(e, 0, 0))) - here, distance(add(p, vec(0, e, 0))) - here,
                    distance(add(p, vec(0, 0, e))) - here));
}

// How much light gets from `p` towards the lamp: 0 is full shadow. The closest miss on the way makes the edge soft.
static float lit(Vec p, Vec towards) {
    float light = 1.0f;
    for (float t = 0.04f; t < 6.0f;) {
        float d = distance(add(p, scale(towards, t)));
        if (d < 0.001f) return 0.0f;
        light = fminf(light, 9.0f * d / t);
        t += clamp(d, 0.03f, 0.5f);
    }
    return light;
}

static Vec sky(Vec ray) {
    float height = clamp(ray.y * 1.4f + 0.35f, 0.0f, 1.0f);
    return blend(vec(0.95f, 0.55f, 0.35f), vec(0.10f, 0.14f, 0.35f), height);
}

// The colour of stripes that wind round the torus.
static Vec torus_colour(Vec p) {
    p = into_torus_space(p);
    float around = atan2f(p.z, p.x);
    float across = atan2f(p.y, sqrtf(p.x * p.x + p.z * p.z) - 1.0f);
    float stripe = 0.5f + 0.5f * sinf(6.0f * around + 2.0f * across + scene.phase);
    return blend(vec(0.95f, 0.35f, 0.10f), vec(0.15f, 0.60f, 0.95f), stripe * stripe * (3.0f - 2.0f * stripe));
}

static Vec floor_colour(Vec p) {
    bool dark = ((int)floorf(p.x) + (int)floorf(p.z)) & 1;
    return dark ? vec(0.22f, 0.22f, 0.26f) : vec(0.75f, 0.72f, 0.68f);
}

// Follows a ray; true when it meets something, whose place goes to `hit`.
static bool march(Vec from, Vec ray, Vec *hit) {
    float t = 0.0f;
    for (int step = 0; step < 96 && t < FAR; step++) {
        *hit = add(from, scale(ray, t));
        float d = distance(*hit);
        if (d < 0.0015f * (1.0f + t)) return true;
        t += d;
    }
    return false;
}

static Vec shade(Vec from, Vec ray, int bounces) {
    Vec hit;
    if (!march(from, ray, &hit)) return sky(ray);
    Vec n = normal(hit);
    float torus = torus_distance(hit), ball = ball_distance(hit), floor = hit.y - FLOOR;
    float shine = 0.25f;
    Vec colour;
    if (floor < torus && floor < ball) {
        colour = floor_colour(hit);
        shine = 0.12f;
    } else if (ball < torus) {
        colour = vec(0.95f, 0.85f, 0.35f);
        shine = 0.6f;
    } else {
        colour = torus_colour(hit);
    }
    Vec towards = unit(add(scene.light, scale(hit, -1.0f)));
    Vec off = add(hit, scale(n, 0.01f));
    float direct = fmaxf(dot(n, towards), 0.0f);
    if (direct > 0.0f) direct *= lit(off, towards);
    Vec half = unit(add(towards, scale(ray, -1.0f)));
    float glint = powf(fmaxf(dot(n, half), 0.0f), 40.0f) * direct;
    colour = scale(colour, 0.16f + 0.10f * n.y + 0.85f * direct);
    Vec mirrored = add(ray, scale(n, -2.0f * dot(ray, n)));
    if (bounces > 0) colour = blend(colour, shade(off, mirrored, bounces - 1), shine);
    colour = add(colour, scale(vec(1.0f, 0.95f, 0.85f), glint));
    float away = sqrtf(dot(add(hit, scale(from, -1.0f)), add(hit, scale(from, -1.0f))));
    float haze = clamp((away - 8.0f) / (FAR - 8.0f), 0.0f, 1.0f);
    return blend(colour, sky(ray), haze * haze);
}

static void set_scene(float time) {
    scene.about_x = turn(0.9f + 0.7f * time);
    scene.about_z = turn(0.5f * time);
    scene.ball = vec(0.0f, 1.25f * sinf(1.7f * time), 0.55f * cosf(1.7f * time));
    scene.light = vec(4.0f * cosf(0.4f * time), 5.0f, -3.0f + 2.0f * sinf(0.4f * time));
    scene.phase = 2.5f * time;
}

// Computes `width * height` pixels, rows from the top. `tall` is the height of a pixel over its width.
static void render(Vec *pixels, int width, int height, float tall, float time) {
    set_scene(time);
    float sway = 0.35f * sinf(0.45f * time);
    Turn about = turn(sway);
    Vec eye = vec(-4.2f * about.s, 0.8f, -4.2f * about.c);
    for (int row = 0; row < height; row++) {
        for (int column = 0; column < width; column++) {
            Vec sum = vec(0, 0, 0);
            for (int sample = 0; sample < SAMPLES * SAMPLES; sample++) {
                float x = column + (sample % SAMPLES + 0.5f) / SAMPLES, y = row + (sample / SAMPLES + 0.5f) / SAMPLES;
                float u = (2.0f * x / width - 1.0f) * VIEW * width / (height * tall);
                float v = (1.0f - 2.0f * y / height) * VIEW - 0.16f;
                Vec ray = unit(vec(u, v, 1.0f));
                ray = vec(ray.x * about.c + ray.z * about.s, ray.y, ray.z * about.c - ray.x * about.s);
                sum = add(sum, shade(eye, ray, 1));
            }
            pixels[row * width + column] = scale(sum, 1.0f / (SAMPLES * SAMPLES));
        }
    }
}

static int channel(float v) { return (int)(255.0f * sqrtf(clamp(v, 0.0f, 1.0f))); }

static char *put_colour(char *out, const char *kind, Vec c) {
    return out + sprintf(out, "\x1b[%s;2;%d;%d;%dm", kind, channel(c.x), channel(c.y), channel(c.z));
}

static bool same(Vec a, Vec b) { return memcmp(&a, &b, sizeof a) == 0; }

// Writes a picture of two pixels to a cell; colours are written only where they change.
static size_t draw(char *text, const Vec *pixels, int columns, int lines) {
    char *out = text;
    for (int line = 0; line < lines; line++) {
        Vec above = {-1, -1, -1}, below = above;
        for (int column = 0; column < columns; column++) {
            Vec upper = pixels[2 * line * columns + column], lower = pixels[(2 * line + 1) * columns + column];
            if (!same(upper, above)) out = put_colour(out, "38", above = upper);
            if (!same(lower, below)) out = put_colour(out, "48", below = lower);
            out += sprintf(out, "\u2580");
        }
        out += sprintf(out, "\x1b[0m\n");
    }
    return out - text;
}

// The same in ASCII, one pixel to a cell.
static size_t draw_plain(char *text, const Vec *pixels, int columns, int lines) {
    static const char shades[] = " .:-=+*#%@";
    char *out = text;
    for (int line = 0; line < lines; line++) {
        for (int column = 0; column < columns; column++) {
            Vec c = pixels[line * columns + column];
            float light = sqrtf(clamp(0.3f * c.x + 0.6f * c.y + 0.1f * c.z, 0.0f, 0.999f));
            *out++ = shades[(int)(light * (sizeof shades - 1))];
        }
        *out++ = '\n';
    }
    return out - text;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int from_environment(const char *name, int otherwise) {
    const char *text = getenv(name);
    int value = text ? atoi(text) : 0;
    return value > 0 ? value : otherwise;
}

static int usage(void) {
    fprintf(stderr, "usage: torus [--frames N] [--size COLUMNSxLINES] [--plain] [--fast]\n");
    return 2;
}

int main(int argc, char **argv) {
    int columns = from_environment("COLUMNS", 80), lines = from_environment("LINES", 26) - 2, frames = 150;
    bool plain = false, fast = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--plain")) plain = true;
        else if (!strcmp(argv[i], "--fast")) fast = true;
        else if (!strcmp(argv[i], "--frames") && i + 1 < argc) frames = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--size") && i + 1 < argc) {
            if (sscanf(argv[++i], "%dx%d", &columns, &lines) != 2) return usage();
        } else return usage();
    }
    if (frames < 1 || columns < 1 || lines < 1 || columns > 1000 || lines > 1000) return usage();

    const float step = 1.0f / 30.0f;
    Vec *pixels = malloc(sizeof *pixels * columns * lines * 2);
    char *text = malloc((size_t)columns * lines * 48 + (size_t)lines * 8 + 64);
    if (!pixels || !text) {
        fprintf(stderr, "torus: out of memory\n");
        return 1;
    }
    if (plain) {
        render(pixels, columns, lines, 2.0f, (frames - 1) * step);
        fwrite(text, 1, draw_plain(text, pixels, columns, lines), stdout);
        return 0;
    }

    bool terminal = isatty(1);
    double start = now(), computing = 0.0;
    if (terminal) printf("\x1b[2J\x1b[?25l");
    for (int frame = 0; frame < frames; frame++) {
        double before = now();
        render(pixels, columns, lines * 2, 1.0f, frame * step);
        size_t length = draw(text, pixels, columns, lines);
        computing += now() - before;
        if (terminal || frame == frames - 1) {
            if (terminal) printf("\x1b[H");
            fwrite(text, 1, length, stdout);
            fflush(stdout);
        }
        double early = start + (frame + 1) * step - now();
        if (terminal && !fast && early > 0.0) usleep((useconds_t)(early * 1e6));
    }
    if (terminal) printf("\x1b[?25h");
    printf("%d frames of %d x %d pixels, computed at %.0f frames/s\n", frames, columns, 2 * lines, frames / computing);
    return 0;
}
