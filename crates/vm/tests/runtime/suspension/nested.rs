//! Computations that host functions start, and functions of the host that run as computations.

use super::*;

#[test]
fn a_host_function_drives_a_computation_of_its_own() {
    // Sums what the inner computation yields.
    let sums: ImportValue<()> = host(|mut caller: HostCaller<'_, ()>, count: i32| {
        let instance = caller.instance.unwrap();
        let Ok(Some(ExternHandle::Func(f))) =
            caller.store.inner_mut().instance_export(instance, "counts")
        else {
            panic!("an export")
        };
        let mut sum = 0;
        let mut progress = caller.store.start(f, &[Value::I32(count)]);
        while let Progress::Suspended(_) = progress.as_ref().unwrap() {
            sum += yielded::<i32>(progress).0;
            if sum > 100 {
                // The rest is cancelled when this computation ends.
                assert!(caller.store.is_suspended());
                return Ok(-1);
            }
            // The one around it can be suspended in between.
            caller.store.yield_now(None, None)?;
            progress = caller.store.resume(boxed(0));
        }
        caller.store.take_results(&mut [])?;
        Ok(sum)
    });
    let text = r#"(module
        (import "" "sums" (func $sums (param i32) (result i32)))
        (import "" "exchange" (func $exchange (param i32) (result i32)))
        (func (export "f") (param i32) (result i32) (i32.add (call $sums (local.get 0)) (i32.const 1)))
        (func (export "counts") (param i32)
            (loop $l
                (drop (call $exchange (local.get 0)))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    let mut s = store(());
    let instance = instantiate(&mut s, text, &[sums, exchange()]);
    let f = func(&mut s, instance, "f");
    for (count, sum) in [(1, 2), (4, 11), (1000, 0), (3, 7)] {
        let mut progress = s.as_mut().start(f, &[Value::I32(count)]);
        while let Progress::Suspended(_) = progress.as_ref().unwrap() {
            progress = std::thread::scope(|scope| {
                let mut s = s.as_mut();
                scope.spawn(move || s.resume(None)).join().unwrap()
            });
        }
        assert_eq!(returned(&mut s, progress), [Value::I32(sum)]);
        assert!(!s.as_mut().is_suspended());
    }
}

#[test]
fn a_computation_started_by_a_host_function_may_outlive_its_plain_call() {
    let mut s = store(None);
    let starts = host(|mut caller: HostCaller<'_, Option<FuncHandle>>, ()| {
        let f = caller.store.data().unwrap();
        yielded_nothing(caller.store.start(f, &[]));
        Ok(())
    });
    let outer = instantiate(&mut s, PAUSE, &[starts]);
    let once = r#"(module (import "" "" (func $h)) (func (export "f") call $h))"#;
    let plain = instantiate(&mut s, once, &[pause()]);
    *s.data_mut() = Some(func(&mut s, plain, "f"));
    // The second call finds the first one's computation suspended.
    let again = catch_unwind(AssertUnwindSafe(|| {
        call::<_, (), ()>(&mut s, outer, "f", ())
    }));
    again.unwrap_err();
    assert!(s.as_mut().is_suspended());
    let progress = s.as_mut().resume(None);
    assert_eq!(returned(&mut s, progress), []);
    assert!(!s.as_mut().is_suspended());
}

#[test]
fn a_computation_that_outlives_its_plain_call_knows_its_frames() {
    let mut s = store(None);
    let starts = host(|mut caller: HostCaller<'_, Option<FuncHandle>>, ()| {
        let f = caller.store.data().unwrap();
        yielded_nothing(caller.store.start(f, &[]));
        Ok(())
    });
    let fails = host(|mut caller: HostCaller<'_, Option<FuncHandle>>, ()| {
        for _ in 0..2 {
            caller.store.yield_now(None, None)?;
        }
        Err::<(), _>(Error::msg("late"))
    });
    let once = r#"(module (import "" "" (func $h)) (func $f (export "f") call $h))"#;
    let inside = instantiate(&mut s, once, &[fails]);
    let outside = instantiate(&mut s, once, &[starts]);
    for _ in 0..2 {
        *s.data_mut() = Some(func(&mut s, inside, "f"));
        call::<_, (), ()>(&mut s, outside, "f", ()).unwrap();
        yielded_nothing(s.as_mut().resume(None));
        let error = s.as_mut().resume(None).unwrap_err();
        assert!(format!("{error:#}").contains("late"));
        assert_eq!(frames(&error), ["f"]);
    }
}

#[test]
fn a_function_of_the_host_runs_as_a_computation() {
    let mut s = store(1);
    let yields = HostFunc::typed(|mut caller: HostCaller<'_, i32>, by: i32| {
        caller.store.yield_now(None, None)?;
        *caller.store.data_mut() += by;
        Ok(*caller.store.data())
    });
    let f = s.as_mut().host_func(&yields);
    yielded_nothing(s.as_mut().start(f, &[Value::I32(2)]));
    let progress = s.as_mut().resume(None);
    assert_eq!(returned(&mut s, progress), [Value::I32(3)]);
    yielded_nothing(s.as_mut().start(f, &[Value::I32(2)]));
    s.as_mut().cancel();
    assert_eq!(*s.data(), 3);

    let body: ComputationBody<i32> = Box::new(move |mut store| {
        store.yield_now(boxed("first"), None)?;
        let mut results = [Value::I32(0)];
        store.call(f, &[Value::I32(4)], &mut results)?;
        assert_eq!(results, [Value::I32(7)]);
        Err(Error::msg("done"))
    });
    assert_eq!(yielded::<&str>(s.as_mut().start_with(body)).0, "first");
    yielded_nothing(s.as_mut().resume(None));
    assert_eq!(s.as_mut().resume(None).unwrap_err().to_string(), "done");
    let body: ComputationBody<i32> = Box::new(|_| std::panic::panic_any(5u8));
    let panic = catch_unwind(AssertUnwindSafe(|| s.as_mut().start_with(body))).unwrap_err();
    assert_eq!(*panic.downcast::<u8>().unwrap(), 5);
}
