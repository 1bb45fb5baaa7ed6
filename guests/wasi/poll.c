// Waiting for clocks and descriptors. Standard input is an empty pipe whose other end stays open.
#include "check.h"

enum { CLOCK = 0, READ = 1, WRITE = 2, ABSOLUTE = 1 };

static event events[8];

static u32 wait_for(subscription *what, u32 count) { return poll_oneoff(AT(what), AT(events), count, AT(&moved)); }

static u64 now(u32 clock) {
    u64 time;
    clock_time_get(clock, 1, AT(&time));
    return time;
}

void _start(void) {
    u64 ms = 1000000, start = now(1);
    subscription soon = {.userdata = 7, .kind = CLOCK, .subject = 1, .timeout = 20 * ms};
    EXPECT(SUCCESS, poll_oneoff(AT(&soon), AT(events), 1, AT(&moved)));
    IS(moved == 1 && events[0].userdata == 7 && events[0].error == 0 && events[0].kind == CLOCK);
    IS(now(1) - start >= 20 * ms);

    for (u32 clock = 0; clock < 2; clock++) { // of the day, and the one that only goes forward
        start = now(clock);
        subscription until = {.kind = CLOCK, .subject = clock, .timeout = start + 20 * ms, .flags = ABSOLUTE};
        IS(wait_for(&until, 1) == 0 && moved == 1 && now(clock) >= start + 20 * ms);
        until.timeout = 5; // long ago
        IS(wait_for(&until, 1) == 0 && moved == 1);
    }

    // The first of several; what is not over is not told.
    u32 file = create("file");
    EXPECT(SUCCESS, write_text(file, "12345"));
    EXPECT(SUCCESS, fd_seek(file, 2, SET, AT(&position)));
    subscription several[] = {
        {.userdata = 1, .kind = READ, .subject = STDIN},
        {.userdata = 2, .kind = READ, .subject = file},
        {.userdata = 3, .kind = WRITE, .subject = STDOUT},
        {.userdata = 4, .kind = READ, .subject = STDOUT},
        {.userdata = 5, .kind = READ, .subject = NONE},
        {.userdata = 6, .kind = CLOCK, .subject = 9},
        {.userdata = 7, .kind = CLOCK, .subject = 1, .timeout = ~0ull},
        {.userdata = 8, .kind = WRITE, .subject = DIR},
    };
    EXPECT(SUCCESS, poll_oneoff(AT(several), AT(events), 8, AT(&moved)));
    u16 errors[] = {0, 0, BADF, BADF, INVAL, BADF};
    u8 users[] = {2, 3, 4, 5, 6, 8};
    IS(moved == 6);
    for (u32 i = 0; i < 6; i++) IS(events[i].userdata == users[i] && events[i].error == errors[i]);
    IS(events[0].bytes == 3);

    // A descriptor that does not get ready, and a clock.
    subscription first[] = {several[0], {.userdata = 9, .kind = CLOCK, .subject = 1, .timeout = 10 * ms}};
    IS(wait_for(first, 2) == 0 && moved == 1 && events[0].userdata == 9);

    EXPECT(INVAL, poll_oneoff(AT(several), AT(events), 0, AT(&moved)));
    EXPECT(INVAL, poll_oneoff(AT(several), AT(events), 0xffffffff, AT(&moved)));
    subscription unknown = {.kind = 3};
    EXPECT(INVAL, poll_oneoff(AT(&unknown), AT(events), 1, AT(&moved)));
    EXPECT(FAULT, poll_oneoff(OUTSIDE, AT(events), 1, AT(&moved)));
    EXPECT(FAULT, poll_oneoff(AT(several), OUTSIDE, 1, AT(&moved)));
    EXPECT(FAULT, poll_oneoff(AT(several), AT(events), 1, OUTSIDE));

    // Thousands at once.
    static subscription many[4000];
    static event told[4000];
    for (u32 i = 0; i < 4000; i++) many[i] = (subscription){.userdata = i, .kind = i % 2 ? READ : CLOCK, .subject = i % 2 ? file : 1};
    EXPECT(SUCCESS, poll_oneoff(AT(many), AT(told), 4000, AT(&moved)));
    IS(moved == 4000 && told[3999].userdata == 3999);
    EXPECT(SUCCESS, fd_close(file));
    finish();
}
