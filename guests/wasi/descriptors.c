// Descriptors: numbers, renumbering, rights that only shrink, streams.
#include "check.h"

static void numbers(void) {
    u32 a = create("a"), b = create("b");
    IS(b == a + 1); // the lowest that is free
    EXPECT(SUCCESS, fd_close(a));
    IS(create("a") == a);
    EXPECT(SUCCESS, write_text(a, "first"));
    EXPECT(SUCCESS, fd_renumber(a, b)); // what was `b` is closed
    EXPECT(BADF, fd_close(a));
    filestat stat;
    EXPECT(SUCCESS, fd_filestat_get(b, AT(&stat)));
    IS(stat.size == 5);
    EXPECT(SUCCESS, fd_renumber(b, b));
    EXPECT(BADF, fd_renumber(NONE, b));
    EXPECT(BADF, fd_renumber(b, NONE));
    EXPECT(BADF, fd_renumber(b, 0xffffffff));
    EXPECT(SUCCESS, fd_filestat_get(b, AT(&stat)));
    EXPECT(SUCCESS, fd_close(b));
    EXPECT(BADF, fd_close(NONE));
    EXPECT(BADF, fd_close(0xffffffff));

    // As many as the host allows, 64 here: then an error that says so, and closing one makes room.
    EXPECT(SUCCESS, fd_close(create("many")));
    u32 error = 0, last = 0, opened = 0;
    while (!(error = path_open(DIR, 0, PATH("many"), 0, RIGHT_READ, 0, 0, AT(&moved)))) last = moved, opened++;
    IS(error == MFILE && opened > 50);
    EXPECT(MFILE, path_open(DIR, 0, PATH("not-made"), OPEN_CREATE, RIGHT_WRITE, 0, 0, AT(&moved)));
    EXPECT(NOENT, path_filestat_get(DIR, 0, PATH("not-made"), AT(&stat)));
    EXPECT(SUCCESS, fd_close(last));
    EXPECT(SUCCESS, path_open(DIR, 0, PATH("many"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    IS(moved == last);
    for (; opened; opened--) EXPECT(SUCCESS, fd_close(last--));
}

static void rights(void) {
    u32 fd = create("file");
    fdstat stat;
    EXPECT(SUCCESS, fd_fdstat_get(fd, AT(&stat)));
    IS(stat.base & RIGHT_READ && stat.base & RIGHT_WRITE && stat.base & RIGHT_SEEK);
    u64 less = RIGHT_READ | RIGHT_TELL;
    EXPECT(SUCCESS, fd_fdstat_set_rights(fd, less, 0));
    EXPECT(SUCCESS, fd_fdstat_get(fd, AT(&stat)));
    IS(stat.base == less && stat.inheriting == 0);
    EXPECT(NOTCAPABLE, fd_fdstat_set_rights(fd, less | RIGHT_WRITE, 0));
    EXPECT(NOTCAPABLE, fd_fdstat_set_rights(fd, 1ull << 63, 0));
    EXPECT(BADF, fd_fdstat_set_rights(NONE, 0, 0));
    iovec part = {AT(buffer), 1};
    EXPECT(SUCCESS, fd_read(fd, AT(&part), 1, AT(&moved)));
    EXPECT(SUCCESS, fd_tell(fd, AT(&position)));
    EXPECT(SUCCESS, fd_seek(fd, 0, CUR, AT(&position)));
    EXPECT(NOTCAPABLE, fd_seek(fd, 0, SET, AT(&position)));
    EXPECT(NOTCAPABLE, fd_write(fd, AT(&part), 1, AT(&moved)));
    EXPECT(NOTCAPABLE, fd_pread(fd, AT(&part), 1, 0, AT(&moved)));
    EXPECT(NOTCAPABLE, fd_pwrite(fd, AT(&part), 1, 0, AT(&moved)));
    EXPECT(NOTCAPABLE, fd_allocate(fd, 0, 1));
    EXPECT(NOTCAPABLE, fd_advise(fd, 0, 1, 0));
    EXPECT(NOTCAPABLE, fd_sync(fd));
    EXPECT(NOTCAPABLE, fd_datasync(fd));
    EXPECT(NOTCAPABLE, fd_filestat_get(fd, AT(buffer)));
    EXPECT(NOTCAPABLE, fd_filestat_set_size(fd, 0));
    EXPECT(NOTCAPABLE, fd_filestat_set_times(fd, 0, 0, TIME_ACCESSED));
    EXPECT(NOTCAPABLE, fd_fdstat_set_flags(fd, 0));
    EXPECT(SUCCESS, fd_fdstat_set_rights(fd, 0, 0));
    EXPECT(NOTCAPABLE, fd_read(fd, AT(&part), 1, AT(&moved)));
    EXPECT(NOTCAPABLE, fd_tell(fd, AT(&position)));
    EXPECT(SUCCESS, fd_close(fd)); // always

    // A directory passes on what it has to.
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("dir")));
    EXPECT(SUCCESS, fd_close(create("dir/file")));
    u32 dir = open_as(DIR, "dir", OPEN_DIRECTORY, 0, 0);
    EXPECT(SUCCESS, fd_fdstat_get(dir, AT(&stat)));
    EXPECT(SUCCESS, fd_fdstat_set_rights(dir, stat.base, RIGHT_READ));
    EXPECT(NOTCAPABLE, path_open(dir, 0, PATH("file"), 0, RIGHT_WRITE, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, path_open(dir, 0, PATH("file"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    u32 file = moved;
    EXPECT(SUCCESS, fd_fdstat_get(file, AT(&stat)));
    IS(stat.base == RIGHT_READ);
    EXPECT(SUCCESS, fd_close(file));
    EXPECT(SUCCESS, fd_fdstat_set_rights(dir, 0, 0));
    EXPECT(NOTCAPABLE, path_open(dir, 0, PATH("file"), 0, 0, 0, 0, AT(&moved)));
    EXPECT(NOTCAPABLE, path_create_directory(dir, PATH("x")));
    EXPECT(NOTCAPABLE, path_filestat_get(dir, 0, PATH("file"), AT(buffer)));
    EXPECT(NOTCAPABLE, path_filestat_set_times(dir, 0, PATH("file"), 0, 0, TIME_ACCESSED));
    EXPECT(NOTCAPABLE, path_link(dir, 0, PATH("file"), DIR, PATH("x")));
    EXPECT(NOTCAPABLE, path_link(DIR, 0, PATH("a"), dir, PATH("x")));
    EXPECT(NOTCAPABLE, path_readlink(dir, PATH("file"), AT(buffer), 10, AT(&moved)));
    EXPECT(NOTCAPABLE, path_remove_directory(dir, PATH("x")));
    EXPECT(NOTCAPABLE, path_rename(dir, PATH("file"), DIR, PATH("x")));
    EXPECT(NOTCAPABLE, path_rename(DIR, PATH("a"), dir, PATH("x")));
    EXPECT(NOTCAPABLE, path_symlink(PATH("x"), dir, PATH("x")));
    EXPECT(NOTCAPABLE, path_unlink_file(dir, PATH("file")));
    EXPECT(NOTCAPABLE, fd_readdir(dir, AT(buffer), 100, 0, AT(&moved)));
    EXPECT(SUCCESS, fd_close(dir));
}

static void streams(void) {
    fdstat stat;
    EXPECT(SUCCESS, fd_fdstat_get(STDIN, AT(&stat)));
    IS(stat.flags == 0 && stat.base & RIGHT_READ && !(stat.base & (RIGHT_WRITE | RIGHT_SEEK)));
    EXPECT(SUCCESS, fd_fdstat_set_flags(STDIN, FLAG_NONBLOCK));
    EXPECT(AGAIN, read_some(STDIN, 10)); // an empty pipe, here
    iovec part = {AT(buffer), 1};
    EXPECT(AGAIN, fd_read(STDIN, AT(&part), 1, AT(&moved)));
    EXPECT(SUCCESS, fd_fdstat_set_flags(STDIN, 0));
    EXPECT(INVAL, fd_fdstat_set_flags(STDIN, FLAG_APPEND));
    EXPECT(BADF, fd_write(STDIN, AT(&part), 1, AT(&moved)));
    EXPECT(BADF, fd_read(STDOUT, AT(&part), 1, AT(&moved)));
    EXPECT(SUCCESS, fd_write(STDOUT, AT(&part), 0, AT(&moved)));
    IS(moved == 0);
    // More buffers than anybody has.
    EXPECT(FAULT, fd_write(STDOUT, AT(&part), 0x7fffffff, AT(&moved)));
    EXPECT(FAULT, fd_read(STDIN, AT(&part), 0xffffffff, AT(&moved)));
}

void _start(void) {
    numbers();
    rights();
    streams();
    finish();
}
