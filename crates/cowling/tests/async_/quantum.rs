//! Guests that never wait, among tasks that want to run.

use crate::executor::{Executor, block_on, poll_once};
use crate::support::{linked, run, run_async};
use cowling::*;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// `spin` never returns; `count` returns the number it was given after as many iterations, with vectors and floats on the way.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "spin") (loop (br 0)))
    (func (export "count") (param $n i32) (result i32 f64 i64)
        (local $i i32) (local $f f64) (local $v v128)
        (loop $next
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (local.set $f (f64.add (local.get $f) (f64.const 0.5)))
            (local.set $v (i64x2.add (local.get $v) (i64x2.splat (i64.const 3))))
            (i32.store (i32.const 64) (local.get $i))
            (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
        (local.get $i) (local.get $f) (i64x2.extract_lane 1 (local.get $v))))"#;

fn guest(quantum: Duration) -> (Store<()>, Instance) {
    let (mut store, instance) = linked(GUEST, |_| {});
    store.set_async_quantum(quantum).unwrap();
    (store, instance)
}

#[test]
fn spinning_guests_share_one_thread_with_each_other_and_with_everything_else() {
    let executor = Executor::new();
    let done = Arc::new(AtomicBool::new(false));
    let polls = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let (mut store, instance) = guest(Duration::from_millis(1));
        let (done, polls) = (done.clone(), polls.clone());
        executor.spawn(async move {
            let mut call = pin!(run_async(&mut store, &instance, "spin"));
            std::future::poll_fn(|context| {
                if done.load(Ordering::SeqCst) {
                    return std::task::Poll::Ready(());
                }
                polls.fetch_add(1, Ordering::SeqCst);
                assert!(call.as_mut().poll(context).is_pending());
                std::task::Poll::Pending
            })
            .await;
        });
    }
    let seen = polls.clone();
    executor.spawn(async move {
        // Runs only because the others let it.
        while seen.load(Ordering::SeqCst) < 30 {
            crate::support::Wait::until(crate::support::When::After(1)).await;
        }
        done.store(true, Ordering::SeqCst);
    });
    executor.run(1);
    assert!(polls.load(Ordering::SeqCst) >= 30);
}

#[test]
fn preemption_does_not_change_what_a_guest_computes() {
    let n = 30_000_000;
    let (mut store, instance) = guest(Duration::from_micros(200));
    let count = instance
        .get_typed_func::<i32, (i32, f64, i64)>(&mut store, "count")
        .unwrap();
    let mut pendings = 0;
    let mut call = pin!(count.call_async(&mut store, n));
    let results = loop {
        match poll_once(call.as_mut()) {
            std::task::Poll::Ready(results) => break results.unwrap(),
            std::task::Poll::Pending => pendings += 1,
        }
    };
    assert_eq!(results, (n, f64::from(n) / 2.0, 3 * i64::from(n)));
    assert!(pendings > 0, "it was never preempted");
}

#[test]
fn a_preempted_guest_goes_on_on_whichever_thread_polls_it() {
    let n = 20_000_000;
    let (mut store, instance) = guest(Duration::from_micros(500));
    let count = instance
        .get_typed_func::<i32, (i32, f64, i64)>(&mut store, "count")
        .unwrap();
    let mut call = Box::pin(count.call_async(&mut store, n));
    let mut threads = 0;
    let results = loop {
        threads += 1;
        let poll =
            std::thread::scope(|scope| scope.spawn(|| poll_once(call.as_mut())).join().unwrap());
        if let std::task::Poll::Ready(results) = poll {
            break results.unwrap();
        }
    };
    assert_eq!(results, (n, f64::from(n) / 2.0, 3 * i64::from(n)));
    assert!(threads > 2, "it was polled {threads} times");
}

#[test]
fn a_quantum_lasts_about_as_long_as_it_says() {
    let quantum = Duration::from_millis(20);
    let (mut store, instance) = guest(quantum);
    let mut call = pin!(run_async(&mut store, &instance, "spin"));
    for _ in 0..3 {
        let start = Instant::now();
        assert!(poll_once(call.as_mut()).is_pending());
        // How much later depends on what else this machine does.
        assert!(start.elapsed() >= quantum, "{:?}", start.elapsed());
    }
}

#[test]
fn a_quantum_can_be_taken_back_and_is_nothing_to_plain_calls() {
    let (mut store, instance) = guest(Duration::from_micros(100));
    let count = instance
        .get_typed_func::<i32, (i32, f64, i64)>(&mut store, "count")
        .unwrap();
    let n = 1_000_000;
    assert_eq!(count.call(&mut store, n).unwrap().0, n);
    store.set_async_quantum(None).unwrap();
    {
        let mut call = pin!(count.call_async(&mut store, n));
        assert!(poll_once(call.as_mut()).is_ready());
    }
    assert_eq!(block_on(count.call_async(&mut store, n)).unwrap().0, n);
}

#[test]
fn fuel_makes_guests_give_way_at_the_same_places_each_time() {
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, GUEST).unwrap();
    let pendings_and_fuel = |n: i32, interval: u64| {
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000_000).unwrap();
        store.fuel_async_yield_interval(Some(interval)).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let count = instance
            .get_typed_func::<i32, (i32, f64, i64)>(&mut store, "count")
            .unwrap();
        let mut pendings = 0;
        {
            let mut call = pin!(count.call_async(&mut store, n));
            loop {
                match poll_once(call.as_mut()) {
                    std::task::Poll::Ready(results) => {
                        let expected = (n, f64::from(n) / 2.0, 3 * i64::from(n));
                        assert_eq!(results.unwrap(), expected);
                        break;
                    }
                    std::task::Poll::Pending => pendings += 1,
                }
            }
        }
        (pendings, 1_000_000 - store.get_fuel().unwrap())
    };
    let (_, used) = pendings_and_fuel(1000, 1_000_000);
    for interval in [100, 1000, 10_000] {
        let (pendings, used_in_pieces) = pendings_and_fuel(1000, interval);
        assert_eq!(used_in_pieces, used, "every {interval}");
        // An interval ends where the guest notices, which is a little later.
        let most = used / interval;
        assert!(
            (most.saturating_sub(1 + most / 4)..=most).contains(&pendings),
            "{pendings} times, {used} used, every {interval}"
        );
        assert_eq!(pendings_and_fuel(1000, interval), (pendings, used));
    }
    // What is used up for good is a trap.
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    store.set_fuel(5000).unwrap();
    store.fuel_async_yield_interval(Some(1000)).unwrap();
    let error = block_on(run_async(&mut store, &instance, "spin")).unwrap_err();
    assert_eq!(crate::support::trap(&error), Trap::OutOfFuel);
}

#[test]
fn a_deadline_ends_a_guest_between_its_quanta() {
    let (mut store, instance) = guest(Duration::from_millis(1));
    let start = Instant::now();
    store.set_timeout(Duration::from_millis(20)).unwrap();
    let error = block_on(run_async(&mut store, &instance, "spin")).unwrap_err();
    assert_eq!(
        error.downcast_ref::<Terminated>(),
        Some(&Terminated::Deadline)
    );
    assert!(start.elapsed() >= Duration::from_millis(20));
    store.set_deadline(None).unwrap();
    let count = instance
        .get_typed_func::<i32, (i32, f64, i64)>(&mut store, "count")
        .unwrap();
    assert_eq!(count.call(&mut store, 5).unwrap().0, 5);
    let error = run(&mut store, &instance, "none").unwrap_err();
    assert!(error.to_string().contains("none"));
}
