//! What is different in `wasi_unstable`.

use super::*;

#[test]
fn files_are_described_in_the_older_layout() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "12345").unwrap();
    let mut guest = Guest::with_dir(&temp);
    let fd = guest.open("file", 0, READ).unwrap();
    let (path, len) = guest.path("file");
    guest
        .call(|ctx, memory| ctx.path_filestat_get(memory, DIR, 0, path, len, BUFFER))
        .unwrap();
    guest
        .call(|ctx, memory| ctx.unstable_path_filestat_get(memory, DIR, 0, path, len, RESULT))
        .unwrap();
    let second = RESULT + 64;
    guest
        .call(|ctx, memory| ctx.unstable_fd_filestat_get(memory, fd, second))
        .unwrap();
    for older in [RESULT, second] {
        for (field, newer_at, older_at) in [
            ("device", 0, 0),
            ("inode", 8, 8),
            ("size", 32, 24),
            ("accessed", 40, 32),
            ("modified", 48, 40),
            ("changed", 56, 48),
        ] {
            let newer = guest.u64_at(BUFFER + newer_at);
            assert_eq!(guest.u64_at(older + older_at), newer, "{field}");
        }
        assert_eq!(guest.bytes[older as usize + 16], 4, "a regular file");
        assert_eq!(guest.u32_at(older + 20), 1, "one link");
        assert_eq!(guest.u64_at(older + 24), 5, "size");
    }
}

#[test]
fn seeking_counts_from_other_places() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "0123456789").unwrap();
    let mut guest = Guest::with_dir(&temp);
    let fd = guest.open("file", 0, READ).unwrap();
    for (offset, whence, expected) in [
        (4_i64, 2, Ok(4)),
        (2, 0, Ok(6)),
        (-1, 1, Ok(9)),
        (0, 3, Err(Errno::Inval)),
    ] {
        let offset = offset.cast_unsigned();
        let outcome =
            guest.call(|ctx, memory| ctx.unstable_fd_seek(memory, fd, offset, whence, RESULT));
        assert_eq!(outcome.map(|()| guest.u64_at(RESULT)), expected, "{whence}");
    }
}

#[test]
fn polling_reads_longer_subscriptions() {
    let now = VirtualClock::new(Duration::ZERO, Duration::ZERO);
    let (reader, mut writer) = pipe().unwrap();
    let mut guest = Guest::new(
        WasiCtxBuilder::new()
            .monotonic_clock(now.clone())
            .stdin(DescriptorStream::new(reader)),
    );
    let mut subscriptions = [[0_u8; 56]; 2];
    let [clock, read] = &mut subscriptions;
    clock[0] = 1;
    clock[16] = 77; // the guest's own number, ignored
    clock[24] = 1;
    clock[32..40].copy_from_slice(&5_000_u64.to_le_bytes());
    read[0] = 2;
    read[8] = 1;
    let poll = |guest: &mut Guest| {
        guest.put(IOVS, subscriptions.as_flattened());
        guest
            .call_waiting(|ctx, memory, patience| {
                ctx.unstable_poll_oneoff(memory, IOVS, BUFFER, 2, RESULT, patience)
            })
            .unwrap();
        (guest.u32_at(RESULT), guest.bytes[BUFFER as usize])
    };
    assert_eq!(poll(&mut guest), (1, 1));
    assert_eq!(crate::HostMonotonicClock::now(&now), 5_000);
    writer.write_all(b"x").unwrap();
    assert_eq!(poll(&mut guest), (1, 2));
}
