// A listening socket that was granted, with a connection waiting, whose other end sends `hello`, reads `world` and closes.
#include "check.h"

void _start(void) {
    fdstat stat;
    EXPECT(SUCCESS, fd_fdstat_get(SOCKET, AT(&stat)));
    IS(stat.kind == KIND_STREAM_SOCKET);
    EXPECT(SUCCESS, sock_accept(SOCKET, 0, AT(&moved)));
    u32 fd = moved;
    EXPECT(SUCCESS, fd_fdstat_get(fd, AT(&stat)));
    IS(stat.kind == KIND_STREAM_SOCKET && stat.base & RIGHT_READ && stat.base & RIGHT_WRITE);
    EXPECT(SUCCESS, fd_fdstat_set_flags(SOCKET, FLAG_NONBLOCK));
    EXPECT(AGAIN, sock_accept(SOCKET, 0, AT(&moved)));
    EXPECT(INVAL, sock_accept(SOCKET, FLAG_APPEND, AT(&moved)));
    EXPECT(FAULT, sock_accept(SOCKET, 0, OUTSIDE));
    EXPECT(NOTSOCK, sock_accept(STDIN, 0, AT(&moved)));
    EXPECT(BADF, sock_accept(NONE, 0, AT(&moved)));

    enum { PEEK = 1, WAIT_ALL = 2 };
    iovec parts[] = {{AT(buffer), 2}, {AT(buffer) + 2, 3}};
    u16 flags;
    EXPECT(SUCCESS, sock_recv(fd, AT(parts), 2, PEEK | WAIT_ALL, AT(&moved), AT(&flags)));
    IS(moved == 5 && flags == 0 && same(buffer, "hello", 5));
    EXPECT(SUCCESS, sock_recv(fd, AT(parts), 2, WAIT_ALL, AT(&moved), AT(&flags)));
    IS(moved == 5 && same(buffer, "hello", 5));
    EXPECT(INVAL, sock_recv(fd, AT(parts), 2, 4, AT(&moved), AT(&flags)));
    EXPECT(NOTSOCK, sock_recv(DIR, AT(parts), 2, 0, AT(&moved), AT(&flags)));
    EXPECT(BADF, sock_recv(NONE, AT(parts), 2, 0, AT(&moved), AT(&flags)));
    EXPECT(FAULT, sock_recv(fd, AT(parts), 2, 0, OUTSIDE, AT(&flags)));
    EXPECT(FAULT, sock_recv(fd, AT(parts), 2, 0, AT(&moved), OUTSIDE));
    EXPECT(FAULT, sock_recv(fd, OUTSIDE, 2, 0, AT(&moved), AT(&flags)));

    iovec text = {AT("world"), 5};
    EXPECT(SUCCESS, sock_send(fd, AT(&text), 1, 0, AT(&moved)));
    IS(moved == 5);
    EXPECT(INVAL, sock_send(fd, AT(&text), 1, 1, AT(&moved)));
    EXPECT(NOTSOCK, sock_send(STDOUT, AT(&text), 1, 0, AT(&moved)));
    EXPECT(BADF, sock_send(NONE, AT(&text), 1, 0, AT(&moved)));
    EXPECT(FAULT, sock_send(fd, AT(&text), 1, 0, OUTSIDE));
    EXPECT(FAULT, sock_send(fd, OUTSIDE, 1, 0, AT(&moved)));
    EXPECT(SPIPE, fd_seek(fd, 0, SET, AT(&position)));

    EXPECT(SUCCESS, sock_recv(fd, AT(parts), 2, 0, AT(&moved), AT(&flags)));
    IS(moved == 0); // the other end has closed
    EXPECT(INVAL, sock_shutdown(fd, 0));
    EXPECT(INVAL, sock_shutdown(fd, 4));
    EXPECT(NOTSOCK, sock_shutdown(DIR, 1));
    EXPECT(BADF, sock_shutdown(NONE, 1));
    EXPECT(SUCCESS, sock_shutdown(fd, 2));
    EXPECT(PIPE, sock_send(fd, AT(&text), 1, 0, AT(&moved))); // and no signal
    EXPECT(SUCCESS, fd_close(fd));

    EXPECT(SUCCESS, fd_fdstat_get(SOCKET, AT(&stat)));
    EXPECT(SUCCESS, fd_fdstat_set_rights(SOCKET, 0, 0));
    EXPECT(NOTCAPABLE, sock_accept(SOCKET, 0, AT(&moved)));
    EXPECT(NOTCAPABLE, sock_shutdown(SOCKET, 1));
    EXPECT(NOTCAPABLE, sock_recv(SOCKET, AT(parts), 2, 0, AT(&moved), AT(&flags)));
    EXPECT(NOTCAPABLE, sock_send(SOCKET, AT(&text), 1, 0, AT(&moved)));
    finish();
}
