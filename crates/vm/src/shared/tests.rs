use super::*;
use std::thread;

fn ty(minimum: u64, maximum: u64, page_size_log2: u8) -> MemoryType {
    MemoryType {
        minimum,
        maximum: Some(maximum),
        memory64: false,
        shared: true,
        page_size_log2,
    }
}

fn memory() -> SharedMemory {
    SharedMemory::new(ty(1, 3, 16), &Knobs::default()).unwrap()
}

/// Waits until so many threads wait at an address, by waking none of them.
fn until_waiting(memory: &SharedMemory, address: u64, count: usize) {
    while memory.0.waiting.waiters(address) < count {
        thread::yield_now();
    }
}

#[test]
fn it_grows_in_place_up_to_its_maximum_and_what_is_new_is_zero() {
    for knobs in [
        Knobs::default(),
        Knobs {
            memory_reservation: 0,
            memory_guard_size: 0,
            ..Knobs::default()
        },
    ] {
        let memory = SharedMemory::new(ty(1, 3, 16), &knobs).unwrap();
        let base = memory.base();
        memory.write(65535, &[7]).unwrap();
        assert_eq!(memory.grow(2).unwrap(), 1);
        assert_eq!((memory.pages(), memory.base()), (3, base));
        let bytes = memory.bytes();
        assert_eq!(bytes.len(), 3 * 65536);
        assert_eq!(bytes[65535].load(SeqCst), 7);
        assert!(bytes[65536..].iter().all(|byte| byte.load(SeqCst) == 0));
        for delta in [1, 1 << 47, u64::MAX] {
            let error = memory.grow(delta).unwrap_err();
            assert!(
                matches!(error, GrowError::BeyondMaximum { maximum: 3, .. }),
                "{error}"
            );
        }
        assert_eq!(memory.grow(0).unwrap(), 3);
    }
}

#[test]
fn types_that_make_no_sense_are_refused() {
    let refused = |change: fn(&mut MemoryType)| {
        let mut ty = ty(1, 3, 16);
        change(&mut ty);
        SharedMemory::new(ty, &Knobs::default())
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    for (change, says) in [
        (
            (|ty| ty.shared = false) as fn(&mut MemoryType),
            "not shared",
        ),
        (|ty| ty.maximum = None, "needs a maximum"),
        (|ty| ty.maximum = Some(0), "below the minimum"),
        (|ty| ty.maximum = Some(65537), "reaches"),
        (|ty| ty.page_size_log2 = 3, "1 or 65536"),
        (
            |ty| (ty.memory64, ty.maximum) = (true, Some(1 << 48)),
            "address space",
        ),
        (
            |ty| (ty.memory64, ty.maximum) = (true, Some(1 << 40)),
            "no room",
        ),
    ] {
        let error = refused(change);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_memory_with_small_pages_ends_at_its_last_byte() {
    let memory = SharedMemory::new(ty(10, 5000, 0), &Knobs::default()).unwrap();
    memory.write(0, &[1; 10]).unwrap();
    assert_eq!(memory.write(1, &[1; 10]), Err(Trap::MemoryOutOfBounds));
    assert_eq!(memory.grow(4990).unwrap(), 10);
    memory.write(4999, &[9]).unwrap();
    assert!(memory.grow(1).is_err());
}

#[test]
fn ranges_out_of_bounds_and_misaligned_places_are_refused() {
    let memory = memory();
    let mut buffer = [0; 2];
    for start in [65535, 65536, u64::MAX] {
        assert_eq!(
            memory.read(start, &mut buffer),
            Err(Trap::MemoryOutOfBounds)
        );
        assert_eq!(memory.write(start, &buffer), Err(Trap::MemoryOutOfBounds));
    }
    memory.read(65536, &mut []).unwrap();
    for (address, trap) in [
        (2, Trap::HeapMisaligned),
        (65537, Trap::HeapMisaligned),
        (65536, Trap::MemoryOutOfBounds),
        (u64::MAX - 7, Trap::MemoryOutOfBounds),
    ] {
        assert_eq!(memory.atomic_notify(address, 1), Err(trap));
        assert_eq!(memory.atomic_wait32(address, 0, None), Err(trap));
        assert_eq!(memory.atomic_wait64(address, 0, None), Err(trap));
    }
    assert_eq!(memory.atomic_wait64(4, 0, None), Err(Trap::HeapMisaligned));
}

#[test]
fn copies_are_exact_whatever_the_overlap() {
    let memory = memory();
    let base = memory.base().as_ptr();
    let pattern: Vec<u8> = (0..20_000).map(|i| (i * 7 % 251) as u8).collect();
    for (from, to) in [(0, 0), (0, 1), (1, 0), (0, 5000), (5000, 0), (0, 20_000)] {
        memory.write(0, &[0; 40_000]).unwrap();
        memory.write(from as u64, &pattern).unwrap();
        // SAFETY: both ranges are in the memory.
        unsafe { copy_shared(base.add(from), base.add(to), pattern.len(), from < to) };
        let mut copied = vec![0; pattern.len()];
        memory.read(to as u64, &mut copied).unwrap();
        assert!(copied == pattern, "{from} to {to}");
    }
}

#[test]
fn a_wait_ends_by_mismatch_timeout_or_being_woken() {
    let memory = memory();
    memory.write(8, &1_u64.to_le_bytes()).unwrap();
    let zero = Some(Duration::ZERO);
    assert_eq!(memory.atomic_wait32(8, 2, None), Ok(WaitResult::Mismatch));
    assert_eq!(
        memory.atomic_wait64(8, 1 << 32 | 1, None),
        Ok(WaitResult::Mismatch)
    );
    assert_eq!(memory.atomic_wait32(8, 1, zero), Ok(WaitResult::TimedOut));
    assert_eq!(
        memory.atomic_wait64(8, 1, Some(Duration::from_micros(100))),
        Ok(WaitResult::TimedOut)
    );
    // Nobody is left in a queue.
    assert_eq!(memory.atomic_notify(8, u32::MAX), Ok(0));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| memory.atomic_wait32(8, 1, Some(Duration::MAX)));
        until_waiting(&memory, 8, 1);
        assert_eq!(memory.atomic_notify(12, u32::MAX), Ok(0));
        assert_eq!(memory.atomic_notify(8, 0), Ok(0));
        assert_eq!(memory.atomic_notify(8, 1), Ok(1));
        assert_eq!(waiter.join().unwrap(), Ok(WaitResult::Ok));
    });
}

#[test]
fn as_many_are_woken_as_asked_for_and_the_longest_waiting_first() {
    let memory = memory();
    thread::scope(|scope| {
        let mut waiters = Vec::new();
        for count in 1..=4 {
            waiters.push(scope.spawn(|| memory.atomic_wait32(0, 0, None)));
            until_waiting(&memory, 0, count);
        }
        assert_eq!(memory.atomic_notify(0, 1), Ok(1));
        assert_eq!(waiters.remove(0).join().unwrap(), Ok(WaitResult::Ok));
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        assert_eq!(memory.atomic_notify(0, u32::MAX), Ok(3));
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(WaitResult::Ok));
        }
    });
}

#[test]
fn a_wait_that_is_ended_by_what_it_looks_at_leaves_its_queue() {
    let memory = memory();
    let mut looks = 0;
    let ended = memory.wait(0, Expected::I32(0), None, || {
        looks += 1;
        if looks == 2 { Err("enough") } else { Ok(()) }
    });
    assert_eq!(ended, Ok(Err("enough")));
    assert_eq!(memory.atomic_notify(0, 1), Ok(0));
}
