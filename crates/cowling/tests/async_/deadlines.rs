//! Deadlines: when they end a guest, and when they do not.

use crate::executor::block_on;
use crate::support::{linked, run, run_async, trap};
use cowling::*;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Guests that run for ever, each in another way.
const GUEST: &str = r#"(module
    (import "host" "sleep" (func $sleep))
    (import "host" "nest" (func $nest))
    (memory (export "memory") 1 4)
    (table $table 10 funcref)
    (type $none (func))
    (elem (i32.const 0) $callee)
    (func $callee)
    (func (export "loop") (loop (br 0)))
    (func (export "calls") (loop (call $callee) (br 0)))
    (func (export "indirect") (loop (call_indirect (type $none) (i32.const 0)) (br 0)))
    (func $recurse (param i32) (if (local.get 0) (then
        (call $recurse (i32.sub (local.get 0) (i32.const 1)))
        (call $recurse (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "recursion") (loop (call $recurse (i32.const 60)) (br 0)))
    (func (export "bulk") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0)))
    (func (export "grow") (loop (drop (memory.grow (i32.const 0))) (drop (memory.grow (i32.const 9))) (br 0)))
    (func (export "table") (loop (table.fill $table (i32.const 0) (ref.func $callee) (i32.const 10)) (br 0)))
    (func (export "host") (loop (call $sleep) (br 0)))
    (func (export "nested") (call $nest))
    (func (export "trap") (unreachable))
    (func (export "fine")))"#;

const FOREVER: [&str; 9] = [
    "loop",
    "calls",
    "indirect",
    "recursion",
    "bulk",
    "grow",
    "table",
    "host",
    "nested",
];

fn guest() -> (Store<()>, Instance) {
    linked(GUEST, |linker| {
        linker
            .func_wrap("host", "sleep", || sleep(Duration::from_millis(1)))
            .unwrap();
        linker
            .func_wrap("host", "nest", |mut caller: Caller<'_, ()>| {
                let inner = caller.get_export("loop").unwrap().into_func().unwrap();
                inner.typed::<(), ()>(&caller)?.call(&mut caller, ())
            })
            .unwrap();
    })
}

#[track_caller]
fn assert_ended(result: Result<()>, by: Terminated) {
    let error = result.unwrap_err();
    assert_eq!(trap(&error), Trap::Interrupt);
    assert_eq!(error.downcast_ref::<Terminated>(), Some(&by), "{error:?}");
}

#[test]
fn a_deadline_ends_guests_whatever_they_do() {
    let (mut store, instance) = guest();
    let timeout = Duration::from_millis(15);
    for export in FOREVER {
        for asynchronous in [false, true] {
            let start = Instant::now();
            store.set_timeout(timeout).unwrap();
            let result = if asynchronous {
                block_on(run_async(&mut store, &instance, export))
            } else {
                run(&mut store, &instance, export)
            };
            assert_ended(result, Terminated::Deadline);
            assert!(start.elapsed() >= timeout, "{export}");
            store.set_deadline(None).unwrap();
            run(&mut store, &instance, "fine").unwrap();
        }
    }
}

#[test]
fn what_has_passed_ends_the_next_call_before_it_begins() {
    let (mut store, instance) = guest();
    store.set_deadline(Instant::now()).unwrap();
    for _ in 0..3 {
        assert_ended(run(&mut store, &instance, "fine"), Terminated::Deadline);
    }
    store.set_timeout(Duration::from_secs(1000)).unwrap();
    run(&mut store, &instance, "fine").unwrap();
    // It passes while nothing runs.
    store.set_timeout(Duration::from_millis(2)).unwrap();
    sleep(Duration::from_millis(20));
    assert_ended(run(&mut store, &instance, "fine"), Terminated::Deadline);
}

#[test]
fn a_deadline_that_is_moved_or_taken_back_does_nothing() {
    let (mut store, instance) = guest();
    let (mut spinning, spin) = guest();
    for _ in 0..20 {
        store.set_timeout(Duration::from_millis(1)).unwrap();
        run(&mut store, &instance, "fine").ok();
        store.set_deadline(None).unwrap();
        spinning.set_timeout(Duration::from_millis(3)).unwrap();
        assert_ended(run(&mut spinning, &spin, "loop"), Terminated::Deadline);
        run(&mut store, &instance, "fine").unwrap();
    }
}

#[test]
fn a_timeout_beyond_all_time_is_none() {
    let (mut store, instance) = guest();
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        store.set_timeout(timeout).unwrap();
        run(&mut store, &instance, "fine").unwrap();
    }
}

#[test]
fn a_trap_before_the_deadline_is_that_trap() {
    let (mut store, instance) = guest();
    store.set_timeout(Duration::from_secs(100)).unwrap();
    let error = run(&mut store, &instance, "trap").unwrap_err();
    assert_eq!(trap(&error), Trap::UnreachableCodeReached);
}

#[test]
fn each_store_has_its_own() {
    std::thread::scope(|scope| {
        for milliseconds in [5, 10, 20, 40] {
            scope.spawn(move || {
                let (mut store, instance) = guest();
                let timeout = Duration::from_millis(milliseconds);
                for _ in 0..5 {
                    let start = Instant::now();
                    store.set_timeout(timeout).unwrap();
                    assert_ended(run(&mut store, &instance, "loop"), Terminated::Deadline);
                    assert!(start.elapsed() >= timeout);
                }
            });
        }
    });
}

#[test]
fn a_host_function_may_move_the_deadline_of_the_guest_that_called_it() {
    let (mut store, instance) = linked::<i32>(
        r#"(module (import "host" "more" (func $more)) (func (export "run") (loop (call $more) (br 0))))"#,
        |linker| {
            linker
                .func_wrap("host", "more", |mut caller: Caller<'_, i32>| {
                    *caller.data_mut() += 1;
                    sleep(Duration::from_millis(1));
                    if *caller.data() < 20 {
                        caller
                            .as_context_mut()
                            .set_timeout(Duration::from_secs(100))?;
                    } else if *caller.data() == 20 {
                        caller.as_context_mut().set_timeout(Duration::ZERO)?;
                    }
                    Ok(())
                })
                .unwrap();
        },
    );
    store.set_timeout(Duration::from_secs(100)).unwrap();
    assert_ended(run(&mut store, &instance, "run"), Terminated::Deadline);
    assert_eq!(*store.data(), 20);
}

#[test]
fn a_kill_switch_ends_what_runs() {
    let (mut store, instance) = guest();
    for export in ["loop", "host", "nested"] {
        let switch = store.kill_switch();
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                sleep(Duration::from_millis(10));
                switch.terminate()
            });
            assert_ended(run(&mut store, &instance, export), Terminated::Remote);
            killer.join().unwrap().unwrap();
        });
        run(&mut store, &instance, "fine").unwrap();
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
    }
}
