//! Computations that stop midway: yields and their values, where they go on, how they end.

mod cancelling;
mod nested;

use crate::engine::*;
use cowling_abi::Trap;
use cowling_vm::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn expects<V: 'static>() -> Option<Expects> {
    Some(Expects::of::<V>())
}

fn boxed<V: Send + 'static>(value: V) -> Option<YieldValue> {
    Some(Box::new(value))
}

/// What was yielded, if that is a `V`.
#[track_caller]
fn yielded<V: 'static>(progress: Result<Progress>) -> (V, Option<Expects>) {
    match progress.unwrap() {
        Progress::Suspended(Suspension::Yielded(yielded)) => {
            let value = yielded.value.expect("a value").downcast::<V>();
            (*value.expect("a value of the type"), yielded.expects)
        }
        other => panic!("not a yield: {other:?}"),
    }
}

#[track_caller]
fn yielded_nothing(progress: Result<Progress>) {
    match progress.unwrap() {
        Progress::Suspended(Suspension::Yielded(yielded)) => assert!(yielded.value.is_none()),
        other => panic!("not a yield: {other:?}"),
    }
}

#[track_caller]
fn returned<T, const N: usize>(store: &mut Store<T>, progress: Result<Progress>) -> [Value; N] {
    let progress = progress.unwrap();
    assert!(matches!(progress, Progress::Returned), "{progress:?}");
    let mut results = [Value::I32(0); N];
    store.as_mut().take_results(&mut results).unwrap();
    results
}

#[track_caller]
fn error<E: std::error::Error + Send + Sync + Clone + 'static>(
    result: Result<impl std::fmt::Debug>,
) -> E {
    let error = result.expect_err("an error");
    match error.downcast_ref::<E>() {
        Some(error) => error.clone(),
        None => panic!("another error: {error:?}"),
    }
}

/// Sets a number when dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Yields what it is given and returns the number it is resumed with.
fn exchange<T: 'static>() -> ImportValue<T> {
    host(|mut caller: HostCaller<'_, T>, value: i32| {
        let answer = caller.store.yield_now(boxed(value), expects::<i32>())?;
        Ok(*answer.unwrap().downcast::<i32>().unwrap())
    })
}

/// Yields nothing, expects nothing.
fn pause<T: 'static>() -> ImportValue<T> {
    host(|mut caller: HostCaller<'_, T>, ()| {
        assert!(caller.store.yield_now(None, None)?.is_none());
        Ok(())
    })
}

const EXCHANGE: &str = r#"(module
    (import "" "" (func $exchange (param i32) (result i32)))
    (func (export "f") (param i32) (result i32)
        (i32.add (call $exchange (local.get 0)) (call $exchange (i32.const 100)))))"#;

const PAUSE: &str = r#"(module
    (import "" "" (func $pause))
    (func (export "f") call $pause call $pause))"#;

#[test]
fn values_cross_in_both_directions() {
    let mut s = store(());
    let instance = instantiate(&mut s, EXCHANGE, &[exchange()]);
    let f = func(&mut s, instance, "f");
    for round in 0..3 {
        let progress = s.as_mut().start(f, &[Value::I32(round)]);
        assert_eq!(yielded::<i32>(progress), (round, expects::<i32>()));
        assert!(s.as_mut().is_suspended());
        let progress = s.as_mut().resume(boxed(20));
        assert_eq!(yielded::<i32>(progress).0, 100);
        let progress = s.as_mut().resume(boxed(3));
        assert_eq!(returned(&mut s, progress), [Value::I32(23)]);
        assert!(!s.as_mut().is_suspended());
    }
}

#[test]
fn typed_computations_leave_typed_results_once() {
    let mut s = store(());
    let instance = instantiate(&mut s, EXCHANGE, &[exchange()]);
    let f = func(&mut s, instance, "f");
    let typed = s.as_mut().typed::<i32, i32>(f).unwrap();
    assert_eq!(s.as_mut().take_typed_results(&typed), Err(NoResults));
    let progress = s.as_mut().start_typed(&typed, 5);
    assert_eq!(yielded::<i32>(progress).0, 5);
    assert_eq!(s.as_mut().take_typed_results(&typed), Err(NoResults));
    s.as_mut().resume(boxed(1)).unwrap();
    s.as_mut().resume(boxed(2)).unwrap();
    assert!(matches!(
        error::<CallError>(s.as_mut().take_results(&mut [])),
        CallError::ResultCount {
            expected: 1,
            found: 0,
            ..
        }
    ));
    assert_eq!(s.as_mut().take_typed_results(&typed), Ok(3));
    assert_eq!(s.as_mut().take_typed_results(&typed), Err(NoResults));
    assert_eq!(
        error::<NoResults>(s.as_mut().take_results(&mut [Value::I32(0)])),
        NoResults
    );
}

#[test]
fn resuming_is_checked_before_anything_runs() {
    let mut s = store(());
    assert_eq!(
        error::<ResumeError>(s.as_mut().resume(None)),
        ResumeError::NotSuspended
    );

    let instance = instantiate(&mut s, EXCHANGE, &[exchange()]);
    let f = func(&mut s, instance, "f");
    assert_eq!(yielded::<i32>(s.as_mut().start(f, &[Value::I32(1)])).0, 1);
    let expected = "i32";
    for (value, wrong) in [
        (None, ResumeError::Missing { expected }),
        (boxed(1u32), ResumeError::WrongType { expected }),
        (boxed(Box::new(1i32)), ResumeError::WrongType { expected }),
        (boxed("1"), ResumeError::WrongType { expected }),
    ] {
        assert_eq!(error::<ResumeError>(s.as_mut().resume(value)), wrong);
        assert!(s.as_mut().is_suspended());
    }
    assert_eq!(yielded::<i32>(s.as_mut().resume(boxed(20))).0, 100);
    let progress = s.as_mut().resume(boxed(2));
    assert_eq!(returned(&mut s, progress), [Value::I32(22)]);
    assert_eq!(
        error::<ResumeError>(s.as_mut().resume(boxed(2))),
        ResumeError::NotSuspended
    );

    let instance = instantiate(&mut s, PAUSE, &[pause()]);
    let f = func(&mut s, instance, "f");
    yielded_nothing(s.as_mut().start(f, &[]));
    assert_eq!(
        error::<ResumeError>(s.as_mut().resume(boxed(()))),
        ResumeError::Unexpected
    );
    yielded_nothing(s.as_mut().resume(None));
    let progress = s.as_mut().resume(None);
    assert_eq!(returned(&mut s, progress), []);
}

#[test]
fn starting_is_checked_before_anything_runs() {
    let mut s = store(());
    let instance = instantiate(&mut s, EXCHANGE, &[exchange()]);
    let f = func(&mut s, instance, "f");
    let mut other = store(());
    let foreign = instantiate(&mut other, PAUSE, &[pause()]);
    let foreign = func(&mut other, foreign, "f");
    for (func, args, message) in [
        (f, &[][..], "expected 1 arguments, got 0"),
        (
            f,
            &[Value::I64(1)],
            "argument 0: type mismatch: expected i32, found i64",
        ),
        (foreign, &[], "object used with the wrong store"),
    ] {
        let error = s.as_mut().start(func, args).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
        assert!(!s.as_mut().is_suspended());
    }
}

#[test]
fn a_suspended_store_runs_nothing_else() {
    let mut s = store(());
    let instance = instantiate(&mut s, PAUSE, &[pause()]);
    let f = func(&mut s, instance, "f");
    let typed = s.as_mut().typed::<(), ()>(f).unwrap();
    let plain = s
        .as_mut()
        .host_func(&HostFunc::typed(|_: HostCaller<'_, ()>, ()| Ok(())));
    yielded_nothing(s.as_mut().start(f, &[]));
    assert_eq!(
        error::<StoreSuspended>(s.as_mut().call(f, &[], &mut [])),
        StoreSuspended
    );
    assert_eq!(
        error::<StoreSuspended>(s.as_mut().call(plain, &[], &mut [])),
        StoreSuspended
    );
    assert_eq!(
        error::<StoreSuspended>(s.as_mut().call_typed(&typed, ())),
        StoreSuspended
    );
    assert_eq!(
        error::<StoreSuspended>(s.as_mut().start(f, &[])),
        StoreSuspended
    );
    assert_eq!(
        error::<StoreSuspended>(s.as_mut().start_typed(&typed, ())),
        StoreSuspended
    );
    let body: ComputationBody<()> = Box::new(|_| Ok(()));
    assert_eq!(
        error::<StoreSuspended>(s.as_mut().start_with(body)),
        StoreSuspended
    );
    let starts = compile(r#"(module (func $s) (start $s))"#);
    assert_eq!(
        error::<StoreSuspended>(s.as_mut().instantiate(&starts, &[])),
        StoreSuspended
    );
    // What runs nothing is allowed.
    instantiate(&mut s, r#"(module (memory 1))"#, &[]);
    yielded_nothing(s.as_mut().resume(None));
    let progress = s.as_mut().resume(None);
    assert_eq!(returned(&mut s, progress), []);
    s.as_mut().call_typed(&typed, ()).unwrap_err();
}

#[test]
fn a_host_function_cannot_yield_where_nobody_can_resume_it() {
    let mut s = store(());
    let instance = instantiate(&mut s, PAUSE, &[pause()]);
    let f = func(&mut s, instance, "f");
    let plain = s.as_mut().call(f, &[], &mut []);
    assert_eq!(error::<CannotSuspend>(plain), CannotSuspend::PlainCall);
    let direct = s.as_mut().yield_now(None, None).unwrap_err();
    assert_eq!(direct, CannotSuspend::PlainCall);

    // Another store's guest is in between.
    let inner: ImportValue<()> = host(|mut caller: HostCaller<'_, ()>, ()| {
        let store = SendPtr((&raw mut caller.store).cast());
        let mut other = Store::new(&CONFIG, store);
        let instance = instantiate(
            &mut other,
            PAUSE,
            &[host(|caller: HostCaller<'_, SendPtr>, ()| {
                // SAFETY: the outer host function waits for this.
                let outer = unsafe { &mut *caller.store.data().0.cast::<StoreMut<'_, ()>>() };
                assert_eq!(
                    outer.yield_now(None, None).unwrap_err(),
                    CannotSuspend::InBetween
                );
                Ok(())
            })],
        );
        call::<_, (), ()>(&mut other, instance, "f", ())
    });
    let instance = instantiate(&mut s, PAUSE, &[inner]);
    let f = func(&mut s, instance, "f");
    let progress = s.as_mut().start(f, &[]);
    assert_eq!(returned(&mut s, progress), []);

    // Another thread is.
    let inner: ImportValue<()> = host(|mut caller: HostCaller<'_, ()>, ()| {
        std::thread::scope(|scope| {
            let mut store = caller.store.reborrow();
            let other = scope.spawn(move || store.yield_now(None, None).unwrap_err());
            assert_eq!(other.join().unwrap(), CannotSuspend::InBetween);
        });
        caller.store.yield_now(None, None)?;
        Ok(())
    });
    let instance = instantiate(&mut s, PAUSE, &[inner]);
    let f = func(&mut s, instance, "f");
    yielded_nothing(s.as_mut().start(f, &[]));
    yielded_nothing(s.as_mut().resume(None));
    let progress = s.as_mut().resume(None);
    assert_eq!(returned(&mut s, progress), []);
}

/// A pointer that is used on one thread only.
struct SendPtr(*mut ());
// SAFETY: see above.
unsafe impl Send for SendPtr {}
// SAFETY: as above.
unsafe impl Sync for SendPtr {}

/// A guest that calls the host, which calls the guest, which calls the host.
const NESTED: &str = r#"(module
    (import "" "again" (func $again (param i32) (result i32)))
    (import "" "exchange" (func $exchange (param i32) (result i32)))
    (func (export "outer") (param i32) (result i32)
        (i32.add (i32.const 1000) (call $again (local.get 0))))
    (func (export "inner") (param i32) (result i32)
        (i32.add (i32.const 100) (call $exchange (local.get 0))))
    (func (export "trap") (result i32) unreachable))"#;

/// Calls the export `inner` of whoever calls it.
fn again<T: 'static>() -> ImportValue<T> {
    host(|mut caller: HostCaller<'_, T>, value: i32| {
        let instance = caller.instance.unwrap();
        let inner = caller.store.inner_mut().instance_export(instance, "inner");
        let Ok(Some(ExternHandle::Func(inner))) = inner else {
            panic!("{inner:?}")
        };
        let inner = caller.store.typed::<i32, i32>(inner).unwrap();
        caller.store.call_typed(&inner, value)
    })
}

#[test]
fn a_yield_suspends_guests_and_hosts_all_the_way_out() {
    let mut s = store(());
    let instance = instantiate(&mut s, NESTED, &[again(), exchange()]);
    let f = func(&mut s, instance, "outer");
    for n in 0..3 {
        assert_eq!(yielded::<i32>(s.as_mut().start(f, &[Value::I32(n)])).0, n);
        let progress = s.as_mut().resume(boxed(n + 1));
        assert_eq!(returned(&mut s, progress), [Value::I32(1101 + n)]);
    }
}

#[test]
fn a_computation_goes_on_on_other_threads_and_traps_there() {
    let text = r#"(module
        (import "" "again" (func $again (param i32) (result i32)))
        (import "" "pause" (func $pause))
        (func $outer (export "outer") (param i32) (result i32) (call $again (local.get 0)))
        (func $inner (export "inner") (param i32) (result i32)
            (loop $l
                call $pause
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (i32.div_u (i32.const 1) (local.get 0))))"#;
    let mut s = store(());
    let instance = instantiate(&mut s, text, &[again(), pause()]);
    let f = func(&mut s, instance, "outer");
    yielded_nothing(s.as_mut().start(f, &[Value::I32(5)]));
    for _ in 0..4 {
        s = std::thread::spawn(move || {
            yielded_nothing(s.as_mut().resume(None));
            s
        })
        .join()
        .unwrap();
    }
    let error = std::thread::spawn(move || s.as_mut().resume(None).unwrap_err())
        .join()
        .unwrap();
    assert_eq!(
        error.downcast_ref::<Trap>(),
        Some(&Trap::IntegerDivisionByZero)
    );
    assert_eq!(frames(&error), ["inner", "outer"]);
}

#[test]
fn the_end_of_a_resumed_computation_is_that_of_a_call() {
    // What the host does when it is resumed, and what that is outside.
    let text = r#"(module (import "" "" (func $h)) (func $f (export "f") call $h unreachable))"#;
    let fails: ImportValue<()> = host(|mut caller: HostCaller<'_, ()>, ()| {
        caller.store.yield_now(None, None)?;
        Err::<(), _>(Error::msg("no"))
    });
    let panics: ImportValue<()> = host(|mut caller: HostCaller<'_, ()>, ()| {
        caller.store.yield_now(None, None)?;
        if caller.instance.is_some() {
            std::panic::panic_any("oh");
        }
        Ok(())
    });
    let mut s = store(());
    for (import, check) in [
        (
            pause(),
            (|result| {
                let error = result.unwrap().unwrap_err();
                assert_eq!(
                    error.downcast_ref::<Trap>(),
                    Some(&Trap::UnreachableCodeReached)
                );
                assert_eq!(frames(&error), ["f"]);
            }) as fn(std::thread::Result<Result<Progress>>),
        ),
        (fails, |result| {
            let error = result.unwrap().unwrap_err();
            assert_eq!(error.root_cause().to_string(), "no");
            assert_eq!(frames(&error), ["f"]);
        }),
        (panics, |result| {
            assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "oh");
        }),
    ] {
        let instance = instantiate(&mut s, text, &[import]);
        let f = func(&mut s, instance, "f");
        yielded_nothing(s.as_mut().start(f, &[]));
        check(catch_unwind(AssertUnwindSafe(|| s.as_mut().resume(None))));
        assert!(!s.as_mut().is_suspended());
        assert_eq!(
            error::<ResumeError>(s.as_mut().resume(None)),
            ResumeError::NotSuspended
        );
        assert_eq!(
            error::<NoResults>(s.as_mut().take_results(&mut [])),
            NoResults
        );
    }
    // It can be used as before.
    let instance = instantiate(&mut s, NESTED, &[again(), exchange()]);
    assert_eq!(
        trap(call::<_, (), i32>(&mut s, instance, "trap", ())),
        Trap::UnreachableCodeReached
    );
}

#[test]
fn references_of_a_suspended_computation_stay() {
    // The reference lives in a local of the guest, in an argument of a host function, and in a result.
    let text = r#"(module
        (import "" "" (func $h (param externref) (result externref)))
        (func (export "f") (param externref) (result externref)
            (drop (call $h (local.get 0)))
            (drop (call $h (ref.null extern)))
            (local.get 0)))"#;
    let mut s = store(());
    let h = host(|mut caller: HostCaller<'_, ()>, value: Option<HostRef>| {
        caller.store.yield_now(boxed(value), None)?;
        let inner = caller.store.inner_mut();
        if let Some(value) = value {
            assert!(inner.host_ref_get(value).unwrap().is::<Dropped>());
        }
        Ok(value)
    });
    let instance = instantiate(&mut s, text, &[h]);
    let f = func(&mut s, instance, "f");
    let dropped = Arc::new(AtomicUsize::new(0));
    let scope = s.as_mut().inner_mut().root_scope_enter();
    let value = Box::new(Dropped(dropped.clone()));
    let argument = s.as_mut().inner_mut().host_ref_new(value).unwrap();
    let progress = s.as_mut().start(f, &[Value::ExternRef(Some(argument))]);
    s.as_mut().inner_mut().root_scope_exit(scope);
    let collect = |s: &mut Store<()>| {
        s.as_mut().inner_mut().collect();
        dropped.load(Relaxed)
    };
    assert_eq!(collect(&mut s), 0);
    // It is rooted by the host function, whose scope is still open.
    let (seen, _) = yielded::<Option<HostRef>>(progress);
    assert!(s.as_mut().inner_mut().host_ref_get(seen.unwrap()).is_ok());
    let progress = s.as_mut().resume(None);
    assert_eq!(collect(&mut s), 0);
    assert_eq!(yielded::<Option<HostRef>>(progress).0, None);
    assert!(s.as_mut().inner_mut().host_ref_get(seen.unwrap()).is_err());
    let progress = s.as_mut().resume(None);
    assert_eq!(collect(&mut s), 0);
    let [Value::ExternRef(Some(result))] = returned(&mut s, progress) else {
        panic!("a reference")
    };
    assert_eq!(collect(&mut s), 0);
    // The scope that ended while the computation was suspended has ended for good.
    assert!(s.as_mut().inner_mut().host_ref_get(argument).is_err());
    assert!(s.as_mut().inner_mut().host_ref_get(result).is_ok());
}

#[test]
fn stack_overflow_in_a_resumed_guest_is_a_trap() {
    let text = r#"(module (import "" "" (func $h))
        (func $r (param i32) (result i32) (i32.add (call $r (local.get 0)) (i32.const 1)))
        (func (export "f") (result i32) call $h (call $r (i32.const 0))))"#;
    let mut s = store(());
    let instance = instantiate(&mut s, text, &[pause()]);
    let f = func(&mut s, instance, "f");
    for _ in 0..2 {
        yielded_nothing(s.as_mut().start(f, &[]));
        let other = std::thread::spawn(move || {
            let trap = trap(s.as_mut().resume(None));
            (s, trap)
        });
        let trap;
        (s, trap) = other.join().unwrap();
        assert_eq!(trap, Trap::StackOverflow);
    }
}
