// A directory granted for reading only: it has a file `file`, a link `link` to it, and a directory `dir`.
#include "check.h"

void _start(void) {
    u64 write = RIGHT_WRITE;
    EXPECT(SUCCESS, path_open(READ_ONLY, 0, PATH("file"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    u32 fd = moved;
    EXPECT(SUCCESS, read_some(fd, 100));
    IS(moved == 4 && same(buffer, "text", 4));
    iovec part = {AT(buffer), 1};
    EXPECT(BADF, fd_write(fd, AT(&part), 1, AT(&moved)));
    EXPECT(INVAL, fd_filestat_set_size(fd, 0));
    EXPECT(PERM, fd_filestat_set_times(fd, 0, 0, TIME_ACCESSED));
    EXPECT(SUCCESS, fd_close(fd));
    EXPECT(SUCCESS, path_open(READ_ONLY, FOLLOW, PATH("link"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, fd_close(moved));
    EXPECT(SUCCESS, path_filestat_get(READ_ONLY, 0, PATH("file"), AT(buffer)));
    EXPECT(SUCCESS, path_readlink(READ_ONLY, PATH("link"), AT(buffer), 100, AT(&moved)));
    EXPECT(SUCCESS, fd_readdir(READ_ONLY, AT(buffer), 1000, 0, AT(&moved)));

    EXPECT(PERM, path_open(READ_ONLY, 0, PATH("file"), 0, write, 0, 0, AT(&moved)));
    EXPECT(PERM, path_open(READ_ONLY, 0, PATH("file"), OPEN_TRUNCATE, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(PERM, path_open(READ_ONLY, 0, PATH("new"), OPEN_CREATE, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(PERM, path_open(READ_ONLY, 0, PATH("dir/new"), OPEN_CREATE, write, 0, 0, AT(&moved)));
    EXPECT(PERM, path_create_directory(READ_ONLY, PATH("new")));
    EXPECT(PERM, path_filestat_set_times(READ_ONLY, 0, PATH("file"), 0, 0, TIME_ACCESSED));
    EXPECT(PERM, path_remove_directory(READ_ONLY, PATH("dir")));
    EXPECT(PERM, path_unlink_file(READ_ONLY, PATH("file")));
    EXPECT(PERM, path_rename(READ_ONLY, PATH("file"), READ_ONLY, PATH("new")));
    EXPECT(PERM, path_rename(READ_ONLY, PATH("file"), DIR, PATH("new")));
    EXPECT(PERM, path_symlink(PATH("file"), READ_ONLY, PATH("new")));
    EXPECT(PERM, path_link(READ_ONLY, 0, PATH("file"), READ_ONLY, PATH("new")));
    // A second name where more is allowed would be a way to write it.
    IS(path_link(READ_ONLY, 0, PATH("file"), DIR, PATH("new")) != 0);
    EXPECT(SUCCESS, fd_close(create("mine")));
    EXPECT(PERM, path_rename(DIR, PATH("mine"), READ_ONLY, PATH("new")));
    EXPECT(PERM, path_link(DIR, 0, PATH("mine"), READ_ONLY, PATH("new")));

    // What is opened from it can do no more.
    EXPECT(SUCCESS, path_open(READ_ONLY, 0, PATH("dir"), OPEN_DIRECTORY, 0, 0, 0, AT(&moved)));
    u32 dir = moved;
    EXPECT(PERM, path_create_directory(dir, PATH("new")));
    EXPECT(PERM, path_open(dir, 0, PATH("new"), OPEN_CREATE, write, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, fd_close(dir));
    finish();
}
