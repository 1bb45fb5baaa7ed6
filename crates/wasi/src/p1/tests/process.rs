//! Arguments, clocks, random bytes, signals; and pointers to nowhere.

use super::*;

#[test]
fn arguments_and_environment_are_laid_out_for_c() {
    let mut guest = Guest::new(
        WasiCtxBuilder::new()
            .args(&["prog", "", "läst"])
            .env("A", "1")
            .envs(&[("B", "2")]),
    );
    guest
        .call(|ctx, memory| ctx.args_sizes_get(memory, 0, 4))
        .unwrap();
    assert_eq!((guest.u32_at(0), guest.u32_at(4)), (3, 12));
    guest
        .call(|ctx, memory| ctx.args_get(memory, 100, 200))
        .unwrap();
    assert_eq!(
        [guest.u32_at(100), guest.u32_at(104), guest.u32_at(108)],
        [200, 205, 206]
    );
    assert_eq!(&guest.bytes[200..212], "prog\0\0läst\0".as_bytes());
    guest
        .call(|ctx, memory| ctx.environ_sizes_get(memory, 0, 4))
        .unwrap();
    assert_eq!((guest.u32_at(0), guest.u32_at(4)), (2, 8));
    guest
        .call(|ctx, memory| ctx.environ_get(memory, 100, 200))
        .unwrap();
    assert_eq!(&guest.bytes[200..208], b"A=1\0B=2\0");

    let end = MEMORY as u32;
    for (pointers, buffer) in [(end - 4, 0), (0, end - 4), (u32::MAX, 0), (0, u32::MAX)] {
        let outcome = guest.call(|ctx, memory| ctx.args_get(memory, pointers, buffer));
        assert_eq!(outcome, Err(Errno::Fault));
    }
}

#[test]
fn clocks_tell_the_embedders_time() {
    let clock = VirtualClock::new(Duration::from_secs(1000), Duration::ZERO);
    let mut guest = Guest::new(
        WasiCtxBuilder::new()
            .wall_clock(clock.clone())
            .monotonic_clock(clock.clone()),
    );
    clock.advance(Duration::from_nanos(7));
    for (id, expected) in [(0, 1_000_000_000_007), (1, 7), (2, 7), (3, 7)] {
        guest
            .call(|ctx, memory| ctx.clock_time_get(memory, id, 0, RESULT))
            .unwrap();
        assert_eq!(guest.u64_at(RESULT), expected, "clock {id}");
        guest
            .call(|ctx, memory| ctx.clock_res_get(memory, id, RESULT))
            .unwrap();
        assert_eq!(guest.u64_at(RESULT), 1);
    }
    for id in [4, u32::MAX] {
        let outcome = guest.call(|ctx, memory| ctx.clock_time_get(memory, id, 0, RESULT));
        assert_eq!(outcome, Err(Errno::Inval));
        let outcome = guest.call(|ctx, memory| ctx.clock_res_get(memory, id, RESULT));
        assert_eq!(outcome, Err(Errno::Inval));
    }
}

#[test]
fn random_bytes_come_from_the_embedders_source() {
    let mut guest = Guest::new(WasiCtxBuilder::new().random(SeededRandom::new(0)));
    guest
        .call(at_once(|c, m, p| c.random_get(m, 1, 8, p)))
        .unwrap();
    assert_eq!(guest.u64_at(1), 0xe220_a839_7b1d_cdaf);
    let outcome = guest.call(at_once(|c, m, p| c.random_get(m, 1, u32::MAX, p)));
    assert_eq!(outcome, Err(Errno::Fault));
    let outcome = guest.call(at_once(|c, m, p| c.random_get(m, 1, MEMORY as u32 - 1, p)));
    assert_eq!(outcome, Ok(()));
}

#[test]
fn many_random_bytes_are_made_in_parts_between_which_others_can_look() {
    let mut guest = Guest::new(WasiCtxBuilder::new().random(SeededRandom::new(7)));
    let len = 2 * MEMORY + 5;
    guest.bytes = vec![0; len + 1];
    let mut stops = 0;
    guest
        .call_waiting(|ctx, memory, patience| {
            let outcome = ctx.random_get(memory, 1, len as u32, patience);
            stops += u32::from(outcome == Err(Stop::Wait));
            outcome
        })
        .unwrap();
    assert_eq!(stops, 2);
    let mut expected = vec![0; len];
    crate::RandomSource::fill(&mut SeededRandom::new(7), &mut expected).unwrap();
    assert!(guest.bytes[1..] == expected, "the same bytes as at once");
}

#[test]
fn bad_pointers_are_faults_and_nothing_happens() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("f"), "x").unwrap();
    let output = MemoryOutput::new(100);
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdin(MemoryInput::new("input"))
        .stdout(output.clone());
    let mut guest = Guest::new(granted(&temp, &mut builder));
    guest.put(PATH, b"f");
    guest.put(PATH_2, b"new");
    guest.iovs(&[1]);
    let end = MEMORY as u32;
    for bad in [end, end - 1, u32::MAX, u32::MAX - 7] {
        type Call<'a> = Box<dyn FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Outcome + 'a>;
        let calls: Vec<Call<'_>> = vec![
            Box::new(|c, m| c.args_sizes_get(m, bad, 0)),
            Box::new(|c, m| c.args_sizes_get(m, 0, bad)),
            Box::new(|c, m| c.environ_sizes_get(m, bad, 0)),
            Box::new(|c, m| c.clock_res_get(m, 0, bad)),
            Box::new(|c, m| c.clock_time_get(m, 0, 0, bad)),
            Box::new(|c, m| c.fd_fdstat_get(m, DIR, bad)),
            Box::new(|c, m| c.fd_filestat_get(m, DIR, bad)),
            Box::new(|c, m| c.fd_prestat_get(m, DIR, bad)),
            Box::new(|c, m| c.fd_prestat_dir_name(m, DIR, bad, 4)),
            Box::new(at_once(|c, m, p| c.fd_read(m, STDIN, bad, 1, 0, p))),
            Box::new(at_once(|c, m, p| c.fd_read(m, STDIN, IOVS, u32::MAX, 0, p))),
            Box::new(at_once(|c, m, p| c.fd_read(m, STDIN, IOVS, 1, bad, p))),
            Box::new(at_once(|c, m, p| c.fd_write(m, STDOUT, bad, 1, 0, p))),
            Box::new(at_once(|c, m, p| {
                c.fd_write(m, STDOUT, IOVS, u32::MAX, 0, p)
            })),
            Box::new(at_once(|c, m, p| c.fd_write(m, STDOUT, IOVS, 1, bad, p))),
            Box::new(|c, m| c.fd_readdir(m, DIR, bad, 100, 0, 0)),
            Box::new(|c, m| c.fd_readdir(m, DIR, BUFFER, u32::MAX, 0, 0)),
            Box::new(|c, m| c.fd_readdir(m, DIR, BUFFER, 100, 0, bad)),
            Box::new(|c, m| c.path_create_directory(m, DIR, bad, 4)),
            Box::new(|c, m| c.path_create_directory(m, DIR, PATH, u32::MAX)),
            Box::new(|c, m| c.path_filestat_get(m, DIR, 0, PATH, 1, bad)),
            Box::new(|c, m| c.path_open(m, DIR, 0, PATH_2, 3, CREATE, WRITE, 0, 0, bad)),
            Box::new(|c, m| c.path_open(m, DIR, 0, PATH, 1, TRUNCATE, WRITE, 0, 0, bad)),
            Box::new(|c, m| c.path_readlink(m, DIR, PATH, 1, BUFFER, 9, bad)),
            Box::new(|c, m| c.path_rename(m, DIR, PATH, 1, DIR, bad, 4)),
            Box::new(|c, m| c.path_symlink(m, PATH, 1, DIR, bad, 4)),
            Box::new(|c, m| c.path_link(m, DIR, 0, PATH, 1, DIR, bad, 4)),
            Box::new(|c, m| c.path_unlink_file(m, DIR, bad, 4)),
            Box::new(at_once(|c, m, p| c.poll_oneoff(m, bad, BUFFER, 1, 0, p))),
            Box::new(at_once(|c, m, p| c.poll_oneoff(m, IOVS, bad, 1, 0, p))),
            Box::new(at_once(|c, m, p| c.poll_oneoff(m, IOVS, BUFFER, 1, bad, p))),
            Box::new(at_once(|c, m, p| c.random_get(m, bad, 4, p))),
            Box::new(at_once(|c, m, p| c.sock_accept(m, DIR, 0, bad, p))),
            Box::new(at_once(|c, m, p| {
                c.sock_recv(m, DIR, IOVS, 1, 0, bad, 0, p)
            })),
            Box::new(at_once(|c, m, p| {
                c.sock_recv(m, DIR, IOVS, 1, 0, 0, bad, p)
            })),
            Box::new(at_once(|c, m, p| c.sock_send(m, DIR, IOVS, 1, 0, bad, p))),
        ];
        for (index, call) in calls.into_iter().enumerate() {
            assert_eq!(
                guest.call(call),
                Err(Errno::Fault),
                "call {index}, {bad:#x}"
            );
        }
    }
    assert_eq!(output.contents(), b"");
    assert_eq!(guest.read(STDIN, &[9]), Ok(b"input".to_vec()));
    assert_eq!(fs::read(temp.path().join("f")).unwrap(), b"x");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    assert_eq!(
        guest.open("f", 0, READ),
        Ok(DIR + 1),
        "no descriptor was given out"
    );
}

#[test]
fn raising_does_what_an_unhandled_signal_does() {
    for (signal, expected) in [
        (0, Ok(Ok(()))),
        (16, Ok(Ok(()))),
        (18, Ok(Err(Errno::NotSup))),
        (6, Err(I32Exit(134))),
        (30, Err(I32Exit(158))),
        (31, Ok(Err(Errno::Inval))),
        (u32::MAX, Ok(Err(Errno::Inval))),
    ] {
        assert_eq!(raise(signal), expected, "signal {signal}");
    }
}
