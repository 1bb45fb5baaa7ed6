//! Every operation in every state: the table in `guest/state.rs`, row by row.

use crate::support::{Alive, counting_engine, guest_of};
use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const MODULE: &str = r#"(module
    (import "host" "yield" (func $yield (param i32)))
    (import "host" "terminate" (func $terminate))
    (memory 1 3) (global $g (mut i32) (i32.const 1))
    (table 1 funcref) (elem (i32.const 0) func $ok)
    (func $start (global.set $g (i32.const 2)))
    (start $start)
    (func $ok (export "ok") (result i32) (i32.const 42))
    (func (export "yield") (call $yield (i32.const 0)))
    (func (export "ask") (call $yield (i32.const 1)))
    (func (export "terminate") (call $terminate))
    (func (export "trap") unreachable)
    (func (export "bounded") (local i32)
        (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 5000)))))
    (func (export "spin") (global.set $g (i32.const 3)) (loop (br_if 0 (i32.eq (global.get $g) (i32.const 3))))))"#;

/// The states, each with a way to it.
#[derive(Copy, Clone, Debug, PartialEq)]
enum In {
    NotStarted,
    Ready,
    Yielded,
    Asking,
    Preempted,
    BoundExpired,
    Faulted,
    Terminated,
    Forgotten,
}

const STATES: [In; 9] = [
    In::NotStarted,
    In::Ready,
    In::Yielded,
    In::Asking,
    In::Preempted,
    In::BoundExpired,
    In::Faulted,
    In::Terminated,
    In::Forgotten,
];

fn make(state: In, engine: &Engine, alive: &Arc<AtomicUsize>) -> Guest<()> {
    let count = alive.clone();
    let mut guest = guest_of::<()>(engine, MODULE, |linker| {
        let yields = move |mut caller: Caller<'_, ()>, asks: i32| -> Result<()> {
            let _held = Alive::new(&count);
            match asks {
                0 => caller.yield_(),
                _ => caller.yield_expecting_val::<u8>().map(drop),
            }
        };
        linker.func_wrap("host", "yield", yields).unwrap();
        let terminate = |mut caller: Caller<'_, ()>| -> Result<()> { caller.terminate("stop") };
        linker.func_wrap("host", "terminate", terminate).unwrap();
    });
    if state == In::NotStarted {
        return guest;
    }
    guest.run_start().unwrap();
    let expected = match state {
        In::NotStarted | In::Ready => State::Ready,
        In::Yielded => {
            guest.run("yield", &[]).unwrap();
            State::Yielded { expects: None }
        }
        In::Asking => {
            guest.run("ask", &[]).unwrap();
            State::Yielded {
                expects: Some("u8"),
            }
        }
        In::Preempted => {
            guest.set_quantum(Some(Duration::from_millis(1))).unwrap();
            let result = guest.run("spin", &[]).unwrap();
            assert!(matches!(result, RunResult::Preempted), "{result:?}");
            guest.set_quantum(None).unwrap();
            guest.globals_mut().set(0, Val::I32(4)).unwrap();
            State::Preempted
        }
        In::BoundExpired => {
            guest.set_bound(Some(1000)).unwrap();
            let result = guest.run("bounded", &[]).unwrap();
            assert!(matches!(result, RunResult::BoundExpired), "{result:?}");
            guest.set_bound(None).unwrap();
            State::BoundExpired
        }
        In::Faulted => {
            guest.run("trap", &[]).unwrap_err();
            State::Faulted { recoverable: true }
        }
        In::Terminated => {
            guest.run("terminate", &[]).unwrap_err();
            State::Terminated
        }
        In::Forgotten => {
            let mut future = Box::pin(guest.run_async("bounded", &[], Some(1000)));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
            // Forgotten where it waits for its next turn.
            std::mem::forget(future);
            State::Running
        }
    };
    assert_eq!(guest.state(), expected);
    guest
}

/// What an operation does: the name of the error's variant, or of the result's.
type Operation = fn(&mut Guest<()>) -> String;

fn name<R: std::fmt::Debug>(result: Result<R, GuestError>) -> String {
    let shown = match result {
        Ok(result) => format!("{result:?}"),
        Err(error) => format!("{error:?}"),
    };
    let end = shown.find(['{', '[']).unwrap_or(shown.len());
    let shown = shown[..end]
        .trim_end_matches([' ', '('])
        .replace("Resume(", "");
    shown.trim_end_matches(')').to_string()
}

const OPERATIONS: [(&str, Operation); 9] = [
    ("run", |g| name(g.run("ok", &[]))),
    ("run_func_idx", |g| name(g.run_func_idx(0, 0, &[]))),
    ("run_typed", |g| name(g.run_typed::<(), i32>("ok", ()))),
    ("run_for", |g| {
        name(g.run_for(Duration::from_secs(60), "ok", &[]))
    }),
    ("run_start", |g| name(g.run_start())),
    ("resume", |g| name(g.resume())),
    ("resume_with_val", |g| name(g.resume_with_val(1u8))),
    ("resume_with_wrong_val", |g| name(g.resume_with_val("no"))),
    ("reset", |g| name(g.reset())),
];

/// What each operation does in each state, in the order of `OPERATIONS`.
fn expected(state: In) -> [&'static str; 9] {
    let run = |run, start| {
        let returned = if run == "Returned" {
            "Returned(42"
        } else {
            run
        };
        [run, run, returned, run, start]
    };
    let ([a, b, c, d, e], [f, g, h]) = match state {
        In::NotStarted => (run("NotStarted", "("), ["NotSuspended"; 3]),
        In::Ready | In::Faulted => (run("Returned", "AlreadyStarted"), ["NotSuspended"; 3]),
        In::Yielded => (
            run("Suspended", "AlreadyStarted"),
            ["Returned", "Unexpected", "Unexpected"],
        ),
        In::Asking => (
            run("Suspended", "AlreadyStarted"),
            ["Missing", "Returned", "WrongType"],
        ),
        In::Preempted | In::BoundExpired => (
            run("Suspended", "AlreadyStarted"),
            ["Returned", "Unexpected", "Unexpected"],
        ),
        In::Terminated | In::Forgotten => {
            (run("NeedsReset", "AlreadyStarted"), ["NotSuspended"; 3])
        }
    };
    [a, b, c, d, e, f, g, h, "("]
}

#[test]
fn each_operation_does_in_each_state_what_the_table_says() {
    let engine = counting_engine();
    for state in STATES {
        let expected = expected(state);
        for ((operation, run), expected) in OPERATIONS.iter().zip(expected) {
            let alive = Arc::new(AtomicUsize::new(0));
            let mut guest = make(state, &engine, &alive);
            let before = guest.state();
            let found = run(&mut guest);
            assert_eq!(found, expected, "{operation} in {state:?}");
            let refused = !found.starts_with("Returned") && found != "(";
            if refused {
                assert_eq!(guest.state(), before, "{operation} in {state:?}");
            }
            // Whatever it did, the guest can be looked at, reset and run.
            assert_eq!(guest.heap().len(), 65536, "{operation} in {state:?}");
            assert_eq!(guest.globals().len(), 1);
            assert!(guest.check_heap(guest.heap().as_ptr(), 1));
            assert!(guest.instruction_count().is_some());
            guest.contexts().insert(5u64);
            guest.reset().unwrap();
            assert_eq!(guest.state(), State::NotStarted);
            assert_eq!(guest.globals()[0].unwrap_i32(), 1);
            guest.run_start().unwrap();
            assert_eq!(guest.globals()[0].unwrap_i32(), 2);
            let result = guest.run("ok", &[]).unwrap();
            assert_eq!(result.returned().unwrap()[0].unwrap_i32(), 42);
            assert_eq!(guest.contexts().remove::<u64>(), Some(5));
            if state != In::Forgotten {
                assert_eq!(alive.load(SeqCst), 0, "{operation} in {state:?}");
            }
        }
    }
}

#[test]
fn memory_can_be_grown_in_every_state() {
    let engine = counting_engine();
    for state in STATES {
        let mut guest = make(state, &engine, &Arc::default());
        assert_eq!(guest.grow_memory(1).unwrap(), 1, "{state:?}");
        assert_eq!(guest.grow_memory(0).unwrap(), 2, "{state:?}");
        assert!(guest.grow_memory(2).is_err(), "{state:?}");
        guest.heap_mut()[131_071] = 1;
        if guest.state().is_suspended() && state != In::Asking {
            guest.resume().unwrap();
            assert_eq!(guest.heap()[131_071], 1);
        }
    }
}

#[test]
fn a_guest_can_be_dropped_and_killed_in_every_state() {
    let engine = counting_engine();
    for state in STATES {
        let alive = Arc::new(AtomicUsize::new(0));
        let mut guest = make(state, &engine, &alive);
        let switch = guest.kill_switch();
        drop(guest);
        assert_eq!(switch.terminate(), Err(KillError::Invalid), "{state:?}");
        if state != In::Forgotten {
            assert_eq!(alive.load(SeqCst), 0, "{state:?}");
        }

        let mut guest = make(state, &engine, &alive);
        let switch = guest.kill_switch();
        let answer = switch.terminate();
        if guest.state().is_suspended() {
            assert_eq!(answer, Ok(KillSuccess::Pending), "{state:?}");
            let result = match state {
                In::Asking => guest.resume_with_val(1u8),
                _ => guest.resume(),
            };
            let error = result.unwrap_err();
            let remote = GuestError::Terminated(TerminationDetails::Remote);
            assert_eq!(format!("{error:?}"), format!("{remote:?}"), "{state:?}");
            assert_eq!(switch.terminate(), Err(KillError::Invalid));
            assert_eq!(alive.load(SeqCst), 0, "{state:?}");
        } else if state != In::Forgotten {
            assert_eq!(answer, Ok(KillSuccess::Cancelled), "{state:?}");
            assert_eq!(
                switch.terminate(),
                Err(KillError::NotTerminable),
                "{state:?}"
            );
        }
    }
}

#[test]
fn guests_are_send_and_move_between_threads_in_every_state() {
    let engine = counting_engine();
    for state in STATES {
        let guest = make(state, &engine, &Arc::default());
        let started = Instant::now();
        let mut guest = std::thread::spawn(move || {
            let mut guest = guest;
            if guest.state().is_suspended() && state != In::Asking {
                let result = guest.resume().unwrap();
                assert!(matches!(result, RunResult::Returned(_)), "{state:?}");
            }
            guest
        })
        .join()
        .unwrap();
        guest.reset().unwrap();
        guest.run_start().unwrap();
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
