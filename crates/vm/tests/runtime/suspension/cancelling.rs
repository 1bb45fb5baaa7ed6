//! Suspended computations that nobody resumes.

use super::*;

/// What a suspended host function found out when it was cancelled.
#[derive(Default)]
struct Log {
    dropped: Arc<AtomicUsize>,
    seen: Vec<String>,
}

/// Notes what its suspension ended with, and whether more can be done, and returns all the same.
fn stubborn() -> ImportValue<Log> {
    host(|mut caller: HostCaller<'_, Log>, ()| {
        let _dropped = Dropped(caller.store.data().dropped.clone());
        let end = caller.store.yield_now(None, None).map(drop);
        let again = caller.store.yield_now(None, None).map(drop);
        let instance = caller.instance.unwrap();
        let seen = format!("{end:?} {again:?}");
        let Ok(Some(ExternHandle::Func(f))) = caller
            .store
            .inner_mut()
            .instance_export(instance, "nothing")
        else {
            panic!("an export")
        };
        let call = caller.store.call(f, &[], &mut []).unwrap_err();
        let start = caller.store.start(f, &[]).unwrap_err();
        let seen = format!("{seen} {call} {start}");
        caller.store.data_mut().seen.push(seen);
        Ok(())
    })
}

/// Calls `inner` and goes on whatever that returns.
fn lenient() -> ImportValue<Log> {
    host(|mut caller: HostCaller<'_, Log>, ()| {
        let _dropped = Dropped(caller.store.data().dropped.clone());
        let instance = caller.instance.unwrap();
        let Ok(Some(ExternHandle::Func(f))) =
            caller.store.inner_mut().instance_export(instance, "inner")
        else {
            panic!("an export")
        };
        let error = caller.store.call(f, &[], &mut []).unwrap_err();
        let seen = error.downcast::<Cancelled>().unwrap().to_string();
        caller.store.data_mut().seen.push(seen);
        Ok(())
    })
}

const STUBBORN: &str = r#"(module
    (import "" "lenient" (func $lenient)) (import "" "stubborn" (func $stubborn))
    (global $g (export "g") (mut i32) (i32.const 0))
    (func (export "nothing"))
    (func (export "outer")
        (block (try_table (catch_all 0) (call $lenient))) (global.set $g (i32.const 1)))
    (func (export "inner")
        (block (try_table (catch_all 0) (call $stubborn))) (global.set $g (i32.const 2))))"#;

#[test]
fn cancelling_returns_through_hosts_and_stops_guests() {
    type Cancel = fn(Store<Log>) -> Log;
    let ways: [(&str, Cancel); 4] = [
        ("cancelled", |mut s| {
            s.as_mut().cancel();
            assert!(!s.as_mut().is_suspended());
            assert_eq!(
                error::<ResumeError>(s.as_mut().resume(None)),
                ResumeError::NotSuspended
            );
            s.as_mut().cancel();
            s.into_data()
        }),
        ("on another thread", |mut s| {
            std::thread::spawn(move || {
                s.as_mut().cancel();
                s.into_data()
            })
            .join()
            .unwrap()
        }),
        ("taken apart", Store::into_data),
        ("reset", |mut s| {
            s.reset();
            s.into_data()
        }),
    ];
    for (name, cancel) in ways {
        let mut s = store(Log::default());
        let instance = instantiate(&mut s, STUBBORN, &[lenient(), stubborn()]);
        let f = func(&mut s, instance, "outer");
        yielded_nothing(s.as_mut().start(f, &[]));
        let log = cancel(s);
        let cancelled = Cancelled.to_string();
        assert_eq!(
            log.seen,
            [
                format!(
                    "Err(Cancelled(Cancelled)) Err(Cancelled(Cancelled)) {cancelled} {cancelled}"
                ),
                cancelled
            ],
            "{name}"
        );
        assert_eq!(log.dropped.load(Relaxed), 2, "{name}");
    }
}

#[test]
fn guest_code_does_not_go_on_when_cancelled_and_the_store_stays_usable() {
    let mut s = store(Log::default());
    let instance = instantiate(&mut s, STUBBORN, &[lenient(), stubborn()]);
    let f = func(&mut s, instance, "outer");
    let g = global(&mut s, instance, "g");
    for _ in 0..3 {
        yielded_nothing(s.as_mut().start(f, &[]));
        s.as_mut().cancel();
        assert_eq!(s.as_mut().inner_mut().global_get(g).unwrap(), Value::I32(0));
    }
    let () = call(&mut s, instance, "nothing", ()).unwrap();
}

#[test]
fn dropping_a_suspended_store_runs_its_destructors() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut s = store(Log {
        dropped: dropped.clone(),
        seen: Vec::new(),
    });
    let instance = instantiate(&mut s, STUBBORN, &[lenient(), stubborn()]);
    let f = func(&mut s, instance, "outer");
    yielded_nothing(s.as_mut().start(f, &[]));
    std::thread::spawn(move || drop(s)).join().unwrap();
    assert_eq!(dropped.load(Relaxed), 2);
}

#[test]
fn a_panic_while_cancelling_continues_where_it_was_cancelled() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::panic_any("in a destructor");
        }
    }
    let suspended = || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let witness = Dropped(dropped.clone());
        let mut s = store(witness);
        let panics = host(|mut caller: HostCaller<'_, Dropped>, ()| {
            let _panics = Panics;
            caller.store.yield_now(None, None)?;
            Ok(())
        });
        let instance = instantiate(&mut s, PAUSE, &[panics]);
        let f = func(&mut s, instance, "f");
        yielded_nothing(s.as_mut().start(f, &[]));
        (s, dropped)
    };
    let message =
        |result: std::thread::Result<()>| *result.unwrap_err().downcast::<&str>().unwrap();

    let (mut s, _dropped) = suspended();
    let result = catch_unwind(AssertUnwindSafe(|| s.as_mut().cancel()));
    assert_eq!(message(result), "in a destructor");
    assert!(!s.as_mut().is_suspended());
    instantiate(&mut s, r#"(module (func $s) (start $s))"#, &[]);

    let (mut s, _dropped) = suspended();
    let result = catch_unwind(AssertUnwindSafe(|| s.reset()));
    assert_eq!(message(result), "in a destructor");
    instantiate(&mut s, r#"(module (func $s) (start $s))"#, &[]);

    let (s, dropped) = suspended();
    let result = catch_unwind(AssertUnwindSafe(|| drop(s)));
    assert_eq!(message(result), "in a destructor");
    assert_eq!(dropped.load(Relaxed), 1);

    // One panic at a time.
    let (s, dropped) = suspended();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _s = s;
        std::panic::panic_any("outside");
    }));
    assert_eq!(message(result), "outside");
    assert_eq!(dropped.load(Relaxed), 1);
}

#[test]
fn a_destructor_cannot_suspend_while_a_panic_unwinds() {
    struct Yields<'a, 'b>(&'a mut HostCaller<'b, Vec<CannotSuspend>>);
    impl Drop for Yields<'_, '_> {
        fn drop(&mut self) {
            let error = self.0.store.yield_now(None, None).unwrap_err();
            self.0.store.data_mut().push(error);
        }
    }
    let mut s = store(Vec::new());
    let panics = host(|mut caller: HostCaller<'_, Vec<CannotSuspend>>, ()| {
        let _yields = Yields(&mut caller);
        std::panic::panic_any(());
        #[expect(unreachable_code, reason = "gives the closure its type")]
        Ok(())
    });
    let instance = instantiate(&mut s, PAUSE, &[panics]);
    let f = func(&mut s, instance, "f");
    catch_unwind(AssertUnwindSafe(|| s.as_mut().start(f, &[]))).unwrap_err();
    assert_eq!(*s.data(), [CannotSuspend::Panicking]);
}
