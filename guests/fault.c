// Ends in the way it is told: to see what an engine makes of it.
//
//   fault exit N | abort | unreachable | load | store | divide | overflow | convert | stack | null-call | wrong-call

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What the compiler must not reason about.
static volatile int zero = 0, minus_one = -1;
static volatile int32_t lowest = INT32_MIN;
static volatile float huge = 1e30f;
static volatile uintptr_t beyond = 0xfffffff0u;

static __attribute__((noinline)) int load(void) { return *(volatile int *)beyond; }
static __attribute__((noinline)) void store(void) { *(volatile int *)beyond = 1; }

// Written in WebAssembly's own terms where C has no defined way to say it.
static __attribute__((noinline)) int divide(int by) {
    int result;
    __asm__ volatile("local.get %1\nlocal.get %2\ni32.div_s\nlocal.set %0" : "=r"(result) : "r"(lowest), "r"(by));
    return result;
}

static __attribute__((noinline)) int convert(void) {
    int result;
    float value = huge;
    __asm__ volatile("local.get %1\ni32.trunc_f32_s\nlocal.set %0" : "=r"(result) : "r"(value));
    return result;
}

static __attribute__((noinline)) int recurse(volatile int *above) {
    volatile int here = above ? *above + 1 : 0;
    return minus_one ? recurse(&here) + here : here;
}

static int one_argument(int a) { return a; }

static __attribute__((noinline)) void call(uintptr_t target) {
    void (*volatile function)(void) = (void (*)(void))target;
    function();
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    printf("about to end by: %s\n", how);
    fflush(stdout);
    if (!strcmp(how, "exit")) exit(argc > 2 ? atoi(argv[2]) : 0);
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "unreachable")) __builtin_trap();
    if (!strcmp(how, "load")) return load();
    if (!strcmp(how, "store")) store();
    if (!strcmp(how, "divide")) return divide(zero);
    if (!strcmp(how, "overflow")) return divide(minus_one);
    if (!strcmp(how, "convert")) return convert();
    if (!strcmp(how, "stack")) return recurse(NULL);
    if (!strcmp(how, "null-call")) call((uintptr_t)zero);
    if (!strcmp(how, "wrong-call")) call((uintptr_t)one_argument);
    fprintf(stderr, "usage: fault exit N | abort | unreachable | load | store | divide | overflow | convert | stack | "
                    "null-call | wrong-call\n");
    return 2;
}
