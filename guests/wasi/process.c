// Arguments, environment, clocks, random bytes, signals that do nothing, giving up the processor.
//
// The host gives the arguments `process`, ``, `two words`, and the environment `A=1`, `EMPTY=`.
#include "check.h"

static const char ARGS[] = "process\0\0two words";
static const char ENV[] = "A=1\0EMPTY=";

static void strings(void) {
    u32 count, size, pointers[3];
    EXPECT(SUCCESS, args_sizes_get(AT(&count), AT(&size)));
    IS(count == 3 && size == sizeof ARGS);
    EXPECT(SUCCESS, args_get(AT(pointers), AT(buffer)));
    IS(pointers[0] == AT(buffer) && pointers[1] == AT(buffer) + 8 && pointers[2] == AT(buffer) + 9);
    IS(same(buffer, ARGS, sizeof ARGS));
    EXPECT(FAULT, args_sizes_get(OUTSIDE, AT(&size)));
    EXPECT(FAULT, args_sizes_get(AT(&count), OUTSIDE));
    EXPECT(FAULT, args_get(OUTSIDE, AT(buffer)));
    EXPECT(FAULT, args_get(AT(pointers), OUTSIDE));

    EXPECT(SUCCESS, environ_sizes_get(AT(&count), AT(&size)));
    IS(count == 2 && size == sizeof ENV);
    EXPECT(SUCCESS, environ_get(AT(pointers), AT(buffer)));
    IS(pointers[1] == AT(buffer) + 4 && same(buffer, ENV, sizeof ENV));
    EXPECT(FAULT, environ_sizes_get(OUTSIDE, AT(&size)));
    EXPECT(FAULT, environ_get(OUTSIDE, AT(buffer)));
    EXPECT(FAULT, environ_get(AT(pointers), OUTSIDE));
}

static void clocks(void) {
    u64 resolution, time, later;
    for (u32 clock = 0; clock < 4; clock++) {
        EXPECT(SUCCESS, clock_res_get(clock, AT(&resolution)));
        IS(resolution > 0 && resolution <= 1000000000);
        EXPECT(SUCCESS, clock_time_get(clock, 1, AT(&time)));
        EXPECT(SUCCESS, clock_time_get(clock, ~0ull, AT(&later)));
        IS(later >= time);
    }
    EXPECT(SUCCESS, clock_time_get(0, 1, AT(&time)));
    IS(time > 1577836800000000000ull); // 2020
    EXPECT(INVAL, clock_res_get(4, AT(&resolution)));
    EXPECT(INVAL, clock_time_get(4, 1, AT(&time)));
    EXPECT(FAULT, clock_res_get(0, OUTSIDE));
    EXPECT(FAULT, clock_time_get(0, 1, OUTSIDE));
}

static void chance(void) {
    EXPECT(SUCCESS, random_get(AT(buffer), 32));
    EXPECT(SUCCESS, random_get(AT(buffer) + 32, 32));
    IS(!same(buffer, buffer + 32, 32));
    EXPECT(SUCCESS, random_get(AT(buffer), 0));
    EXPECT(SUCCESS, random_get(AT(buffer), sizeof buffer));
    EXPECT(FAULT, random_get(OUTSIDE, 32));
    EXPECT(FAULT, random_get(AT(buffer), 0xffffffff));
}

void _start(void) {
    strings();
    clocks();
    chance();
    EXPECT(SUCCESS, sched_yield());
    EXPECT(SUCCESS, proc_raise(0));  // none
    EXPECT(SUCCESS, proc_raise(16)); // of a child
    EXPECT(NOTSUP, proc_raise(18));  // stop
    EXPECT(INVAL, proc_raise(31));
    EXPECT(INVAL, proc_raise(0xffffffff));
    finish();
}
