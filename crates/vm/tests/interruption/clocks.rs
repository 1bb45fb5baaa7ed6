//! Deadlines, quanta and epochs.

use crate::engine::*;
use crate::*;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(20))
}

#[test]
fn a_deadline_ends_guests_that_run_and_guests_that_come() {
    let mut guest = Guest::plain();
    for suspendable in [false, true] {
        let started = Instant::now();
        guest.store.as_mut().set_deadline(soon()).unwrap();
        let result = match suspendable {
            false => guest.call("spin"),
            true => guest.run_to_end("spin"),
        };
        assert_eq!(terminated(result), Terminated::Deadline);
        assert!(started.elapsed() >= Duration::from_millis(20));
        // It has passed for later calls, too.
        assert_eq!(terminated(guest.call("seven")), Terminated::Deadline);
        guest.store.as_mut().set_deadline(None).unwrap();
        guest.assert_usable();
    }
    // One in the past.
    guest
        .store
        .as_mut()
        .set_deadline(Some(Instant::now()))
        .unwrap();
    assert_eq!(terminated(guest.call("seven")), Terminated::Deadline);
    // One that is replaced by a later one, and one that is not reached.
    guest.store.as_mut().set_deadline(soon()).unwrap();
    let far = Instant::now() + Duration::from_secs(1000);
    guest.store.as_mut().set_deadline(Some(far)).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    guest.assert_usable();
}

#[test]
fn a_deadline_that_passes_in_a_host_function_or_while_suspended_ends_the_guest_later() {
    let mut guest = Guest::new(|_, n| {
        std::thread::sleep(Duration::from_millis(60));
        Ok(n)
    });
    guest.store.as_mut().set_deadline(soon()).unwrap();
    assert_eq!(
        terminated(guest.call("host_then_spin")),
        Terminated::Deadline
    );
    // The host function finished its sleep although a signal came.
    let mut guest =
        Guest::new(|mut caller, n| Ok(caller.store.yield_now(None, None).map(|_| n)?));
    guest.store.as_mut().set_deadline(soon()).unwrap();
    guest.start("host").unwrap();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(
        terminated(guest.store.as_mut().resume(None)),
        Terminated::Deadline
    );
    guest.store.as_mut().set_deadline(None).unwrap();
    assert_eq!(guest.call("seven").unwrap(), 7);
}

#[test]
fn a_quantum_suspends_a_computation_again_and_again() {
    let mut guest = Guest::plain();
    let quantum = Duration::from_millis(2);
    guest.store.as_mut().set_quantum(Some(quantum)).unwrap();
    let mut progress = guest.start("spin").unwrap();
    let started = Instant::now();
    for _ in 0..20 {
        assert!(matches!(
            progress,
            Progress::Suspended(Suspension::Interrupted(Interruption::Preempted))
        ));
        progress = guest.store.as_mut().resume(None).unwrap();
    }
    assert!(started.elapsed() >= quantum * 15, "{:?}", started.elapsed());
    guest.store.as_mut().cancel();
    guest.assert_usable();
    // Plain calls are not bothered.
    let mut guest = Guest::new(|_, n| {
        std::thread::sleep(Duration::from_millis(10));
        Ok(n)
    });
    guest.store.as_mut().set_quantum(Some(quantum)).unwrap();
    assert_eq!(guest.call("host").unwrap(), 1);
}

/// A guest with an epoch clock of its own.
fn with_clock(
    body: impl Fn(HostCaller<'_, Data>, i32) -> Result<i32> + Send + Sync + 'static,
) -> (Guest, Arc<EpochClock>) {
    let config = config(Default::default());
    let mut store = Store::new(&config, Data { instance: None });
    let host = host(move |caller: HostCaller<'_, Data>, n: i32| body(caller, n));
    let instance = store
        .as_mut()
        .instantiate(&compile_for(&config, TEXT), &[host])
        .unwrap();
    store.data_mut().instance = Some(instance);
    let control = store.as_ref().inner().control();
    (
        Guest {
            store,
            instance,
            control,
        },
        config.epochs.clone(),
    )
}

/// Advances the clock for as long as it lives.
struct Ticking(Option<JoinHandle<()>>, Arc<AtomicU32>);

impl Ticking {
    fn new(clock: &Arc<EpochClock>) -> Ticking {
        let stop = Arc::new(AtomicU32::new(0));
        let thread = std::thread::spawn({
            let (clock, stop) = (clock.clone(), stop.clone());
            move || {
                while stop.load(SeqCst) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                    clock.increment();
                }
            }
        });
        Ticking(Some(thread), stop)
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.1.store(1, SeqCst);
        self.0.take().unwrap().join().unwrap();
    }
}

#[test]
fn an_epoch_deadline_traps_in_guest_code_and_at_entry() {
    let (mut guest, clock) = with_clock(|_, n| Ok(n));
    guest.store.as_mut().set_epoch_deadline(3).unwrap();
    guest.assert_usable();
    clock.increment();
    clock.increment();
    guest.assert_usable();
    clock.increment();
    assert_eq!(clock.current(), 3);
    assert_eq!(terminated(guest.call("seven")), Terminated::Epoch);
    guest.store.as_mut().set_epoch_deadline(2).unwrap();
    guest.assert_usable();
    let ticking = Ticking::new(&clock);
    assert_eq!(terminated(guest.call("spin")), Terminated::Epoch);
    assert_eq!(terminated(guest.run_to_end("spin")), Terminated::Epoch);
    drop(ticking);
    guest.store.as_mut().set_epoch_deadline(1_000_000).unwrap();
    guest.assert_usable();
}

#[test]
fn an_epoch_deadline_suspends_where_that_is_possible() {
    let (mut guest, clock) = with_clock(|_, n| Ok(n));
    guest.store.as_mut().epoch_deadline_yield(2).unwrap();
    guest.store.as_mut().set_epoch_deadline(1).unwrap();
    let ticking = Ticking::new(&clock);
    let mut progress = guest.start("spin").unwrap();
    for _ in 0..5 {
        assert!(matches!(
            progress,
            Progress::Suspended(Suspension::Interrupted(Interruption::Epoch))
        ));
        let before = clock.current();
        progress = guest.store.as_mut().resume(None).unwrap();
        assert!(clock.current() > before);
    }
    guest.store.as_mut().cancel();
    // A plain call goes on.
    guest
        .store
        .as_mut()
        .set_deadline(Some(Instant::now() + Duration::from_millis(20)))
        .unwrap();
    assert_eq!(terminated(guest.call("spin")), Terminated::Deadline);
    drop(ticking);
}

#[test]
fn an_epoch_callback_decides_and_may_fail() {
    for suspendable in [false, true] {
        let (mut guest, clock) = with_clock(|_, n| Ok(n));
        let calls = Arc::new(AtomicU32::new(0));
        let counter = calls.clone();
        let callback = move |store: StoreMut<'_, Data>| {
            assert!(store.data().instance.is_some());
            match counter.fetch_add(1, SeqCst) {
                9 => Err(Error::msg("enough")),
                n if n % 2 == 0 => Ok(EpochUpdate::Yield(1)),
                _ => Ok(EpochUpdate::Continue(1)),
            }
        };
        guest
            .store
            .as_mut()
            .epoch_deadline_callback(callback)
            .unwrap();
        guest.store.as_mut().set_epoch_deadline(1).unwrap();
        let ticking = Ticking::new(&clock);
        let error = if suspendable {
            let mut suspensions = 0;
            let mut progress = guest.start("spin");
            while let Ok(Progress::Suspended(_)) = progress {
                suspensions += 1;
                progress = guest.store.as_mut().resume(None);
            }
            assert_eq!(suspensions, 5);
            progress.unwrap_err()
        } else {
            guest.call("spin").unwrap_err()
        };
        assert_eq!(error.root_cause().to_string(), "enough");
        assert_eq!(calls.load(SeqCst), 10);
        drop(ticking);
        guest.store.as_mut().epoch_deadline_trap();
        guest.store.as_mut().set_epoch_deadline(1_000_000).unwrap();
        guest.assert_usable();
    }
}
