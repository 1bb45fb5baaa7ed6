// Every way out of the granted directory that a path can describe. The host made, outside of it, a file `secret` and a directory
// `outside`, and inside of it links to them: `link-up`, `link-absolute`, `link-dir`, `link-chain` (over two links inside).
//
// The host looks afterwards: outside nothing may have changed.
#include "check.h"

static const char *const ways[] = {
    "../secret", "./../secret", "inside/../../secret", "/etc/passwd", "/", "..", "../", "../.", "inside/../..",
    "//secret", "link-up", "link-absolute", "link-dir/file", "link-chain", "link-dir/../secret", "/../secret",
};
enum { WAYS = sizeof ways / sizeof ways[0] };

void _start(void) {
    EXPECT(SUCCESS, path_create_directory(DIR, PATH("inside")));
    EXPECT(SUCCESS, fd_close(create("mine")));
    u32 inside = open_as(DIR, "inside", OPEN_DIRECTORY, 0, 0);
    EXPECT(PERM, path_open(DIR, FOLLOW, PATH("../secret"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(PERM, path_open(DIR, FOLLOW, PATH("link-up"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(PERM, path_open(DIR, FOLLOW, PATH("/etc/passwd"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(PERM, path_open(inside, FOLLOW, PATH("../mine"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(PERM, path_filestat_get(DIR, FOLLOW, PATH("../secret"), AT(buffer)));
    EXPECT(PERM, path_filestat_set_times(DIR, FOLLOW, PATH("../secret"), 0, 0, TIME_ACCESSED));
    EXPECT(PERM, path_create_directory(DIR, PATH("../made")));
    EXPECT(PERM, path_remove_directory(DIR, PATH("../outside")));
    EXPECT(PERM, path_unlink_file(DIR, PATH("../secret")));
    EXPECT(PERM, path_rename(DIR, PATH("../secret"), DIR, PATH("stolen")));
    EXPECT(PERM, path_rename(DIR, PATH("mine"), DIR, PATH("../given")));
    EXPECT(PERM, path_link(DIR, 0, PATH("../secret"), DIR, PATH("stolen")));
    EXPECT(PERM, path_link(DIR, 0, PATH("mine"), DIR, PATH("../given")));
    EXPECT(PERM, path_symlink(PATH("mine"), DIR, PATH("../given")));
    EXPECT(PERM, path_symlink(PATH("/etc"), DIR, PATH("made-absolute")));
    EXPECT(PERM, path_readlink(DIR, PATH("../link"), AT(buffer), 100, AT(&moved)));

    // Each way with each function that follows it. Which error it is may differ; that it is one may not.
    u64 both = RIGHT_READ | RIGHT_WRITE;
    for (u32 i = 0; i < WAYS; i++) {
        u32 path = AT(ways[i]), len = length(ways[i]);
        for (u32 how = 0; how < 16; how++) {
            IS(path_open(DIR, FOLLOW, path, len, how, both, 0, 0, AT(&moved)) != 0);
            IS(path_open(DIR, FOLLOW, path, len, how, RIGHT_READ, 0, 0, AT(&moved)) != 0);
            IS(path_open(DIR, FOLLOW, path, len, how, 0, 0, 0, AT(&moved)) != 0);
        }
        IS(path_filestat_get(DIR, FOLLOW, path, len, AT(buffer)) != 0);
        IS(path_filestat_set_times(DIR, FOLLOW, path, len, 0, 0, TIME_ACCESSED) != 0);
        IS(path_create_directory(DIR, path, len) != 0);
        IS(path_remove_directory(DIR, path, len) != 0);
        IS(path_symlink(PATH("mine"), DIR, path, len) != 0);
        IS(path_link(DIR, 0, PATH("mine"), DIR, path, len) != 0);
    }

    // Links made here cannot lead out either, however they come about.
    EXPECT(SUCCESS, path_symlink(PATH("../secret"), DIR, PATH("relative")));
    EXPECT(PERM, path_open(DIR, FOLLOW, PATH("relative"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, path_symlink(PATH("../mine"), DIR, PATH("inside/up")));
    EXPECT(SUCCESS, path_open(DIR, FOLLOW, PATH("inside/up"), 0, RIGHT_READ, 0, 0, AT(&moved))); // within DIR it is fine
    EXPECT(SUCCESS, fd_close(moved));
    EXPECT(PERM, path_open(inside, FOLLOW, PATH("up"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, path_rename(DIR, PATH("inside/up"), DIR, PATH("up"))); // now it would lead out
    EXPECT(PERM, path_open(DIR, FOLLOW, PATH("up"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, path_symlink(PATH(".."), DIR, PATH("dots")));
    EXPECT(PERM, path_open(DIR, FOLLOW, PATH("dots/secret"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(PERM, path_open(DIR, FOLLOW, PATH("dots/"), OPEN_DIRECTORY, 0, 0, 0, AT(&moved)));
    // A slash behind a link that leads out, for functions that do not follow links.
    EXPECT(PERM, path_open(DIR, 0, PATH("link-dir/"), OPEN_DIRECTORY, 0, 0, 0, AT(&moved)));
    IS(path_rename(DIR, PATH("mine"), DIR, PATH("link-dir/")) != 0);
    IS(path_create_directory(DIR, PATH("link-dir/")) != 0);
    IS(path_filestat_get(DIR, 0, PATH("link-dir/"), AT(buffer)) != 0);
    // The link itself may be renamed and removed: it is inside.
    EXPECT(SUCCESS, path_rename(DIR, PATH("link-up"), DIR, PATH("renamed")));
    EXPECT(SUCCESS, path_unlink_file(DIR, PATH("renamed")));
    // A directory that is moved while a descriptor is open stays where the descriptor leads.
    EXPECT(SUCCESS, path_rename(DIR, PATH("inside"), DIR, PATH("moved")));
    EXPECT(PERM, path_open(inside, FOLLOW, PATH("../mine"), 0, RIGHT_READ, 0, 0, AT(&moved)));
    EXPECT(SUCCESS, fd_close(inside));
    finish();
}
