//! Yields and resumes: values of any type in both directions, from anywhere, to anywhere.

use crate::support::{
    Alive, assert_fails, assert_yielded, define_yield, guest_with, returned, returned_i32,
};
use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const ONCE: &str = r#"(module (import "host" "f" (func $f (result i32)))
    (func (export "run") (result i32) (i32.add (call $f) (i32.const 1))))"#;

fn once(f: impl Fn(Caller<'_, ()>) -> Result<i32> + Send + Sync + 'static) -> Guest<()> {
    guest_with(ONCE, |linker| {
        linker.func_wrap("host", "f", f).unwrap();
    })
}

#[derive(Debug, PartialEq)]
struct Question(String);

#[derive(Debug, PartialEq)]
struct Answer(std::cell::Cell<i32>);

#[track_caller]
fn yielded(result: Result<RunResult, GuestError>) -> YieldedValue {
    match result {
        Ok(RunResult::Yielded(value)) => value,
        other => panic!("did not yield: {other:?}"),
    }
}

#[test]
fn yields_with_and_without_values_in_both_directions() {
    let mut guest = once(|mut caller| {
        caller.yield_()?;
        caller.yield_val(Question("what?".into()))?;
        let first: Answer = caller.yield_expecting_val()?;
        let second: i32 = caller.yield_val_expecting_val(Question("really?".into()))?;
        Ok(first.0.get() + second)
    });
    let value = yielded(guest.run("run", &[]));
    assert!(value.is_none() && value.expected_type().is_none());
    assert_eq!(guest.state(), State::Yielded { expects: None });

    let value = yielded(guest.resume());
    assert!(value.is::<Question>() && !value.is::<String>() && !value.is_none());
    assert_eq!(value.downcast_ref::<Question>().unwrap().0, "what?");
    let value = value.downcast::<String>().unwrap_err();
    assert_eq!(
        *value.downcast::<Question>().unwrap(),
        Question("what?".into())
    );

    let value = yielded(guest.resume());
    assert!(value.is_none() && value.expects::<Answer>() && !value.expects::<i32>());
    assert!(value.expected_type().unwrap().ends_with("Answer"));
    assert!(value.downcast::<i32>().is_err());
    assert!(matches!(guest.state(), State::Yielded { expects: Some(_) }));

    let value = yielded(guest.resume_with_val(Answer(20.into())));
    assert!(value.is::<Question>() && value.expects::<i32>());
    assert_eq!(returned_i32(guest.resume_with_val(21)), 42);
    assert!(guest.is_ready());
}

#[test]
fn a_wrong_resume_is_refused_and_the_guest_can_still_be_resumed() {
    let mut guest = once(|mut caller| {
        caller.yield_()?;
        caller.yield_expecting_val::<i32>()
    });
    assert_fails(guest.resume(), "Resume(NotSuspended)", &["no computation"]);
    assert_fails(guest.resume_with_val(1), "Resume(NotSuspended)", &[]);
    assert_yielded(guest.run("run", &[]));
    for _ in 0..2 {
        assert_fails(
            guest.resume_with_val(1),
            "Resume(Unexpected)",
            &["none is expected"],
        );
    }
    yielded(guest.resume());
    for _ in 0..2 {
        assert_fails(guest.resume(), "Resume(Missing", &["i32", "none was given"]);
        assert_fails(
            guest.resume_with_val(1u32),
            "Resume(WrongType",
            &["i32", "another type"],
        );
    }
    assert_fails(
        guest.run("run", &[]),
        "Suspended",
        &["yielded", "i32", "resumed"],
    );
    assert_eq!(returned_i32(guest.resume_with_val(5)), 6);
    assert_fails(guest.resume_with_val(5), "Resume(NotSuspended)", &[]);
    assert_fails(guest.resume(), "Resume(NotSuspended)", &[]);
}

/// `run` goes down through guest and host `n` times, and yields at the bottom and on each level on the way back.
fn nested() -> Guest<()> {
    guest_with(
        r#"(module (import "host" "down" (func $down (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (i32.add (i32.const 1) (call $down (local.get 0)))))"#,
        |linker| {
            let down = |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
                let mut below = 0;
                if n > 0 {
                    let run = caller
                        .get_export("run")
                        .and_then(Extern::into_func)
                        .unwrap();
                    let run = run.typed::<i32, i32>(&caller)?;
                    below = run.call(&mut caller, n - 1)?;
                }
                caller.yield_val(n)?;
                Ok(below)
            };
            linker.func_wrap("host", "down", down).unwrap();
        },
    )
}

#[test]
fn nested_activations_yield_and_are_resumed_each_on_another_thread() {
    let mut guest = nested();
    let mut result = guest.run("run", &[Val::I32(5)]);
    for level in 0..=5 {
        let value = yielded(result);
        assert_eq!(*value.downcast::<i32>().unwrap(), level);
        (guest, result) = std::thread::spawn(move || {
            let result = guest.resume();
            (guest, result)
        })
        .join()
        .unwrap();
    }
    assert_eq!(returned_i32(result), 6);
}

#[test]
fn a_trap_on_another_thread_is_the_guests() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "yield" (func $yield)) (memory 1)
            (func (export "run") (call $yield) (drop (i32.load (i32.const -4)))))"#,
        define_yield,
    );
    assert_yielded(guest.run("run", &[]));
    let mut guest = std::thread::spawn(move || {
        assert_fails(guest.resume(), "Faulted", &["out of bounds"]);
        guest
    })
    .join()
    .unwrap();
    assert_yielded(guest.run("run", &[]));
    assert_fails(guest.resume(), "Faulted", &["out of bounds"]);
}

#[test]
fn what_is_suspended_is_unwound_by_dropping_and_by_resetting() {
    let alive = Arc::new(AtomicUsize::new(0));
    let errors = Arc::new(AtomicUsize::new(0));
    let make = || {
        let (alive, errors) = (alive.clone(), errors.clone());
        let mut guest = once(move |mut caller| {
            let _held = Alive::new(&alive);
            let yielded = caller.yield_();
            errors.fetch_add(usize::from(yielded.is_err()), SeqCst);
            // Trying again does not help.
            assert!(yielded.is_ok() || caller.yield_().is_err());
            yielded?;
            Ok(1)
        });
        assert_yielded(guest.run("run", &[]));
        assert_eq!(alive_of(&guest), "yielded");
        guest
    };
    let mut guest = make();
    assert_eq!(alive.load(SeqCst), 1);
    guest.reset().unwrap();
    assert_eq!((alive.load(SeqCst), errors.load(SeqCst)), (0, 1));
    assert_yielded(guest.run("run", &[]));
    drop(guest);
    assert_eq!((alive.load(SeqCst), errors.load(SeqCst)), (0, 2));
    let guest = make();
    std::thread::spawn(move || drop(guest)).join().unwrap();
    assert_eq!((alive.load(SeqCst), errors.load(SeqCst)), (0, 3));
    make().into_data();
    assert_eq!((alive.load(SeqCst), errors.load(SeqCst)), (0, 4));
    let mut guest = make();
    assert_eq!(returned_i32(guest.resume()), 2);
    assert_eq!((alive.load(SeqCst), errors.load(SeqCst)), (0, 4));
}

fn alive_of(guest: &Guest<()>) -> String {
    guest.state().to_string()
}

#[test]
fn memory_globals_and_contexts_are_there_while_a_guest_is_suspended() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "yield" (func $yield)) (memory 1 2) (global $g (mut i32) (i32.const 1))
            (func (export "run") (result i32)
                (i32.store (i32.const 0) (i32.const 11)) (call $yield)
                (i32.add (i32.add (i32.load (i32.const 0)) (global.get $g)) (i32.load (i32.const 65536)))))"#,
        define_yield,
    );
    assert_yielded(guest.run("run", &[]));
    assert_eq!(guest.heap_u32()[0], 11);
    assert_eq!(guest.grow_memory(1).unwrap(), 1);
    guest.heap_u32_mut()[0] = 20;
    guest.heap_u32_mut()[16384] = 300;
    guest.globals_mut().set(0, Val::I32(4000)).unwrap();
    guest.contexts().insert(5);
    assert_eq!(returned_i32(guest.resume()), 4320);
}

#[test]
fn a_plain_call_cannot_be_suspended_and_says_so() {
    let mut guest = once(|mut caller| {
        caller.yield_()?;
        Ok(1)
    });
    let instance = guest.instance().unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut guest, "run")
        .unwrap();
    let error = run.call(&mut guest, ()).unwrap_err();
    assert_eq!(
        error.downcast_ref(),
        Some(&CannotSuspend::PlainCall),
        "{error:?}"
    );
    assert_yielded(guest.run("run", &[]));
    // The store is suspended now.
    let error = run.call(&mut guest, ()).unwrap_err();
    assert!(
        error.downcast_ref::<StoreSuspended>().is_some(),
        "{error:?}"
    );
    assert_eq!(returned_i32(guest.resume()), 2);
    let result = guest.run_typed::<(), i32>("run", ()).unwrap();
    assert!(result.returned().is_none());
    assert_eq!(returned_i32(guest.resume()), 2);
}

#[test]
fn a_guest_that_ran_another_cannot_yield_for_it_but_each_for_itself() {
    // The inner guest's host function yields: that suspends the inner guest only.
    let inner = once(|mut caller| caller.yield_val_expecting_val("inner"));
    let mut outer = guest_with::<Option<Guest<()>>>(ONCE, |linker| {
        let f = |mut caller: Caller<'_, Option<Guest<()>>>| -> Result<i32> {
            let inner = caller.data_mut().as_mut().unwrap();
            let value = yielded(inner.run("run", &[]));
            assert!(value.is::<&str>());
            let answer: i32 = caller.yield_val_expecting_val("outer")?;
            let inner = caller.data_mut().as_mut().unwrap();
            Ok(returned_i32(inner.resume_with_val(answer)))
        };
        linker.func_wrap("host", "f", f).unwrap();
    });
    *outer.data_mut() = Some(inner);
    let value = yielded(outer.run("run", &[]));
    assert_eq!(value.downcast_ref(), Some(&"outer"));
    assert!(outer.data().as_ref().unwrap().is_yielded());
    assert_eq!(returned_i32(outer.resume_with_val(40)), 42);
    assert!(outer.data().as_ref().unwrap().is_ready());
}

#[test]
fn a_function_with_many_results_returns_them_after_being_resumed() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "yield" (func $yield))
            (func (export "run") (param i64 f64) (result f64 i64 i32)
                (call $yield) (local.get 1) (local.get 0) (i32.const 7)))"#,
        define_yield,
    );
    let args = [Val::I64(1 << 40), Val::F64(2.5f64.to_bits())];
    assert_yielded(guest.run("run", &args));
    let results = returned(guest.resume());
    assert!(
        matches!(results[..], [Val::F64(f), Val::I64(i), Val::I32(7)] if f == args[1].unwrap_f64().to_bits() && i == 1 << 40),
        "{results:?}"
    );
}

#[test]
fn vectors_floats_and_references_survive_a_yield() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "yield" (func $yield))
            (func (export "run") (param $s externref) (param $v v128) (param $f f64) (result externref v128 f64)
                (local.get $s) (i64x2.add (local.get $v) (i64x2.splat (i64.const 1)))
                (f64.mul (local.get $f) (f64.const 2)) (call $yield)))"#,
        define_yield,
    );
    let text = ExternRef::new(&mut guest, String::from("kept")).unwrap();
    let args = [
        Val::ExternRef(Some(text)),
        Val::V128(V128::from(5u128 << 64 | 9)),
        Val::F64(1.25f64.to_bits()),
    ];
    assert_yielded(guest.run("run", &args));
    guest.as_context_mut().gc(None).unwrap();
    let results = returned(guest.resume());
    let text = results[0].unwrap_extern_ref().copied().unwrap();
    let text = text.data(&guest).unwrap().unwrap();
    assert_eq!(text.downcast_ref::<String>().unwrap(), "kept");
    assert_eq!(u128::from(results[1].unwrap_v128()), 6u128 << 64 | 10);
    assert_eq!(results[2].unwrap_f64(), 2.5);
}
