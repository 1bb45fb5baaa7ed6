// Regular files: opening, reading and writing in all ways, position, size, times, flags.
#include "check.h"

static void opening(void) {
    u64 both = RIGHT_READ | RIGHT_WRITE;
    EXPECT(NOENT, path_open(DIR, 0, PATH("missing"), 0, both, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, path_open(DIR, 0, PATH("new"), OPEN_CREATE | OPEN_EXCLUSIVE, both, 0, 0, AT(&moved)));
    u32 fd = moved;
    IS(fd > READ_ONLY);
    EXPECT(EXIST, path_open(DIR, 0, PATH("new"), OPEN_CREATE | OPEN_EXCLUSIVE, both, 0, 0, AT(&moved)));
    EXPECT(NOTDIR, path_open(DIR, 0, PATH("new"), OPEN_DIRECTORY, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(NOTDIR, path_open(DIR, 0, PATH("new/below"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(NOTDIR, path_open(DIR, 0, PATH("new/"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(NOTDIR, path_open(fd, 0, PATH("new"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(BADF, path_open(NONE, 0, PATH("new"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(ISDIR, path_open(DIR, 0, PATH("."), 0, both, 0, 0, AT(&moved)));
    EXPECT(INVAL, path_open(DIR, 0, PATH("new"), 16, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(INVAL, path_open(DIR, 0, PATH("new"), 0, RIGHT_READ, 0, 32, AT(&moved)));
    EXPECT(INVAL, path_open(DIR, 0, PATH("d"), OPEN_CREATE | OPEN_DIRECTORY, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(NOENT, path_open(DIR, 0, AT(""), 0, 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(ILSEQ, path_open(DIR, 0, PATH("\xff"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(INVAL, path_open(DIR, 0, PATH("a\0b"), OPEN_CREATE, both, 0, 0, AT(&moved)));
    EXPECT(FAULT, path_open(DIR, 0, OUTSIDE, 100, 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(FAULT, path_open(DIR, 0, PATH("new"), 0, RIGHT_READ, 0, 0, OUTSIDE));
    for (u32 i = 0; i < sizeof buffer; i++) buffer[i] = 'x';
    EXPECT(NAMETOOLONG, path_open(DIR, 0, AT(buffer), 300, OPEN_CREATE, both, 0, 0, AT(&moved)));
    EXPECT(NAMETOOLONG, path_open(DIR, 0, AT(buffer), 5000, 0, RIGHT_READ, 0, 0, AT(&moved)));

    EXPECT(SUCCESS, write_text(fd, "text"));
    EXPECT(SUCCESS, path_open(DIR, 0, PATH("new"), OPEN_TRUNCATE, both, 0, 0, AT(&moved)));
    IS(stat_of(DIR, "new", 0).size == 0);
    EXPECT(SUCCESS, fd_close(moved));
    EXPECT(SUCCESS, fd_close(fd));
    EXPECT(BADF, fd_close(fd));
}

static void reading_and_writing(void) {
    u32 fd = create("data");
    EXPECT(SUCCESS, write_text(fd, "0123456789"));
    IS(moved == 10);
    EXPECT(SUCCESS, fd_tell(fd, AT(&position)));
    IS(position == 10);
    EXPECT(SUCCESS, read_some(fd, 10));
    IS(moved == 0); // the end

    EXPECT(SUCCESS, fd_seek(fd, 2, SET, AT(&position)));
    IS(position == 2);
    iovec parts[3] = {{AT(buffer), 3}, {AT(buffer), 0}, {AT(buffer) + 3, 4}};
    EXPECT(SUCCESS, fd_read(fd, AT(parts), 3, AT(&moved)));
    IS(moved == 7 && same(buffer, "2345678", 7));
    EXPECT(SUCCESS, fd_seek(fd, -1, END, AT(&position)));
    IS(position == 9);
    EXPECT(SUCCESS, fd_seek(fd, -2, CUR, AT(&position)));
    IS(position == 7);
    EXPECT(INVAL, fd_seek(fd, -8, CUR, AT(&position)));
    EXPECT(INVAL, fd_seek(fd, -1, SET, AT(&position)));
    EXPECT(INVAL, fd_seek(fd, 0, 3, AT(&position)));
    EXPECT(BADF, fd_seek(NONE, 0, SET, AT(&position)));
    EXPECT(FAULT, fd_seek(fd, 0, SET, OUTSIDE));
    EXPECT(ISDIR, fd_seek(DIR, 0, SET, AT(&position)));
    EXPECT(SPIPE, fd_seek(STDIN, 0, CUR, AT(&position)));
    EXPECT(SPIPE, fd_tell(STDIN, AT(&position)));
    EXPECT(BADF, fd_tell(NONE, AT(&position)));
    EXPECT(FAULT, fd_tell(fd, OUTSIDE));
    EXPECT(SUCCESS, fd_tell(fd, AT(&position)));
    IS(position == 7);

    // With an offset the position stays.
    EXPECT(SUCCESS, fd_pread(fd, AT(parts), 1, 8, AT(&moved)));
    IS(moved == 2 && same(buffer, "89", 2));
    EXPECT(SUCCESS, fd_pread(fd, AT(parts), 1, 100, AT(&moved)));
    IS(moved == 0);
    iovec text = {AT("ab"), 2};
    EXPECT(SUCCESS, fd_pwrite(fd, AT(&text), 1, 1, AT(&moved)));
    EXPECT(SUCCESS, fd_tell(fd, AT(&position)));
    IS(moved == 2 && position == 7);
    EXPECT(SUCCESS, fd_pread(fd, AT(parts), 1, 0, AT(&moved)));
    IS(same(buffer, "0ab", 3));
    EXPECT(INVAL, fd_pread(fd, AT(parts), 1, ~0ull, AT(&moved)));
    EXPECT(INVAL, fd_pwrite(fd, AT(&text), 1, ~0ull, AT(&moved)));
    EXPECT(SPIPE, fd_pread(STDIN, AT(parts), 1, 0, AT(&moved)));
    EXPECT(SPIPE, fd_pwrite(STDOUT, AT(&text), 1, 0, AT(&moved)));
    EXPECT(ISDIR, fd_pread(DIR, AT(parts), 1, 0, AT(&moved)));
    EXPECT(ISDIR, fd_pwrite(DIR, AT(&text), 1, 0, AT(&moved)));
    EXPECT(BADF, fd_pread(NONE, AT(parts), 1, 0, AT(&moved)));
    EXPECT(BADF, fd_pwrite(NONE, AT(&text), 1, 0, AT(&moved)));

    // Writing behind the end leaves zeros in between.
    EXPECT(SUCCESS, fd_pwrite(fd, AT(&text), 1, 5000, AT(&moved)));
    IS(stat_of(DIR, "data", 0).size == 5002);
    EXPECT(SUCCESS, fd_pread(fd, AT(parts), 1, 4000, AT(&moved)));
    IS(moved == 3 && same(buffer, "\0\0\0", 3));

    // What is not there, or not in memory.
    EXPECT(BADF, read_some(NONE, 1));
    EXPECT(ISDIR, read_some(DIR, 1));
    EXPECT(ISDIR, write_text(DIR, "x"));
    EXPECT(BADF, fd_read(NONE, AT(parts), 1, AT(&moved)));
    EXPECT(BADF, fd_write(NONE, AT(parts), 1, AT(&moved)));
    EXPECT(ISDIR, fd_read(DIR, AT(parts), 1, AT(&moved)));
    EXPECT(ISDIR, fd_write(DIR, AT(parts), 1, AT(&moved)));
    iovec bad = {OUTSIDE, 100};
    EXPECT(FAULT, fd_read(fd, AT(&bad), 1, AT(&moved)));
    EXPECT(FAULT, fd_read(fd, OUTSIDE, 4, AT(&moved)));
    EXPECT(FAULT, fd_read(fd, AT(parts), 1, OUTSIDE));
    EXPECT(FAULT, fd_write(fd, AT(&bad), 1, AT(&moved)));
    EXPECT(FAULT, fd_write(fd, AT(parts), 1, OUTSIDE));
    EXPECT(FAULT, fd_pread(fd, AT(&bad), 1, 0, AT(&moved)));
    EXPECT(FAULT, fd_pwrite(fd, AT(&bad), 1, 0, AT(&moved)));
    EXPECT(SUCCESS, fd_close(fd));

    // Opened for one thing only.
    u32 reads = open_as(DIR, "data", 0, RIGHT_READ, 0), writes = open_as(DIR, "data", 0, RIGHT_WRITE, 0);
    EXPECT(BADF, fd_write(reads, AT(parts), 1, AT(&moved)));
    EXPECT(BADF, fd_pwrite(reads, AT(parts), 1, 0, AT(&moved)));
    EXPECT(BADF, fd_read(writes, AT(parts), 1, AT(&moved)));
    EXPECT(BADF, fd_pread(writes, AT(parts), 1, 0, AT(&moved)));
    EXPECT(INVAL, fd_filestat_set_size(reads, 0));
    EXPECT(BADF, fd_allocate(reads, 0, 1));
    EXPECT(SUCCESS, fd_close(reads));
    EXPECT(SUCCESS, fd_close(writes));
}

static void appending(void) {
    EXPECT(SUCCESS, fd_close(create("log")));
    u32 fd = open_as(DIR, "log", 0, RIGHT_READ | RIGHT_WRITE, FLAG_APPEND);
    EXPECT(SUCCESS, write_text(fd, "one "));
    EXPECT(SUCCESS, fd_seek(fd, 0, SET, AT(&position)));
    EXPECT(SUCCESS, write_text(fd, "two"));
    EXPECT(SUCCESS, fd_tell(fd, AT(&position)));
    IS(position == 7 && stat_of(DIR, "log", 0).size == 7);
    iovec text = {AT("ONE"), 3};
    EXPECT(SUCCESS, fd_pwrite(fd, AT(&text), 1, 0, AT(&moved))); // an offset counts all the same
    IS(stat_of(DIR, "log", 0).size == 7);
    fdstat stat;
    EXPECT(SUCCESS, fd_fdstat_get(fd, AT(&stat)));
    IS(stat.kind == KIND_FILE && stat.flags == FLAG_APPEND);
    EXPECT(SUCCESS, fd_fdstat_set_flags(fd, 0));
    EXPECT(SUCCESS, fd_seek(fd, 0, SET, AT(&position)));
    EXPECT(SUCCESS, write_text(fd, "1"));
    IS(stat_of(DIR, "log", 0).size == 7);
    EXPECT(INVAL, fd_fdstat_set_flags(fd, FLAG_SYNC)); // only opening sets it
    EXPECT(INVAL, fd_fdstat_set_flags(fd, 32));
    EXPECT(BADF, fd_fdstat_set_flags(NONE, 0));
    EXPECT(BADF, fd_fdstat_get(NONE, AT(&stat)));
    EXPECT(FAULT, fd_fdstat_get(fd, OUTSIDE));
    EXPECT(SUCCESS, fd_close(fd));
    fd = open_as(DIR, "log", 0, RIGHT_WRITE, FLAG_SYNC | FLAG_DSYNC);
    EXPECT(SUCCESS, fd_fdstat_get(fd, AT(&stat)));
    IS(stat.flags == (FLAG_SYNC | FLAG_DSYNC));
    EXPECT(SUCCESS, write_text(fd, "x"));
    EXPECT(SUCCESS, fd_close(fd));
}

static void size_and_room(void) {
    u32 fd = create("sized");
    EXPECT(SUCCESS, fd_filestat_set_size(fd, 1000));
    IS(stat_of(DIR, "sized", 0).size == 1000);
    EXPECT(SUCCESS, fd_filestat_set_size(fd, 10));
    IS(stat_of(DIR, "sized", 0).size == 10);
    EXPECT(INVAL, fd_filestat_set_size(fd, ~0ull));
    EXPECT(BADF, fd_filestat_set_size(NONE, 0));
    EXPECT(ISDIR, fd_filestat_set_size(DIR, 0));
    EXPECT(SPIPE, fd_filestat_set_size(STDOUT, 0));
    EXPECT(SUCCESS, fd_allocate(fd, 0, 5));
    IS(stat_of(DIR, "sized", 0).size == 10);
    EXPECT(SUCCESS, fd_allocate(fd, 10, 90));
    IS(stat_of(DIR, "sized", 0).size == 100);
    EXPECT(INVAL, fd_allocate(fd, 0, 0));
    EXPECT(BADF, fd_allocate(NONE, 0, 1));
    EXPECT(ISDIR, fd_allocate(DIR, 0, 1));
    for (u32 advice = 0; advice < 6; advice++) EXPECT(SUCCESS, fd_advise(fd, 0, 100, advice));
    EXPECT(INVAL, fd_advise(fd, 0, 100, 6));
    EXPECT(BADF, fd_advise(NONE, 0, 100, 0));
    EXPECT(ISDIR, fd_advise(DIR, 0, 0, 0));
    EXPECT(SPIPE, fd_advise(STDIN, 0, 0, 0));
    EXPECT(SUCCESS, fd_sync(fd));
    EXPECT(SUCCESS, fd_datasync(fd));
    EXPECT(SUCCESS, fd_sync(DIR));
    EXPECT(BADF, fd_sync(NONE));
    EXPECT(BADF, fd_datasync(NONE));
    EXPECT(INVAL, fd_sync(STDIN));
    EXPECT(INVAL, fd_datasync(STDIN));
    EXPECT(SUCCESS, fd_close(fd));
}

static void times(void) {
    u32 fd = create("timed");
    filestat stat;
    u64 second = 1000000000;
    EXPECT(SUCCESS, fd_filestat_set_times(fd, 5 * second + 7, 6 * second, TIME_ACCESSED | TIME_MODIFIED));
    EXPECT(SUCCESS, fd_filestat_get(fd, AT(&stat)));
    IS(stat.accessed == 5 * second + 7 && stat.modified == 6 * second && stat.kind == KIND_FILE && stat.links == 1);
    EXPECT(SUCCESS, fd_filestat_set_times(fd, 0, 9 * second, TIME_MODIFIED)); // the other stays
    EXPECT(SUCCESS, fd_filestat_get(fd, AT(&stat)));
    IS(stat.accessed == 5 * second + 7 && stat.modified == 9 * second);
    EXPECT(SUCCESS, fd_filestat_set_times(fd, 0, 0, TIME_MODIFIED_NOW));
    EXPECT(SUCCESS, fd_filestat_get(fd, AT(&stat)));
    IS(stat.modified > 1577836800 * second);
    EXPECT(INVAL, fd_filestat_set_times(fd, 0, 0, TIME_ACCESSED | TIME_ACCESSED_NOW));
    EXPECT(INVAL, fd_filestat_set_times(fd, 0, 0, TIME_MODIFIED | TIME_MODIFIED_NOW));
    EXPECT(INVAL, fd_filestat_set_times(fd, 0, 0, 16));
    EXPECT(BADF, fd_filestat_set_times(NONE, 0, 0, TIME_ACCESSED));
    EXPECT(INVAL, fd_filestat_set_times(STDIN, 0, 0, TIME_ACCESSED));
    EXPECT(BADF, fd_filestat_get(NONE, AT(&stat)));
    EXPECT(FAULT, fd_filestat_get(fd, OUTSIDE));

    EXPECT(SUCCESS, path_filestat_set_times(DIR, 0, PATH("timed"), 3 * second, 4 * second, TIME_ACCESSED | TIME_MODIFIED));
    EXPECT(SUCCESS, path_filestat_get(DIR, 0, PATH("timed"), AT(&stat)));
    IS(stat.accessed == 3 * second && stat.modified == 4 * second && stat.size == 0);
    EXPECT(NOENT, path_filestat_set_times(DIR, 0, PATH("missing"), 0, 0, TIME_ACCESSED));
    EXPECT(INVAL, path_filestat_set_times(DIR, 0, PATH("timed"), 0, 0, TIME_ACCESSED | TIME_ACCESSED_NOW));
    EXPECT(BADF, path_filestat_set_times(NONE, 0, PATH("timed"), 0, 0, TIME_ACCESSED));
    EXPECT(NOTDIR, path_filestat_set_times(fd, 0, PATH("timed"), 0, 0, TIME_ACCESSED));
    EXPECT(FAULT, path_filestat_set_times(DIR, 0, OUTSIDE, 100, 0, 0, TIME_ACCESSED));
    EXPECT(NOENT, path_filestat_get(DIR, 0, PATH("missing"), AT(&stat)));
    EXPECT(NOTDIR, path_filestat_get(DIR, 0, PATH("timed/x"), AT(&stat)));
    EXPECT(BADF, path_filestat_get(NONE, 0, PATH("timed"), AT(&stat)));
    EXPECT(NOTDIR, path_filestat_get(fd, 0, PATH("timed"), AT(&stat)));
    EXPECT(FAULT, path_filestat_get(DIR, 0, PATH("timed"), OUTSIDE));
    EXPECT(SUCCESS, fd_close(fd));
}

void _start(void) {
    opening();
    reading_and_writing();
    appending();
    size_and_room();
    times();
    finish();
}
