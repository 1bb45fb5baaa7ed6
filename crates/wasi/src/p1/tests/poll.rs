//! `poll_oneoff`.

use super::*;

#[test]
fn polling_a_clock_waits() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let start = std::time::Instant::now();
    let events = guest.poll(&[clock(1, 1, 20_000_000, false), clock(2, 0, u64::MAX, false)]);
    assert_eq!(events, Ok(vec![over(1, EventType::Clock, Ok(0))]));
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn polling_knows_relative_and_absolute_times_of_each_clock() {
    let epoch = Duration::from_secs(1000);
    let now = VirtualClock::new(epoch, Duration::ZERO);
    let mut guest = Guest::new(
        WasiCtxBuilder::new()
            .wall_clock(now.clone())
            .monotonic_clock(now.clone()),
    );
    now.advance(Duration::from_secs(5));
    let second = 1_000_000_000;
    let cases = [
        (clock(1, 1, 3 * second, false), 3),
        (clock(1, 1, 10 * second, true), 2),
        (clock(1, 0, 1015 * second, true), 5),
        (clock(1, 0, second, true), 0),
        (clock(1, 1, 0, true), 0),
        (clock(1, 2, 2 * second, false), 2),
    ];
    let mut elapsed = 5;
    for (subscription, waits) in cases {
        let events = guest.poll(&[subscription]);
        assert_eq!(events, Ok(vec![over(1, EventType::Clock, Ok(0))]));
        elapsed += waits;
        let monotonic = crate::HostMonotonicClock::now(&now);
        assert_eq!(monotonic, elapsed * second);
    }
    let both = guest.poll(&[clock(1, 1, second, false), clock(2, 0, second, false)]);
    assert_eq!(both.unwrap().len(), 2, "all that are over are told");
}

#[test]
fn polling_descriptors_tells_what_is_ready_and_what_is_wrong() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "12345").unwrap();
    let (reader, mut writer) = pipe().unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(DescriptorStream::new(reader));
    let mut guest = Guest::new(granted(&temp, &mut builder));
    let file = guest.open("file", 0, READ).unwrap();
    guest.read(file, &[2]).unwrap();

    let (read, write) = (EventType::FdRead, EventType::FdWrite);
    let events = guest.poll(&[
        readable(1, STDIN),
        readable(2, file),
        writable(3, STDOUT),
        readable(4, STDOUT),
        writable(5, file),
        readable(6, 99),
        readable(7, DIR),
        clock(8, 9, 1, false),
        clock(9, 1, u64::MAX, false),
    ]);
    let bad = Err(Errno::BadF);
    let expected = vec![
        over(2, read, Ok(3)),
        over(3, write, Ok(0)),
        over(4, read, bad),
        over(5, write, bad),
        over(6, read, bad),
        over(7, read, bad),
        over(8, EventType::Clock, Err(Errno::Inval)),
    ];
    assert_eq!(events, Ok(expected));

    let quick = clock(9, 1, 1_000_000, false);
    let timed_out = vec![over(9, EventType::Clock, Ok(0))];
    assert_eq!(guest.poll(&[readable(1, STDIN), quick]), Ok(timed_out));
    writer.write_all(b"abcd").unwrap();
    let slow = clock(9, 1, u64::MAX, false);
    let ready = vec![over(1, read, Ok(4))];
    assert_eq!(guest.poll(&[readable(1, STDIN), slow]), Ok(ready));
    drop(writer);
    guest.read(STDIN, &[4]).unwrap();
    let events = guest.poll(&[readable(1, STDIN)]).unwrap();
    assert!(events[0].hangup && events[0].error.is_none());

    assert_eq!(guest.poll(&[]), Err(Errno::Inval));
    let mut unknown = readable(1, STDIN);
    unknown[8] = 3;
    assert_eq!(guest.poll(&[unknown]), Err(Errno::Inval));
    let too_many = guest
        .call_waiting(|ctx, memory, patience| ctx.poll_oneoff(memory, 0, 0, u32::MAX, 0, patience));
    assert_eq!(too_many, Err(Errno::Inval));
}

#[test]
fn a_descriptor_subscribed_to_often_is_watched_once() {
    let (reader, _writer) = pipe().unwrap();
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(DescriptorStream::new(reader)));
    let count = 600;
    let subscriptions = vec![readable(1, STDIN); count as usize];
    guest.put(IOVS, subscriptions.as_flattened());
    let mut patience = Patience::noting();
    let memory = &mut GuestMemory::new(&mut guest.bytes);
    let outcome = guest
        .ctx
        .poll_oneoff(memory, IOVS, BUFFER, count, RESULT, &mut patience);
    assert_eq!(outcome, Err(Stop::Wait));
    assert_eq!(patience.take_wait().unwrap().on.len(), 1);
}
