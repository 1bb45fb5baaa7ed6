//! Streams and sockets.

use super::*;

#[test]
fn streams_carry_bytes_and_have_no_position() {
    let output = MemoryOutput::new(1000);
    let mut guest = Guest::new(
        WasiCtxBuilder::new()
            .stdin(MemoryInput::new("some input"))
            .stdout(output.clone()),
    );
    assert_eq!(guest.read(STDIN, &[0, 4, 4]), Ok(b"some".to_vec()));
    assert_eq!(guest.read(STDIN, &[]), Ok(vec![]));
    assert_eq!(guest.read(STDIN, &[100]), Ok(b" input".to_vec()));
    assert_eq!(guest.read(STDIN, &[100]), Ok(vec![]));

    assert_eq!(guest.write(STDOUT, b"some "), Ok(5));
    guest.put(BUFFER, b"output");
    let (iovs, count) = guest.iovs(&[3, 0, 3]);
    guest
        .call_waiting(|ctx, memory, patience| {
            ctx.fd_write(memory, STDOUT, iovs, count, RESULT, patience)
        })
        .unwrap();
    assert_eq!(guest.u32_at(RESULT), 6);
    assert_eq!(output.contents(), b"some output");

    assert_eq!(guest.write(STDIN, b"x"), Err(Errno::BadF));
    assert_eq!(guest.read(STDOUT, &[1]), Err(Errno::BadF));
    assert_eq!(guest.seek(STDOUT, 0, 1), Err(Errno::SPipe));
    assert_eq!(guest.pread(STDIN, 1, 0), Err(Errno::SPipe));
    assert_eq!(guest.pwrite(STDOUT, b"x", 0), Err(Errno::SPipe));
    assert_eq!(guest.ctx.fd_sync(STDOUT), Err(Errno::Inval));
    assert_eq!(guest.open_with(STDIN, "x", 0, 0, 0), Err(Errno::NotDir));
    let (kind, flags, base, inheriting) = guest.fdstat(STDIN).unwrap();
    assert_eq!((kind, flags), (0, 0));
    assert!(base.contains(Rights::FD_READ) && !base.intersects(Rights::FD_WRITE | Rights::FD_SEEK));
    assert_eq!(inheriting, Rights::empty());
    assert_eq!(guest.size(STDIN), Ok(0));
}

#[test]
fn a_full_output_is_out_of_space() {
    let mut guest = Guest::new(WasiCtxBuilder::new().stdout(MemoryOutput::new(3)));
    assert_eq!(guest.write(STDOUT, b"four"), Ok(3));
    assert_eq!(guest.write(STDOUT, b"four"), Err(Errno::NoSpc));
}

#[test]
fn a_stream_set_to_nonblocking_fails_instead_of_waiting() {
    let (reader, mut writer) = pipe().unwrap();
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(DescriptorStream::new(reader)));
    assert_eq!(guest.ctx.fd_fdstat_set_flags(STDIN, NONBLOCK), Ok(()));
    assert_eq!(guest.fdstat(STDIN).unwrap().1, NONBLOCK as u8);
    assert_eq!(guest.read(STDIN, &[9]), Err(Errno::Again));
    writer.write_all(b"now").unwrap();
    assert_eq!(guest.read(STDIN, &[9]), Ok(b"now".to_vec()));
    assert_eq!(
        guest.ctx.fd_fdstat_set_flags(STDIN, APPEND),
        Err(Errno::Inval)
    );
    assert_eq!(guest.ctx.fd_fdstat_set_flags(STDIN, 0), Ok(()));
    drop(writer);
    assert_eq!(guest.read(STDIN, &[9]), Ok(vec![]));
}

#[test]
fn sockets_accept_send_receive_and_shut_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_socket(listener).unwrap();
    let mut guest = Guest::new(&mut builder);
    let listening = 3;
    let accept = |flags| {
        move |ctx: &mut WasiP1Ctx, memory: &mut GuestMemory<'_>, patience: &mut Patience| {
            ctx.sock_accept(memory, listening, flags, RESULT, patience)
        }
    };

    guest.ctx.fd_fdstat_set_flags(listening, NONBLOCK).unwrap();
    assert_eq!(guest.fdstat(listening).unwrap().1, NONBLOCK as u8);
    assert_eq!(guest.call_waiting(accept(0)), Err(Errno::Again));
    guest.ctx.fd_fdstat_set_flags(listening, 0).unwrap();
    assert_eq!(guest.call_waiting(accept(APPEND)), Err(Errno::Inval));

    let mut client = TcpStream::connect(address).unwrap();
    assert_eq!(guest.call_waiting(accept(0)), Ok(()));
    let fd = guest.u32_at(RESULT);
    assert_eq!(guest.fdstat(fd).unwrap().0, 6);

    client.write_all(b"hello").unwrap();
    guest.poll(&[readable(1, fd)]).unwrap();
    let recv = |flags| {
        move |ctx: &mut WasiP1Ctx, memory: &mut GuestMemory<'_>, patience: &mut Patience| {
            ctx.sock_recv(memory, fd, IOVS, 2, flags, RESULT, RESULT + 4, patience)
        }
    };
    guest.iovs(&[2, 9]);
    for peek in [1, 0] {
        assert_eq!(guest.call_waiting(recv(peek)), Ok(()));
        assert_eq!(
            (guest.u32_at(RESULT), guest.u32_at(RESULT + 4) as u16),
            (5, 0)
        );
        assert_eq!(&guest.bytes[BUFFER as usize..][..5], b"hello");
    }
    assert_eq!(guest.call_waiting(recv(4)), Err(Errno::Inval));

    guest.put(BUFFER, b"world");
    guest.iovs(&[5]);
    guest
        .call_waiting(|ctx, memory, patience| {
            ctx.sock_send(memory, fd, IOVS, 1, 0, RESULT, patience)
        })
        .unwrap();
    assert_eq!(guest.write(fd, b"!"), Ok(1));
    assert_eq!(guest.ctx.sock_shutdown(fd, 0), Err(Errno::Inval));
    assert_eq!(guest.ctx.sock_shutdown(fd, 4), Err(Errno::Inval));
    assert_eq!(guest.ctx.sock_shutdown(fd, 2), Ok(()));
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert_eq!(received, "world!");
    assert_eq!(guest.write(fd, b"more"), Err(Errno::Pipe), "and no signal");

    for (other, expected) in [(STDOUT, Errno::NotSock), (99, Errno::BadF)] {
        let expected = Err(expected);
        assert_eq!(guest.ctx.sock_shutdown(other, 1), expected);
        let outcome = guest.call_waiting(|ctx, memory, patience| {
            ctx.sock_accept(memory, other, 0, RESULT, patience)
        });
        assert_eq!(outcome, expected);
        let outcome = guest.call_waiting(|ctx, memory, patience| {
            ctx.sock_send(memory, other, IOVS, 1, 0, RESULT, patience)
        });
        assert_eq!(outcome, expected);
        let outcome = guest.call_waiting(|ctx, memory, patience| {
            ctx.sock_recv(memory, other, IOVS, 1, 0, 0, 4, patience)
        });
        assert_eq!(outcome, expected);
    }
}

#[test]
fn a_granted_socket_and_those_accepted_never_block_whatever_the_guest_wants() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kept = listener.try_clone().unwrap();
    let mut builder = WasiCtxBuilder::new();
    // Two guests may share a listener: each begins as if it had it to itself.
    for _ in 0..2 {
        builder
            .preopened_socket(listener.try_clone().unwrap())
            .unwrap();
    }
    let mut guest = Guest::new(&mut builder);
    for fd in [3, 4] {
        assert_eq!(guest.fdstat(fd).unwrap().1, 0);
        for flags in [NONBLOCK, 0] {
            guest.ctx.fd_fdstat_set_flags(fd, flags).unwrap();
            assert_eq!(guest.fdstat(fd).unwrap().1, flags as u8);
            let status = rustix::fs::fcntl_getfl(&kept).unwrap();
            assert!(status.contains(rustix::fs::OFlags::NONBLOCK));
        }
    }

    for flags in [NONBLOCK, 0] {
        let _client = TcpStream::connect(address).unwrap();
        let accept =
            |ctx: &mut WasiP1Ctx, memory: &mut GuestMemory<'_>, patience: &mut Patience| {
                ctx.sock_accept(memory, 3, flags, RESULT, patience)
            };
        guest.call_waiting(accept).unwrap();
        let fd = guest.u32_at(RESULT);
        assert_eq!(guest.fdstat(fd).unwrap().1, flags as u8);
    }
}

#[test]
fn an_accepted_socket_carries_no_right_that_the_listening_one_has_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_socket(listener).unwrap();
    let mut guest = Guest::new(&mut builder);
    let kept = guest.fdstat(3).unwrap().2 - Rights::FD_WRITE;
    guest.ctx.fd_fdstat_set_rights(3, kept.bits(), 0).unwrap();
    guest
        .call_waiting(|ctx, memory, patience| ctx.sock_accept(memory, 3, 0, RESULT, patience))
        .unwrap();
    let fd = guest.u32_at(RESULT);
    assert_eq!(guest.fdstat(fd).unwrap().2, kept);
    assert_eq!(guest.write(fd, b"x"), Err(Errno::NotCapable));
}

#[test]
fn who_wants_all_of_a_buffer_waits_for_the_descriptor_after_a_part() {
    // What is written to a pair has arrived when writing it is over.
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_socket(ours).unwrap();
    let mut guest = Guest::new(&mut builder);
    guest.iovs(&[3, 5]);
    let mut patience = Patience::noting();
    let mut attempt = |guest: &mut Guest| {
        let memory = &mut GuestMemory::new(&mut guest.bytes);
        let outcome = guest
            .ctx
            .sock_recv(memory, 3, IOVS, 2, 2, RESULT, RESULT + 4, &mut patience);
        let noted = patience.take_wait().unwrap();
        (outcome, noted.on.len())
    };
    for (bytes, expected) in [
        (&b""[..], (Err(Stop::Wait), 1)),
        (b"12345", (Err(Stop::Wait), 1)),
        (b"678", (Ok(()), 0)),
    ] {
        theirs.write_all(bytes).unwrap();
        assert_eq!(attempt(&mut guest), expected, "{bytes:?}");
    }
    assert_eq!(guest.u32_at(RESULT), 8);
    assert_eq!(&guest.bytes[BUFFER as usize..][..8], b"12345678");
}
