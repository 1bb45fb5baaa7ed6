//! The table of preemption, and that a guest does not notice: any instruction, any register, any thread.

use crate::engine::*;
use crate::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn nothing_runs_or_it_cannot_be_suspended() {
    let mut guest = Guest::new(|mut caller, n| {
        caller
            .store
            .yield_now(None, None)
            .map(|_| n)
            .map_err(Into::into)
    });
    assert_eq!(guest.control.preempt(), Err(PreemptError::NotRunning));
    guest.start("host").unwrap();
    assert_eq!(guest.control.preempt(), Err(PreemptError::NotRunning));
    // A request that did nothing is not remembered.
    assert!(matches!(
        guest.store.as_mut().resume(None),
        Ok(Progress::Returned)
    ));

    let guest = Guest::plain();
    let entering = gate(Point::EnteringGuest, &guest);
    let (control, switch) = (guest.control.clone(), guest.control.kill_switch());
    let thread = call_in_thread(guest, "spin");
    until_entered(entering);
    assert_eq!(control.preempt(), Err(PreemptError::NotSuspendable));
    assert_eq!(switch.terminate(), Ok(KillSuccess::Signalled));
    thread.join().unwrap().1.unwrap_err();
    assert_eq!(control.preempt(), Err(PreemptError::NotRunning));
}

#[test]
fn in_a_host_function_it_is_suspended_when_that_returns() {
    let (host, wait) = blocking();
    let mut guest = Guest::new(move |_, n| {
        wait();
        Ok(n + 40)
    });
    let control = guest.control.clone();
    let thread = std::thread::spawn(move || {
        let progress = guest.start("host");
        (guest, progress)
    });
    host.begun.recv().unwrap();
    assert_eq!(control.preempt(), Ok(PreemptSuccess::Pending));
    assert_eq!(control.preempt(), Ok(PreemptSuccess::Pending));
    host.go_on.send(()).unwrap();
    let (mut guest, progress) = thread.join().unwrap();
    assert!(matches!(
        progress,
        Ok(Progress::Suspended(Suspension::Interrupted(
            Interruption::Preempted
        )))
    ));
    assert!(matches!(
        guest.store.as_mut().resume(None),
        Ok(Progress::Returned)
    ));
    assert_eq!(guest.take().unwrap(), 41);
}

#[test]
fn a_preemption_that_comes_too_late_does_nothing() {
    for point in [Point::GuestReturned, Point::Leaving, Point::Faulted] {
        let mut guest = Guest::plain();
        let control = guest.control.clone();
        let stopped = gate(point, &guest);
        let thread = std::thread::spawn(move || {
            let name = if point == Point::Faulted {
                "trap"
            } else {
                "seven"
            };
            let progress = guest.start(name);
            (guest, progress)
        });
        stopped.wait_reached();
        let preempter = std::thread::spawn(move || control.preempt());
        std::thread::sleep(Duration::from_millis(5));
        drop(stopped);
        assert_eq!(
            preempter.join().unwrap(),
            Err(PreemptError::NotRunning),
            "{point:?}"
        );
        let (mut guest, progress) = thread.join().unwrap();
        match point {
            Point::Faulted => drop(trap(progress)),
            _ => assert!(matches!(progress, Ok(Progress::Returned))),
        }
        guest.assert_usable();
    }
}

#[test]
fn wherever_it_is_a_guest_that_spins_is_suspended() {
    for point in [
        Point::Entered,
        Point::EnteringGuest,
        Point::HostEntered,
        Point::HostReturned,
    ] {
        let mut guest = Guest::plain();
        let control = guest.control.clone();
        let stopped = gate(point, &guest);
        let thread = std::thread::spawn(move || {
            let progress = guest.start("host_then_spin");
            (guest, progress)
        });
        stopped.wait_reached();
        let preempter = std::thread::spawn(move || control.preempt());
        std::thread::sleep(Duration::from_millis(5));
        drop(stopped);
        preempter.join().unwrap().unwrap();
        let (mut guest, progress) = thread.join().unwrap();
        assert!(
            matches!(
                progress,
                Ok(Progress::Suspended(Suspension::Interrupted(
                    Interruption::Preempted
                )))
            ),
            "{point:?}: {progress:?}"
        );
        guest.store.as_mut().cancel();
        guest.assert_usable();
    }
}

/// Runs `name` to its end, preempted as often as another thread can, resumed on another thread each hundredth time. Returns its result
/// and how often that was.
fn preempted_all_the_time(mut guest: Guest, name: &'static str, at_least: u32) -> (i64, u32) {
    let (done, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let preempter = std::thread::spawn({
        let (done, count, control) = (done.clone(), count.clone(), guest.control.clone());
        move || {
            while !done.load(SeqCst) {
                if control.preempt().is_ok() {
                    count.fetch_add(1, SeqCst);
                } else {
                    std::thread::yield_now();
                }
            }
        }
    });
    let function = func(&mut guest.store, guest.instance, name);
    let mut rounds = 0;
    let mut first = None;
    while count.load(SeqCst) < at_least {
        rounds += 1;
        assert!(rounds < 100_000, "{name} is never preempted");
        let mut progress = guest.store.as_mut().start(function, &[]).unwrap();
        let mut times = 0;
        while let Progress::Suspended(why) = progress {
            assert!(
                matches!(why, Suspension::Interrupted(Interruption::Preempted)),
                "{why:?}"
            );
            times += 1;
            if times % 100 == 0 {
                (guest, progress) = std::thread::spawn(move || {
                    let progress = guest.store.as_mut().resume(None).unwrap();
                    (guest, progress)
                })
                .join()
                .unwrap();
            } else {
                progress = guest.store.as_mut().resume(None).unwrap();
            }
        }
        let mut results = [Value::I64(0)];
        guest.store.as_mut().take_results(&mut results).unwrap();
        let [Value::I64(result)] = results else {
            panic!("{results:?}")
        };
        assert_eq!(
            *first.get_or_insert(result),
            result,
            "{name} in round {rounds}"
        );
    }
    done.store(true, SeqCst);
    preempter.join().unwrap();
    (first.unwrap(), count.load(SeqCst))
}

fn guest_of(text: &str) -> Guest {
    let mut store = store(Data { instance: None });
    let host = host(|_: HostCaller<'_, Data>, n: i64| Ok(n + 1));
    let instance = instantiate(&mut store, text, &[host]);
    let control = store.as_ref().inner().control();
    Guest {
        store,
        instance,
        control,
    }
}

#[test]
fn guests_compute_the_same_however_often_they_are_preempted() {
    let text = r#"(module
        (import "" "next" (func $next (param i64) (result i64)))
        (memory $m 16 200)
        (tag $e (param i64))
        ;; Eight vectors, eight floats and eight integers, all live through the loop.
        (func (export "vectors") (result i64)
            (local $a v128) (local $b v128) (local $c v128) (local $d v128)
            (local $e v128) (local $f v128) (local $g v128) (local $h v128)
            (local $x f64) (local $y f64) (local $i i32) (local $j i64) (local $k i64)
            (local.set $a (v128.const i32x4 1 2 3 4))
            (local.set $b (v128.const i32x4 5 6 7 8))
            (local.set $c (v128.const i32x4 9 10 11 12))
            (local.set $d (v128.const i32x4 13 14 15 16))
            (local.set $e (v128.const i32x4 17 18 19 20))
            (local.set $f (v128.const i32x4 21 22 23 24))
            (local.set $g (v128.const i32x4 25 26 27 28))
            (local.set $h (v128.const i32x4 29 30 31 32))
            (local.set $x (f64.const 1)) (local.set $y (f64.const 0.5)) (local.set $k (i64.const 7))
            (loop $l
                (local.set $a (i32x4.add (local.get $a) (local.get $h)))
                (local.set $b (v128.xor (local.get $b) (local.get $a)))
                (local.set $c (i32x4.mul (local.get $c) (local.get $b)))
                (local.set $d (i32x4.sub (local.get $d) (local.get $c)))
                (local.set $e (i64x2.add (local.get $e) (local.get $d)))
                (local.set $f (i8x16.add (local.get $f) (local.get $e)))
                (local.set $g (v128.xor (local.get $g) (local.get $f)))
                (local.set $h (i16x8.add (local.get $h) (local.get $g)))
                (local.set $x (f64.add (f64.mul (local.get $x) (f64.const 0.999)) (local.get $y)))
                (local.set $y (f64.sub (f64.const 1) (f64.mul (local.get $y) (f64.const 0.7))))
                (local.set $k (i64.rotl (i64.add (local.get $k) (local.get $j)) (i64.const 5)))
                (local.set $j (i64.add (local.get $j) (i64.extend_i32_u (local.get $i))))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000000))))
            (local.set $h (v128.xor (local.get $h) (v128.xor (local.get $a) (v128.xor (local.get $b) (local.get $c)))))
            (i64.xor (i64.xor (local.get $k) (local.get $j))
                (i64.xor (i64.reinterpret_f64 (f64.add (local.get $x) (local.get $y)))
                    (i64.xor (i64x2.extract_lane 0 (local.get $h)) (i64x2.extract_lane 1 (local.get $h))))))
        (func $fib (param i64) (result i64)
            (if (result i64) (i64.lt_u (local.get 0) (i64.const 2)) (then (local.get 0))
                (else (i64.add (call $fib (i64.sub (local.get 0) (i64.const 1)))
                               (call $fib (i64.sub (local.get 0) (i64.const 2)))))))
        (func (export "recursion") (result i64) (call $fib (i64.const 25)))
        (func (export "fill") (result i64) (local $i i32)
            (loop $l
                (memory.fill (i32.const 0) (local.get $i) (i32.const 1000000))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 60))))
            (i64.add (i64.load8_u (i32.const 999999)) (i64.load8_u (i32.const 1000000))))
        (func (export "grow") (result i64) (local $i i32)
            (loop $l
                (drop (memory.grow (i32.const 1)))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5000))))
            (i64.extend_i32_u (memory.size)))
        (func $throws (param i64) (throw $e (local.get 0)))
        (func (export "exceptions") (result i64) (local $i i64) (local $sum i64)
            (loop $l
                (local.set $sum (i64.add (local.get $sum)
                    (block $caught (result i64)
                        (try_table (catch $e $caught) (call $throws (local.get $i)))
                        (i64.const 0))))
                (br_if $l (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 5000))))
            (local.get $sum))
        (func (export "hosts") (result i64) (local $i i64)
            (loop $l
                (local.set $i (call $next (local.get $i)))
                (br_if $l (i64.lt_u (local.get $i) (i64.const 200000))))
            (local.get $i)))"#;
    let cases: [(&str, Option<i64>); 6] = [
        ("vectors", None),
        ("recursion", Some(75_025)),
        ("fill", Some(59)),
        ("grow", None),
        ("exceptions", Some(4_999 * 5_000 / 2)),
        ("hosts", Some(200_000)),
    ];
    for (name, expected) in cases {
        // What it is without being interrupted.
        let mut quiet = guest_of(text);
        let mut result = call::<_, (), i64>(&mut quiet.store, quiet.instance, name, ()).unwrap();
        if name == "grow" {
            result = 200;
        }
        assert!(
            expected.is_none_or(|expected| expected == result),
            "{name}: {result}"
        );
        let (found, times) = preempted_all_the_time(guest_of(text), name, 1_500);
        assert_eq!(found, result, "{name}");
        assert!(times >= 1_500);
    }
}

#[test]
fn a_guest_with_hardly_any_stack_left_is_preempted_and_killed() {
    let text = r#"(module
        (import "" "next" (func (param i64) (result i64)))
        (func $down (param $n i32) (result i64) (local $i i64)
            (if (result i64) (i32.eqz (local.get $n))
                (then
                    (loop $l
                        (br_if $l (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 20000000))))
                    (local.get $i))
                (else (call $down (i32.sub (local.get $n) (i32.const 1))))))
        (func $endless (export "endless") (result i64) (i64.add (call $endless) (i64.const 1)))
        (func (export "deep") (result i64) (call $down (i32.const 5000))))"#;
    let (found, times) = preempted_all_the_time(guest_of(text), "deep", 200);
    assert_eq!((found, times >= 200), (20_000_000, true));
    // Endless recursion, preempted on the way to the guard, ends with the trap.
    let mut guest = guest_of(text);
    let control = guest.control.clone();
    let done = Arc::new(AtomicBool::new(false));
    let preempter = std::thread::spawn({
        let done = done.clone();
        move || {
            while !done.load(SeqCst) {
                let _ = control.preempt();
            }
        }
    });
    let endless = func(&mut guest.store, guest.instance, "endless");
    for _ in 0..50 {
        let mut progress = guest.store.as_mut().start(endless, &[]);
        while let Ok(Progress::Suspended(_)) = progress {
            progress = guest.store.as_mut().resume(None);
        }
        assert_eq!(trap(progress), cowling_abi::Trap::StackOverflow);
    }
    done.store(true, SeqCst);
    preempter.join().unwrap();
}

#[test]
fn references_in_registers_of_a_preempted_guest_survive_a_collection() {
    let text = r#"(module
        (import "" "make" (func $make (param i32) (result externref)))
        (import "" "check" (func $check (param externref)))
        (func (export "run") (local $r externref)
            (local.set $r (call $make (i32.const 5)))
            (loop (br_if 0 (i32.eqz (global.get $stop))))
            (call $check (local.get $r)))
        (global $stop (export "stop") (mut i32) (i32.const 0)))"#;
    let mut store = store(Data { instance: None });
    let make = host(|mut caller: HostCaller<'_, Data>, n: i32| {
        Ok(Some(
            caller.store.inner_mut().host_ref_new(Box::new(n)).unwrap(),
        ))
    });
    let check = host(|caller: HostCaller<'_, Data>, reference: Option<HostRef>| {
        let value = caller.store.inner().host_ref_get(reference.unwrap())?;
        assert_eq!(value.downcast_ref::<i32>(), Some(&5));
        Ok(())
    });
    let instance = instantiate(&mut store, text, &[make, check]);
    let stop = global(&mut store, instance, "stop");
    let run = func(&mut store, instance, "run");
    let control = store.as_ref().inner().control();
    let preempter = std::thread::spawn(move || {
        while control.preempt().is_err() {
            std::thread::yield_now();
        }
    });
    let progress = store.as_mut().start(run, &[]).unwrap();
    assert!(matches!(
        progress,
        Progress::Suspended(Suspension::Interrupted(_))
    ));
    preempter.join().unwrap();
    for n in 0..5_000 {
        let scope = store.as_mut().inner_mut().root_scope_enter();
        store
            .as_mut()
            .inner_mut()
            .host_ref_new(Box::new(n))
            .unwrap();
        store.as_mut().inner_mut().root_scope_exit(scope);
    }
    store.as_mut().inner_mut().collect();
    store
        .as_mut()
        .inner_mut()
        .global_set(stop, Value::I32(1))
        .unwrap();
    assert!(matches!(
        store.as_mut().resume(None),
        Ok(Progress::Returned)
    ));
}

#[test]
fn fuel_is_counted_the_same_however_often_a_guest_is_preempted() {
    let knobs = cowling_abi::knobs::Knobs {
        consume_fuel: true,
        ..cowling_abi::knobs::Knobs::default()
    };
    let config = config(knobs);
    let text = r#"(module
        (import "" "next" (func $next (param i64) (result i64)))
        (memory 1)
        (func $work (param i64) (result i64)
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 100))
            (i64.add (local.get 0) (i64.const 1)))
        (func (export "run") (result i64) (local $i i64)
            (loop $l
                (local.set $i (call $next (call $work (local.get $i))))
                (br_if $l (i64.lt_u (local.get $i) (i64.const 300000))))
            (local.get $i)))"#;
    let module = compile_for(&config, text);
    let run = |preempt: bool| {
        let mut store = Store::new(&config, ());
        let host = host(|_: HostCaller<'_, ()>, n: i64| Ok(n + 1));
        let instance = store.as_mut().instantiate(&module, &[host]).unwrap();
        let run = func(&mut store, instance, "run");
        store.as_mut().inner_mut().set_fuel(1 << 40).unwrap();
        let control = store.as_ref().inner().control();
        let done = AtomicBool::new(false);
        let times = std::thread::scope(|scope| {
            scope.spawn(|| {
                while preempt && !done.load(SeqCst) {
                    let _ = control.preempt();
                }
            });
            let mut times = 0;
            let mut progress = store.as_mut().start(run, &[]).unwrap();
            while let Progress::Suspended(_) = progress {
                times += 1;
                progress = store.as_mut().resume(None).unwrap();
            }
            done.store(true, SeqCst);
            times
        });
        (times, store.as_ref().inner().executed_cost().unwrap())
    };
    let (_, quiet) = run(false);
    let mut total = 0;
    while total < 200 {
        let (times, busy) = run(true);
        assert_eq!(busy, quiet);
        total += times;
    }
}
