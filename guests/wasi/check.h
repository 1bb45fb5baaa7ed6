// WASI preview 1 as it is imported, without a C library in between, and what the programs of this folder check with.
//
// A program makes calls with EXPECT(ERRNO, call) and holds what they did against IS(condition). Each that does not hold is a
// line on the standard error; the exit code says whether there was one. Which errors of which functions are checked is read from
// these lines, too: see `table.py`.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) extern u32 name

// Addresses are numbers, so that impossible ones can be passed.
IMPORT(args_get)(u32 pointers, u32 buffer);
IMPORT(args_sizes_get)(u32 count, u32 size);
IMPORT(environ_get)(u32 pointers, u32 buffer);
IMPORT(environ_sizes_get)(u32 count, u32 size);
IMPORT(clock_res_get)(u32 clock, u32 result);
IMPORT(clock_time_get)(u32 clock, u64 precision, u32 result);
IMPORT(fd_advise)(u32 fd, u64 offset, u64 len, u32 advice);
IMPORT(fd_allocate)(u32 fd, u64 offset, u64 len);
IMPORT(fd_close)(u32 fd);
IMPORT(fd_datasync)(u32 fd);
IMPORT(fd_fdstat_get)(u32 fd, u32 result);
IMPORT(fd_fdstat_set_flags)(u32 fd, u32 flags);
IMPORT(fd_fdstat_set_rights)(u32 fd, u64 base, u64 inheriting);
IMPORT(fd_filestat_get)(u32 fd, u32 result);
IMPORT(fd_filestat_set_size)(u32 fd, u64 size);
IMPORT(fd_filestat_set_times)(u32 fd, u64 accessed, u64 modified, u32 flags);
IMPORT(fd_pread)(u32 fd, u32 iovs, u32 count, u64 offset, u32 result);
IMPORT(fd_prestat_get)(u32 fd, u32 result);
IMPORT(fd_prestat_dir_name)(u32 fd, u32 buffer, u32 len);
IMPORT(fd_pwrite)(u32 fd, u32 iovs, u32 count, u64 offset, u32 result);
IMPORT(fd_read)(u32 fd, u32 iovs, u32 count, u32 result);
IMPORT(fd_readdir)(u32 fd, u32 buffer, u32 len, u64 cookie, u32 result);
IMPORT(fd_renumber)(u32 fd, u32 to);
IMPORT(fd_seek)(u32 fd, s64 offset, u32 whence, u32 result);
IMPORT(fd_sync)(u32 fd);
IMPORT(fd_tell)(u32 fd, u32 result);
IMPORT(fd_write)(u32 fd, u32 iovs, u32 count, u32 result);
IMPORT(path_create_directory)(u32 fd, u32 path, u32 len);
IMPORT(path_filestat_get)(u32 fd, u32 flags, u32 path, u32 len, u32 result);
IMPORT(path_filestat_set_times)(u32 fd, u32 flags, u32 path, u32 len, u64 accessed, u64 modified, u32 set);
IMPORT(path_link)(u32 fd, u32 flags, u32 path, u32 len, u32 new_fd, u32 new_path, u32 new_len);
IMPORT(path_open)(u32 fd, u32 flags, u32 path, u32 len, u32 open, u64 base, u64 inheriting, u32 fd_flags, u32 result);
IMPORT(path_readlink)(u32 fd, u32 path, u32 len, u32 buffer, u32 size, u32 result);
IMPORT(path_remove_directory)(u32 fd, u32 path, u32 len);
IMPORT(path_rename)(u32 fd, u32 path, u32 len, u32 new_fd, u32 new_path, u32 new_len);
IMPORT(path_symlink)(u32 target, u32 target_len, u32 fd, u32 path, u32 len);
IMPORT(path_unlink_file)(u32 fd, u32 path, u32 len);
IMPORT(poll_oneoff)(u32 subscriptions, u32 events, u32 count, u32 result);
IMPORT(proc_raise)(u32 signal);
IMPORT(random_get)(u32 buffer, u32 len);
IMPORT(sched_yield)(void);
IMPORT(sock_accept)(u32 fd, u32 flags, u32 result);
IMPORT(sock_recv)(u32 fd, u32 iovs, u32 count, u32 flags, u32 result, u32 result_flags);
IMPORT(sock_send)(u32 fd, u32 iovs, u32 count, u32 flags, u32 result);
IMPORT(sock_shutdown)(u32 fd, u32 how);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"))) extern void proc_exit(u32 code)
    __attribute__((noreturn));

// The numbers of the contract. There are more errors; these are the ones checked for.
enum {
    SUCCESS = 0, AGAIN = 6, BADF = 8, EXIST = 20, FAULT = 21, FBIG = 22, ILSEQ = 25, INVAL = 28, ISDIR = 31, LOOP = 32,
    MFILE = 33, NAMETOOLONG = 37, NOENT = 44, NOSPC = 51, NOTDIR = 54, NOTEMPTY = 55, NOTSOCK = 57, NOTSUP = 58, NXIO = 60,
    PERM = 63, PIPE = 64, SPIPE = 70, XDEV = 75, NOTCAPABLE = 76,
};
enum { OPEN_CREATE = 1, OPEN_DIRECTORY = 2, OPEN_EXCLUSIVE = 4, OPEN_TRUNCATE = 8 };
enum { FLAG_APPEND = 1, FLAG_DSYNC = 2, FLAG_NONBLOCK = 4, FLAG_RSYNC = 8, FLAG_SYNC = 16 };
enum { SET = 0, CUR = 1, END = 2 };
enum { FOLLOW = 1 };
enum { TIME_ACCESSED = 1, TIME_ACCESSED_NOW = 2, TIME_MODIFIED = 4, TIME_MODIFIED_NOW = 8 };
enum { KIND_CHARACTER = 2, KIND_DIRECTORY = 3, KIND_FILE = 4, KIND_STREAM_SOCKET = 6, KIND_LINK = 7 };
#define RIGHT(bit) (1ull << (bit))
#define RIGHT_DATASYNC RIGHT(0)
#define RIGHT_READ RIGHT(1)
#define RIGHT_SEEK RIGHT(2)
#define RIGHT_TELL RIGHT(5)
#define RIGHT_WRITE RIGHT(6)
#define RIGHT_READDIR RIGHT(14)
#define RIGHT_FILESTAT_GET RIGHT(21)

// What the embedder granted: a directory to do anything in, one to read only, and then sockets if there are any.
enum { STDIN = 0, STDOUT = 1, STDERR = 2, DIR = 3, READ_ONLY = 4, SOCKET = 5, NONE = 999 };

// An address that is outside of the memory, or whose end is.
#define OUTSIDE 0xfffffff0u

#define AT(place) ((u32)(unsigned long)(place))
#define PATH(text) AT(text), (u32)(sizeof(text) - 1)

typedef struct { u32 at, len; } iovec;
typedef struct { u64 device, inode; u8 kind; u64 links, size, accessed, modified, changed; } filestat;
typedef struct { u8 kind; u16 flags; u64 base, inheriting; } fdstat;
typedef struct { u64 next, inode; u32 name_len; u8 kind; } dirent;
typedef struct { u64 userdata; u8 kind; _Alignas(8) u32 subject; u64 timeout, precision; u16 flags; } subscription;
typedef struct { u64 userdata; u16 error; u8 kind; u64 bytes; u16 flags; } event;

static u32 failures;
static u32 moved; // what the last call said it moved, or the descriptor it gave
static u64 position;
static u8 buffer[8192];

static u32 length(const char *text) {
    u32 len = 0;
    while (text[len]) len++;
    return len;
}

__attribute__((unused)) static int same(const void *a, const void *b, u32 len) {
    for (u32 i = 0; i < len; i++)
        if (((const u8 *)a)[i] != ((const u8 *)b)[i]) return 0;
    return 1;
}

static void say(const char *text) {
    iovec part = {AT(text), length(text)};
    u32 written;
    fd_write(STDERR, AT(&part), 1, AT(&written));
}

static void say_number(u32 number) {
    char digits[12];
    u32 at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = '0' + number % 10; while (number /= 10);
    say(digits + at);
}

static void complain(const char *file, u32 line, const char *what) {
    failures++;
    say(file), say(":"), say_number(line), say(": "), say(what);
}

static void expect(u32 got, u32 expected, const char *file, u32 line, const char *what) {
    if (got == expected) return;
    complain(file, line, what);
    say(" gave "), say_number(got), say(", expected "), say_number(expected), say("\n");
}

// The call gives this error.
#define EXPECT(error, call) expect(call, error, __FILE_NAME__, __LINE__, #call)
// This holds.
#define IS(condition) ((condition) ? (void)0 : (complain(__FILE_NAME__, __LINE__, #condition), say(" does not hold\n")))

static void finish(void) { proc_exit(failures != 0); }

// Shorthands for what programs do all the time.

__attribute__((unused)) static u32 open_as(u32 dir, const char *path, u32 how, u64 rights, u32 flags) {
    u32 error = path_open(dir, FOLLOW, AT(path), length(path), how, rights, ~0ull >> 34, flags, AT(&moved));
    return error ? NONE : moved;
}

__attribute__((unused)) static u32 create(const char *path) {
    return open_as(DIR, path, OPEN_CREATE | OPEN_TRUNCATE, RIGHT_READ | RIGHT_WRITE, 0);
}

__attribute__((unused)) static u32 write_text(u32 fd, const char *text) {
    iovec part = {AT(text), length(text)};
    return fd_write(fd, AT(&part), 1, AT(&moved));
}

__attribute__((unused)) static u32 read_some(u32 fd, u32 len) {
    iovec part = {AT(buffer), len};
    return fd_read(fd, AT(&part), 1, AT(&moved));
}

__attribute__((unused)) static filestat stat_of(u32 dir, const char *path, u32 flags) {
    filestat stat = {0};
    path_filestat_get(dir, flags, AT(path), length(path), AT(&stat));
    return stat;
}
