// Directories and what has names in them: making, listing, renaming, links, removing; what was granted.
#include "check.h"

static void granted(void) {
    struct { u8 kind; u32 len; } prestat;
    EXPECT(SUCCESS, fd_prestat_get(DIR, AT(&prestat)));
    IS(prestat.kind == 0 && prestat.len == 5);
    EXPECT(SUCCESS, fd_prestat_dir_name(DIR, AT(buffer), 5));
    IS(same(buffer, "/data", 5));
    EXPECT(NAMETOOLONG, fd_prestat_dir_name(DIR, AT(buffer), 4));
    EXPECT(BADF, fd_prestat_get(STDIN, AT(&prestat)));
    EXPECT(BADF, fd_prestat_get(NONE, AT(&prestat)));
    EXPECT(FAULT, fd_prestat_get(DIR, OUTSIDE));
    EXPECT(BADF, fd_prestat_dir_name(NONE, AT(buffer), 5));
    EXPECT(FAULT, fd_prestat_dir_name(DIR, OUTSIDE, 100));
    fdstat stat;
    EXPECT(SUCCESS, fd_fdstat_get(DIR, AT(&stat)));
    IS(stat.kind == KIND_DIRECTORY && stat.base & RIGHT_READDIR && stat.inheriting & RIGHT_READ);
}

static void making_and_removing(void) {
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("d")));
    EXPECT(EXIST, path_create_directory(DIR, PATH("d")));
    EXPECT(EXIST, path_create_directory(DIR, PATH("d/")));
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("d/e/")));
    EXPECT(NOENT, path_create_directory(DIR, PATH("missing/e")));
    EXPECT(BADF, path_create_directory(NONE, PATH("x")));
    EXPECT(NOTDIR, path_create_directory(STDIN, PATH("x")));
    EXPECT(FAULT, path_create_directory(DIR, OUTSIDE, 100));
    EXPECT(NOTEMPTY, path_remove_directory(DIR, PATH("d")));
    EXPECT(ISDIR, path_unlink_file(DIR, PATH("d/e")));
    EXPECT(SUCCESS, path_remove_directory(DIR, PATH("d/e/")));
    EXPECT(NOENT, path_remove_directory(DIR, PATH("d/e")));
    EXPECT(SUCCESS, fd_close(create("d/f")));
    EXPECT(NOTDIR, path_remove_directory(DIR, PATH("d/f")));
    EXPECT(NOTDIR, path_unlink_file(DIR, PATH("d/f/")));
    EXPECT(BADF, path_remove_directory(NONE, PATH("d")));
    EXPECT(FAULT, path_remove_directory(DIR, OUTSIDE, 100));
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("d/f")));
    EXPECT(NOENT, path_unlink_file(DIR, PATH("d/f")));
    EXPECT(BADF, path_unlink_file(NONE, PATH("d")));
    EXPECT(NOTDIR, path_unlink_file(STDIN, PATH("d")));
    EXPECT(FAULT, path_unlink_file(DIR, OUTSIDE, 100));

    // A directory that is gone but open.
    u32 gone = open_as(DIR, "d", OPEN_DIRECTORY, 0, 0);
    EXPECT(SUCCESS, path_remove_directory(DIR, PATH("d")));
    EXPECT(SUCCESS, fd_readdir(gone, AT(buffer), 1000, 0, AT(&moved)));
    EXPECT(NOENT, path_open(gone, 0, PATH("x"), OPEN_CREATE, RIGHT_WRITE, 0, 0, AT(&moved)));
    EXPECT(NOENT, path_create_directory(gone, PATH("x")));
    EXPECT(SUCCESS, fd_close(gone));
}

// How many entries a directory has, read with a buffer of this size; each name once.
static u32 entries(u32 fd, u32 size) {
    u64 cookie = 0;
    u32 count = 0;
    for (;;) {
        if (fd_readdir(fd, AT(buffer), size, cookie, AT(&moved))) return NONE;
        u32 at = 0;
        while (at + sizeof(dirent) <= moved) {
            dirent *entry = (dirent *)(buffer + at);
            if (at + sizeof(dirent) + entry->name_len > moved) break;
            at += sizeof(dirent) + entry->name_len;
            cookie = entry->next;
            count++;
        }
        if (moved < size) return count;
    }
}

static void listing(void) {
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("list")));
    char name[] = "list/00";
    for (u32 i = 0; i < 50; i++) {
        name[5] = '0' + i / 10, name[6] = '0' + i % 10;
        EXPECT(SUCCESS, fd_close(create(name)));
    }
    u32 fd = open_as(DIR, "list", OPEN_DIRECTORY, 0, 0);
    IS(entries(fd, 8192) == 52); // `.` and `..`, too
    IS(entries(fd, 100) == 52);
    IS(entries(fd, 26) == 52); // one at a time: two bytes of name
    EXPECT(SUCCESS, fd_readdir(fd, AT(buffer), 0, 0, AT(&moved)));
    IS(moved == 0);
    // Going on from a cookie, with files removed meanwhile.
    EXPECT(SUCCESS, fd_readdir(fd, AT(buffer), 26 * 10, 0, AT(&moved)));
    dirent *first = (dirent *)buffer;
    IS(first->name_len == 1 && buffer[sizeof(dirent)] == '.' && first->kind == KIND_DIRECTORY);
    u64 cookie = first->next;
    for (u32 i = 0; i < 50; i++) {
        name[5] = '0' + i / 10, name[6] = '0' + i % 10;
        EXPECT(SUCCESS, path_unlink_file(DIR, AT(name), 7));
    }
    EXPECT(SUCCESS, fd_readdir(fd, AT(buffer), 8192, cookie, AT(&moved)));
    IS(entries(fd, 8192) == 2);
    EXPECT(BADF, fd_readdir(NONE, AT(buffer), 100, 0, AT(&moved)));
    EXPECT(NOTDIR, fd_readdir(STDIN, AT(buffer), 100, 0, AT(&moved)));
    EXPECT(FAULT, fd_readdir(fd, OUTSIDE, 100, 0, AT(&moved)));
    EXPECT(FAULT, fd_readdir(fd, AT(buffer), 100, 0, OUTSIDE));
    EXPECT(SUCCESS, fd_close(fd));
    EXPECT(SUCCESS, path_remove_directory(DIR, PATH("list")));
}

static void renaming(void) {
    u32 fd = create("from");
    EXPECT(SUCCESS, write_text(fd, "text"));
    EXPECT(SUCCESS, fd_close(fd));
    EXPECT(SUCCESS, path_rename(DIR, PATH("from"), DIR, PATH("to")));
    EXPECT(NOENT, path_filestat_get(DIR, 0, PATH("from"), AT(buffer)));
    IS(stat_of(DIR, "to", 0).size == 4);
    EXPECT(SUCCESS, fd_close(create("other")));
    EXPECT(SUCCESS, path_rename(DIR, PATH("other"), DIR, PATH("to"))); // replaces
    IS(stat_of(DIR, "to", 0).size == 0);
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("a")));
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("b")));
    EXPECT(ISDIR, path_rename(DIR, PATH("to"), DIR, PATH("a")));
    EXPECT(NOTDIR, path_rename(DIR, PATH("a"), DIR, PATH("to")));
    EXPECT(NOTDIR, path_rename(DIR, PATH("to/"), DIR, PATH("x")));
    EXPECT(INVAL, path_rename(DIR, PATH("a"), DIR, PATH("a/inside")));
    EXPECT(SUCCESS, path_rename(DIR, PATH("a/"), DIR, PATH("b/"))); // an empty directory is replaced
    EXPECT(SUCCESS, fd_close(create("b/full")));
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("a")));
    EXPECT(NOTEMPTY, path_rename(DIR, PATH("a"), DIR, PATH("b")));
    EXPECT(NOENT, path_rename(DIR, PATH("missing"), DIR, PATH("x")));
    EXPECT(BADF, path_rename(NONE, PATH("to"), DIR, PATH("x")));
    EXPECT(BADF, path_rename(DIR, PATH("to"), NONE, PATH("x")));
    EXPECT(NOTDIR, path_rename(STDIN, PATH("to"), DIR, PATH("x")));
    EXPECT(FAULT, path_rename(DIR, OUTSIDE, 100, DIR, PATH("x")));
    EXPECT(FAULT, path_rename(DIR, PATH("to"), DIR, OUTSIDE, 100));
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("b/full")));
    EXPECT(SUCCESS, path_remove_directory(DIR, PATH("a")));
    EXPECT(SUCCESS, path_remove_directory(DIR, PATH("b")));
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("to")));
}

static void links(void) {
    u32 fd = create("file");
    EXPECT(SUCCESS, write_text(fd, "text"));
    EXPECT(SUCCESS, path_link(DIR, 0, PATH("file"), DIR, PATH("hard")));
    IS(stat_of(DIR, "hard", 0).links == 2 && stat_of(DIR, "hard", 0).inode == stat_of(DIR, "file", 0).inode);
    EXPECT(EXIST, path_link(DIR, 0, PATH("file"), DIR, PATH("hard")));
    EXPECT(NOENT, path_link(DIR, 0, PATH("missing"), DIR, PATH("x")));
    EXPECT(PERM, path_link(DIR, 0, PATH("."), DIR, PATH("x")));
    EXPECT(INVAL, path_link(DIR, 2, PATH("file"), DIR, PATH("x")));
    EXPECT(BADF, path_link(NONE, 0, PATH("file"), DIR, PATH("x")));
    EXPECT(BADF, path_link(DIR, 0, PATH("file"), NONE, PATH("x")));
    EXPECT(NOTDIR, path_link(fd, 0, PATH("file"), DIR, PATH("x")));
    EXPECT(FAULT, path_link(DIR, 0, OUTSIDE, 100, DIR, PATH("x")));
    EXPECT(FAULT, path_link(DIR, 0, PATH("file"), DIR, OUTSIDE, 100));

    EXPECT(SUCCESS, path_symlink(PATH("file"), DIR, PATH("soft")));
    EXPECT(EXIST, path_symlink(PATH("file"), DIR, PATH("soft")));
    EXPECT(SUCCESS, path_symlink(PATH("nowhere"), DIR, PATH("dangling")));
    EXPECT(SUCCESS, path_symlink(PATH("loop"), DIR, PATH("loop")));
    EXPECT(BADF, path_symlink(PATH("file"), NONE, PATH("x")));
    EXPECT(NOTDIR, path_symlink(PATH("file"), fd, PATH("x")));
    EXPECT(NOENT, path_symlink(PATH("file"), DIR, PATH("missing/x")));
    EXPECT(FAULT, path_symlink(OUTSIDE, 100, DIR, PATH("x")));
    EXPECT(FAULT, path_symlink(PATH("file"), DIR, OUTSIDE, 100));
    EXPECT(SUCCESS, path_link(DIR, FOLLOW, PATH("soft"), DIR, PATH("through")));
    IS(stat_of(DIR, "through", 0).kind == KIND_FILE && stat_of(DIR, "file", 0).links == 3);
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("through")));
    IS(stat_of(DIR, "soft", FOLLOW).kind == KIND_FILE && stat_of(DIR, "soft", 0).kind == KIND_LINK);
    EXPECT(SUCCESS, path_readlink(DIR, PATH("soft"), AT(buffer), 100, AT(&moved)));
    IS(moved == 4 && same(buffer, "file", 4));
    EXPECT(SUCCESS, path_readlink(DIR, PATH("soft"), AT(buffer), 2, AT(&moved))); // cut
    IS(moved == 2);
    EXPECT(INVAL, path_readlink(DIR, PATH("file"), AT(buffer), 100, AT(&moved)));
    EXPECT(NOENT, path_readlink(DIR, PATH("missing"), AT(buffer), 100, AT(&moved)));
    EXPECT(BADF, path_readlink(NONE, PATH("soft"), AT(buffer), 100, AT(&moved)));
    EXPECT(NOTDIR, path_readlink(fd, PATH("soft"), AT(buffer), 100, AT(&moved)));
    EXPECT(FAULT, path_readlink(DIR, PATH("soft"), OUTSIDE, 100, AT(&moved)));
    EXPECT(FAULT, path_readlink(DIR, PATH("soft"), AT(buffer), 100, OUTSIDE));

    EXPECT(SUCCESS, path_open(DIR, FOLLOW, PATH("soft"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, fd_close(moved));
    EXPECT(LOOP, path_open(DIR, 0, PATH("soft"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(LOOP, path_open(DIR, FOLLOW, PATH("loop"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(NOENT, path_open(DIR, FOLLOW, PATH("dangling"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(LOOP, path_filestat_get(DIR, FOLLOW, PATH("loop"), AT(buffer)));
    EXPECT(NOTDIR, path_open(DIR, FOLLOW, PATH("soft/"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(NOTDIR, path_remove_directory(DIR, PATH("soft")));
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("soft"))); // the link, not the file
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("dangling")));
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("loop")));
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("hard")));
    IS(stat_of(DIR, "file", 0).links == 1);
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("file")));
    EXPECT(SUCCESS, read_some(fd, 1)); // open, though nameless
    EXPECT(SUCCESS, fd_close(fd));
}

void _start(void) {
    granted();
    making_and_removing();
    listing();
    renaming();
    links();
    finish();
}
