//! What host functions do to their guest: fail, panic, terminate it, call back, run others.

use crate::support::{Alive, assert_fails, guest, guest_with, returned_i32, terminated};
use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const CALLING: &str = r#"(module (import "host" "f" (func $f))
    (global $after (mut i32) (i32.const 0))
    (func (export "run") (call $f) (global.set $after (i32.const 1)))
    (func (export "after") (result i32) (global.get $after)))"#;

fn calling(f: impl Fn(Caller<'_, ()>) -> Result<()> + Send + Sync + 'static) -> Guest<()> {
    guest_with(CALLING, |linker| {
        linker.func_wrap("host", "f", f).unwrap();
    })
}

#[track_caller]
fn assert_needs_reset(guest: &mut Guest<()>) {
    assert!(guest.is_terminated());
    assert_fails(
        guest.run("run", &[]),
        "NeedsReset",
        &["terminated", "reset"],
    );
    assert_fails(guest.resume(), "Resume", &[]);
    guest.reset().unwrap();
    assert_eq!(returned_i32(guest.run("after", &[])), 0);
}

#[derive(Debug, PartialEq)]
struct OnlySend(std::cell::Cell<i32>);

#[test]
fn terminate_carries_any_payload_and_runs_destructors() {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = alive.clone();
    let mut guest = calling(move |mut caller| {
        let _held = (Alive::new(&count), vec![Alive::new(&count)]);
        caller.terminate(OnlySend(7.into()))
    });
    let TerminationDetails::Provided(payload) = terminated(guest.run("run", &[])) else {
        panic!();
    };
    assert!(payload.is::<OnlySend>() && !payload.is::<i32>());
    let payload = payload.downcast::<i32>().unwrap_err();
    assert_eq!(*payload.downcast::<OnlySend>().unwrap(), OnlySend(7.into()));
    assert_eq!(alive.load(SeqCst), 0);
    assert_needs_reset(&mut guest);
}

#[test]
fn terminate_says_its_message_if_it_has_one() {
    let mut guest = calling(|mut caller| caller.terminate("enough"));
    let error = guest.run("run", &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "guest terminated: by a host function: enough"
    );
    let mut guest = calling(|mut caller| caller.terminate(3));
    let error = guest.run("run", &[]).unwrap_err();
    assert_eq!(error.to_string(), "guest terminated: by a host function");
}

#[test]
fn errors_of_host_functions_are_kept() {
    let mut guest = calling(|_| {
        let error = std::io::Error::other("disk on fire");
        Err(Error::new(error).context("cannot log"))
    });
    let details = terminated(guest.run("run", &[]));
    assert_eq!(
        details.to_string(),
        "a host function failed: cannot log: disk on fire"
    );
    let TerminationDetails::HostError(error) = details else {
        panic!();
    };
    assert!(error.downcast_ref::<std::io::Error>().is_some());
    assert!(error.downcast_ref::<WasmBacktrace>().is_some());
    assert_needs_reset(&mut guest);
}

#[test]
fn without_backtraces_a_failed_host_function_is_still_told_from_a_run_that_was_refused() {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config).unwrap();
    let mut guest = crate::support::guest_of::<()>(&engine, CALLING, |linker| {
        let calls_wrongly = |mut caller: Caller<'_, ()>| -> Result<()> {
            let run = caller.get_export("run").and_then(Extern::into_func);
            run.unwrap().call(&mut caller, &[Val::I32(1)], &mut [])
        };
        linker.func_wrap("host", "f", calls_wrongly).unwrap();
    });
    let details = terminated(guest.run("run", &[]));
    let message = details.to_string();
    assert!(
        message.starts_with("a host function failed: expected 0 arguments, got 1"),
        "{message}"
    );
    assert_needs_reset(&mut guest);
    assert_fails(
        guest.run("run", &[Val::I32(1)]),
        "Call",
        &["expected 0 arguments"],
    );
}

#[test]
fn panics_of_host_functions_end_the_guest_and_keep_their_payload() {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = alive.clone();
    let mut guest = calling(move |_| {
        let _held = Alive::new(&count);
        std::panic::panic_any(String::from("oh no"))
    });
    let details = terminated(guest.run("run", &[]));
    assert_eq!(details.to_string(), "a host function panicked: oh no");
    let TerminationDetails::OtherPanic(payload) = details else {
        panic!();
    };
    assert_eq!(*payload.downcast::<String>().unwrap(), "oh no");
    assert_eq!(alive.load(SeqCst), 0);
    assert_needs_reset(&mut guest);
}

#[test]
fn exceptions_that_nobody_catches_terminate() {
    let mut guest = guest(
        r#"(module (tag $t (param i32)) (func (export "run") (throw $t (i32.const 3)))
            (func (export "after") (result i32) (i32.const 0)))"#,
    );
    let details = terminated(guest.run("run", &[]));
    assert!(
        matches!(details, TerminationDetails::Exception(_)),
        "{details:?}"
    );
    assert_needs_reset(&mut guest);
}

#[test]
fn guests_are_entered_again_from_host_functions() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "down" (func $down (param i32) (result i32)))
            (func $run (export "run") (param i32) (result i32)
                (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
                    (else (i32.add (local.get 0) (call $down (i32.sub (local.get 0) (i32.const 1))))))))"#,
        |linker| {
            let down = |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
                let run = caller.get_export("run").and_then(Extern::into_func);
                let run = run.unwrap().typed::<i32, i32>(&caller)?;
                run.call(&mut caller, n)
            };
            linker.func_wrap("host", "down", down).unwrap();
        },
    );
    assert_eq!(returned_i32(guest.run("run", &[Val::I32(10)])), 55);
    // Deeper than the stack: a trap that comes through all the host functions between.
    let error = guest.run("run", &[Val::I32(1_000_000)]).unwrap_err();
    let GuestError::Faulted(details) = error else {
        panic!("{error}");
    };
    assert_eq!(details.trap(), Trap::StackOverflow);
    assert_eq!(returned_i32(guest.run("run", &[Val::I32(4)])), 10);
}

#[test]
fn a_guest_that_overflows_its_stack_below_a_host_function_unwinds_it() {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = alive.clone();
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "f" (func $f)) (func $deep (export "deep") (call $deep) (call $deep))
            (func (export "run") (call $f)) (func (export "after") (result i32) (i32.const 0)))"#,
        |linker| {
            let f = move |mut caller: Caller<'_, ()>| -> Result<()> {
                let _held = Alive::new(&count);
                let deep = caller
                    .get_export("deep")
                    .and_then(Extern::into_func)
                    .unwrap();
                deep.call(&mut caller, &[], &mut [])
            };
            linker.func_wrap("host", "f", f).unwrap();
        },
    );
    for _ in 0..3 {
        assert_fails(
            guest.run("run", &[]),
            "Faulted",
            &["call stack exhausted", "deep"],
        );
        assert_eq!(alive.load(SeqCst), 0);
        assert_eq!(returned_i32(guest.run("after", &[])), 0);
    }
}

#[test]
fn a_host_function_may_keep_an_inner_failure_to_itself() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "f" (func $f)) (import "host" "stop" (func $stop))
            (func (export "trap") unreachable) (func (export "stopped") (call $stop))
            (func (export "run") (result i32) (call $f) (i32.const 8)))"#,
        |linker| {
            let f = |mut caller: Caller<'_, ()>| -> Result<()> {
                for name in ["trap", "stopped"] {
                    let inner = caller.get_export(name).and_then(Extern::into_func).unwrap();
                    ensure!(
                        inner.call(&mut caller, &[], &mut []).is_err(),
                        "{name} returned"
                    );
                }
                Ok(())
            };
            linker.func_wrap("host", "f", f).unwrap();
            let stop = |mut caller: Caller<'_, ()>| -> Result<()> { caller.terminate(1) };
            linker.func_wrap("host", "stop", stop).unwrap();
        },
    );
    assert_eq!(returned_i32(guest.run("run", &[])), 8);
    assert!(guest.is_ready());
}

#[test]
fn a_host_function_runs_another_guest_on_the_same_thread() {
    let inner = guest(
        r#"(module (memory 1) (func (export "run") (param i32) (result i32)
            (i32.mul (local.get 0) (i32.const 3)))
            (func (export "trap") (drop (i32.load (i32.const -1)))))"#,
    );
    let mut outer = guest_with::<Option<Guest<()>>>(
        r#"(module (import "host" "ask" (func $ask (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (i32.add (call $ask (local.get 0)) (call $ask (i32.const 1)))))"#,
        |linker| {
            let ask = |mut caller: Caller<'_, Option<Guest<()>>>, n: i32| -> Result<i32> {
                let Some(inner) = caller.data_mut() else {
                    bail!("nobody to ask");
                };
                assert_fails(inner.run("trap", &[]), "Faulted", &["out of bounds"]);
                Ok(returned_i32(inner.run("run", &[Val::I32(n)])))
            };
            linker.func_wrap("host", "ask", ask).unwrap();
        },
    );
    *outer.data_mut() = Some(inner);
    assert_eq!(returned_i32(outer.run("run", &[Val::I32(5)])), 18);
}

#[test]
fn the_failure_of_another_guest_is_not_ones_own() {
    let mut outer = guest_with::<Option<Guest<()>>>(
        r#"(module (import "host" "ask" (func $ask)) (func (export "run") (call $ask)))"#,
        |linker| {
            let ask = |mut caller: Caller<'_, Option<Guest<()>>>| -> Result<()> {
                if let Some(inner) = caller.data_mut() {
                    inner.run("trap", &[])?;
                }
                Ok(())
            };
            linker.func_wrap("host", "ask", ask).unwrap();
        },
    );
    *outer.data_mut() = Some(guest(r#"(module (func (export "trap") unreachable))"#));
    let details = terminated(outer.run("run", &[]));
    let TerminationDetails::HostError(error) = details else {
        panic!("{details:?}");
    };
    assert!(
        matches!(error.downcast_ref(), Some(GuestError::Faulted(_))),
        "{error:?}"
    );
    assert!(outer.data().as_ref().unwrap().is_faulted());
}

#[test]
fn a_limiter_that_fails_terminates() {
    struct Fails;
    impl ResourceLimiter for Fails {
        fn memory_growing(&mut self, current: usize, _: usize, _: Option<usize>) -> Result<bool> {
            ensure!(current == 0, "not a byte more");
            Ok(true)
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
    }
    let engine = Engine::default();
    let wat = r#"(module (memory 1) (func (export "run") (drop (memory.grow (i32.const 1)))))"#;
    let module = Module::new(&engine, wat).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    let region = Region::builder().build().unwrap();
    let mut guest = region
        .guest(&pre, Fails)
        .limiter(|fails| fails)
        .build()
        .unwrap();
    let details = terminated(guest.run("run", &[]));
    assert!(details.to_string().contains("not a byte more"), "{details}");
}
