//! Epochs: stores with deadlines on a clock that the embedder advances.

use crate::executor::{block_on, poll_once, ready_at_poll};
use crate::support::{Wait, When, assert_says, run, run_async, trap};
use cowling::*;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// `ticks` lets that many epochs pass and then returns; `spin` never returns.
const GUEST: &str = r#"(module
    (import "host" "tick" (func $tick))
    (func (export "ticks") (param $n i32)
        (loop $next (if (local.get $n) (then
            (call $tick)
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br $next)))))
    (func (export "one") (call $tick))
    (func (export "spin") (loop (br 0)))
    (func (export "fine")))"#;

fn guest() -> (Store<Vec<u64>>, Instance) {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "tick", |caller: Caller<'_, Vec<u64>>| {
            caller.engine().increment_epoch();
        })
        .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let module = Module::new(&engine, GUEST).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

fn ticks(store: &mut Store<Vec<u64>>, instance: &Instance) -> TypedFunc<i32, ()> {
    instance.get_typed_func(store, "ticks").unwrap()
}

#[track_caller]
fn assert_interrupted(result: Result<()>) {
    let error = result.unwrap_err();
    assert_eq!(trap(&error), Trap::Interrupt);
    assert_eq!(
        error.downcast_ref::<Terminated>(),
        Some(&Terminated::Epoch),
        "{error:?}"
    );
}

#[test]
fn a_guest_is_interrupted_when_the_epoch_reaches_its_deadline() {
    for (deadline, passing, survives) in [
        (1, 0, true),
        (1, 1, false),
        (2, 1, true),
        (2, 2, false),
        (2, 5, false),
        (0, 0, false),
        (u64::MAX, 100, true),
    ] {
        let (mut store, instance) = guest();
        let ticks = ticks(&mut store, &instance);
        // Without a deadline epochs mean nothing.
        ticks.call(&mut store, 3).unwrap();
        for asynchronous in [false, true] {
            store.set_epoch_deadline(deadline);
            let result = if asynchronous {
                block_on(ticks.call_async(&mut store, passing))
            } else {
                ticks.call(&mut store, passing)
            };
            if survives {
                result.unwrap();
            } else {
                assert_interrupted(result);
                // Until it has a new deadline.
                assert_interrupted(run(&mut store, &instance, "fine"));
            }
            store.set_epoch_deadline(1);
            run(&mut store, &instance, "fine").unwrap();
        }
    }
}

#[test]
fn a_spinning_guest_is_interrupted_from_another_thread() {
    let (mut store, instance) = guest();
    for asynchronous in [false, true] {
        for _ in 0..10 {
            store.set_epoch_deadline(1);
            let engine = store.engine().clone();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(3));
                    engine.increment_epoch();
                });
                assert_interrupted(if asynchronous {
                    block_on(run_async(&mut store, &instance, "spin"))
                } else {
                    run(&mut store, &instance, "spin")
                });
            });
        }
    }
}

#[test]
fn a_callback_decides() {
    let (mut store, instance) = guest();
    let ticks = ticks(&mut store, &instance);
    store.epoch_deadline_callback(|mut store| {
        let calls = store.data().len() as u64;
        store.data_mut().push(calls);
        Ok(match calls {
            0 => UpdateDeadline::Continue(1),
            1 => UpdateDeadline::Continue(3),
            _ => UpdateDeadline::Interrupt,
        })
    });
    // At the ticks 1, 2 and 5.
    for (passing, calls, survives) in [(0, 0, true), (1, 1, true), (4, 2, true), (5, 3, false)] {
        for asynchronous in [false, true] {
            store.data_mut().clear();
            store.set_epoch_deadline(1);
            let result = if asynchronous {
                block_on(ticks.call_async(&mut store, passing))
            } else {
                ticks.call(&mut store, passing)
            };
            assert_eq!(store.data().len(), calls, "{passing} ticks");
            if survives {
                result.unwrap();
            } else {
                assert_interrupted(result);
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no more patience")]
struct NoPatience;

#[test]
fn an_error_of_the_callback_is_that_of_the_call() {
    let (mut store, instance) = guest();
    store.epoch_deadline_callback(|_| Err(NoPatience.into()));
    for _ in 0..3 {
        store.set_epoch_deadline(1);
        let error = run(&mut store, &instance, "one").unwrap_err();
        assert!(error.downcast_ref::<NoPatience>().is_some(), "{error:?}");
        assert!(error.downcast_ref::<Trap>().is_none(), "{error:?}");
        store.set_epoch_deadline(1);
        let error = block_on(run_async(&mut store, &instance, "one")).unwrap_err();
        assert!(error.downcast_ref::<NoPatience>().is_some(), "{error:?}");
        assert_says(&error, &["no more patience"]);
    }
}

#[test]
fn asynchronous_calls_let_the_executor_run_at_their_deadline() {
    for passing in [0, 1, 2, 7] {
        let (mut store, instance) = guest();
        store.epoch_deadline_async_yield_and_update(2);
        store.set_epoch_deadline(1);
        let ticks = ticks(&mut store, &instance);
        {
            // At the ticks 1, 3, 5, 7.
            let polls = 1 + (passing as usize).div_ceil(2);
            let call = pin!(ticks.call_async(&mut store, passing));
            ready_at_poll(call, polls).unwrap();
        }
        // Other calls just go on.
        ticks.call(&mut store, passing).unwrap();
    }
}

#[test]
fn the_deadline_after_a_yield_counts_from_when_the_guest_goes_on() {
    let (mut store, instance) = guest();
    let engine = store.engine().clone();
    let ticks = ticks(&mut store, &instance);
    store.epoch_deadline_async_yield_and_update(2);
    store.set_epoch_deadline(1);
    let mut call = pin!(ticks.call_async(&mut store, 2));
    assert!(poll_once(call.as_mut()).is_pending());
    // Others take their time.
    for _ in 0..5 {
        engine.increment_epoch();
    }
    // One tick is left, and two until the deadline.
    ready_at_poll(call, 1).unwrap();
}

#[test]
fn a_spinning_guest_lets_the_executor_run_at_each_epoch() {
    let (mut store, instance) = guest();
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1);
    let engine = store.engine().clone();
    let mut call = pin!(run_async(&mut store, &instance, "spin"));
    for _ in 0..10 {
        let engine = engine.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(2));
                engine.increment_epoch();
            });
            assert!(poll_once(call.as_mut()).is_pending());
        });
    }
}

#[test]
fn a_callback_may_yield_and_wait() {
    let (mut store, instance) = guest();
    let waited = Arc::new(AtomicUsize::new(0));
    let counts = waited.clone();
    store.epoch_deadline_callback(move |mut store| {
        let calls = store.data().len() as u64;
        store.data_mut().push(calls);
        let counts = counts.clone();
        Ok(match calls % 2 {
            0 => UpdateDeadline::Yield(1),
            _ => UpdateDeadline::YieldCustom(
                1,
                Box::pin(async move {
                    Wait::until(When::After(3)).await;
                    counts.fetch_add(1, Ordering::SeqCst);
                }),
            ),
        })
    });
    let ticks = ticks(&mut store, &instance);
    store.set_epoch_deadline(1);
    {
        // One pending for the yield, one for the wait and three for what it waits for, where the first of these is polled in
        // the same poll that finds the next one.
        let call = pin!(ticks.call_async(&mut store, 2));
        ready_at_poll(call, 1 + 1 + 1 + 3).unwrap();
    }
    assert_eq!(waited.load(Ordering::SeqCst), 1);
    // A call that cannot wait goes on.
    store.data_mut().clear();
    store.set_epoch_deadline(1);
    ticks.call(&mut store, 4).unwrap();
    assert_eq!(store.data().len(), 4);
    assert_eq!(waited.load(Ordering::SeqCst), 1);
    // And what it would have waited for does not hold up the next.
    store.set_epoch_deadline(100);
    let call = pin!(ticks.call_async(&mut store, 2));
    ready_at_poll(call, 1).unwrap();
}

#[test]
fn the_way_it_ends_can_be_changed() {
    let (mut store, instance) = guest();
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
    store.set_epoch_deadline(1);
    run(&mut store, &instance, "one").unwrap();
    store.epoch_deadline_trap();
    store.set_epoch_deadline(1);
    assert_interrupted(run(&mut store, &instance, "one"));
    store.epoch_deadline_async_yield_and_update(1);
    run(&mut store, &instance, "one").unwrap();
}

#[test]
fn epochs_are_those_of_one_engine() {
    let (mut store, instance) = guest();
    let (other, _) = guest();
    store.set_epoch_deadline(1);
    other.engine().increment_epoch();
    run(&mut store, &instance, "fine").unwrap();
    store.engine().increment_epoch();
    assert_interrupted(run(&mut store, &instance, "fine"));
}

#[test]
fn stores_come_and_go_while_epochs_pass() {
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (func (export "spin") (loop (br 0))))"#).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                engine.increment_epoch();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut store = Store::new(&engine, ());
                        store.set_epoch_deadline(2);
                        let instance = Instance::new(&mut store, &module, &[]).unwrap();
                        assert_interrupted(run(&mut store, &instance, "spin"));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}
