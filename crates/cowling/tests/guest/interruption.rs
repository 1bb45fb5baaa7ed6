//! Kill switches, deadlines and preemption, as an embedder sees them. The races are forced in the runtime's own tests.

use crate::support::{
    Alive, assert_yielded, define_yield, guest, guest_with, returned, returned_i32, terminated,
};
use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const SPINNING: &str = r#"(module (global $ran (mut i32) (i32.const 0)) (memory 1)
    (func (export "spin") (global.set $ran (i32.const 1)) (loop (br 0)))
    (func (export "touch") (global.set $ran (i32.const 1)))
    (func (export "ran") (result i32) (global.get $ran))
    (func (export "trap") unreachable))"#;

#[track_caller]
fn assert_remote<R: std::fmt::Debug>(result: Result<R, GuestError>) {
    let details = terminated(result);
    assert!(matches!(details, TerminationDetails::Remote), "{details:?}");
}

#[test]
fn killed_before_the_run_no_guest_code_runs() {
    let mut guest = guest(SPINNING);
    let switch = guest.kill_switch();
    let clone = switch.clone();
    assert_eq!(switch.terminate(), Ok(KillSuccess::Cancelled));
    assert_eq!(clone.terminate(), Err(KillError::NotTerminable));
    assert_remote(guest.run("touch", &[]));
    assert_eq!(clone.terminate(), Err(KillError::Invalid));
    assert!(guest.is_terminated());
    assert_eq!(guest.globals()[0].unwrap_i32(), 0);
    guest.reset().unwrap();
    assert!(returned(guest.run("touch", &[])).is_empty());
    assert_eq!(returned_i32(guest.run("ran", &[])), 1);
}

#[test]
fn killed_in_its_own_code_it_stops_and_the_killer_waits_for_that() {
    for _ in 0..20 {
        let mut guest = guest(SPINNING);
        let switch = guest.kill_switch();
        let runner = thread::spawn(move || {
            assert_remote(guest.run("spin", &[]));
            guest
        });
        // Until it spins, an answer may be `Cancelled`: then it never does.
        thread::sleep(Duration::from_millis(2));
        let answer = switch.terminate();
        assert!(
            matches!(answer, Ok(KillSuccess::Signalled | KillSuccess::Cancelled)),
            "{answer:?}"
        );
        let mut guest = runner.join().unwrap();
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
        guest.reset().unwrap();
        assert!(returned(guest.run("touch", &[])).is_empty());
    }
}

/// A guest whose host function tells that it runs and waits until it may go on.
fn waiting(fail: fn() -> Result<()>) -> (Guest<()>, Receiver<()>, Sender<()>, Arc<AtomicUsize>) {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = alive.clone();
    let (running, is_running) = channel();
    let (go_on, may_go_on) = channel();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let guest = guest_with::<()>(
        r#"(module (import "host" "wait" (func $wait)) (global $after (mut i32) (i32.const 0))
            (func (export "run") (call $wait) (global.set $after (i32.const 1))))"#,
        |linker| {
            let wait = move || -> Result<()> {
                let _held = Alive::new(&count);
                running.send(()).unwrap();
                may_go_on.lock().unwrap().recv().unwrap();
                fail()
            };
            linker.func_wrap("host", "wait", wait).unwrap();
        },
    );
    (guest, is_running, go_on, alive)
}

#[test]
fn killed_in_a_host_function_it_ends_when_that_returns() {
    type Check = fn(Result<RunResult, GuestError>);
    type Fail = fn() -> Result<()>;
    let cases: [(Fail, Check); 4] = [
        (|| Ok(()), |result| assert_remote(result)),
        (
            || Err(format_err!("host failed")),
            |result| {
                let details = terminated(result);
                assert!(
                    matches!(details, TerminationDetails::HostError(_)),
                    "{details:?}"
                );
            },
        ),
        (
            || panic!("host panicked"),
            |result| {
                let details = terminated(result);
                assert!(
                    matches!(details, TerminationDetails::OtherPanic(_)),
                    "{details:?}"
                );
            },
        ),
        (
            || Err(Trap::IntegerOverflow.into()),
            |result| assert!(matches!(result, Err(GuestError::Faulted(_))), "{result:?}"),
        ),
    ];
    for (fail, check) in cases {
        let (mut guest, is_running, go_on, alive) = waiting(fail);
        let switch = guest.kill_switch();
        let runner = thread::spawn(move || {
            let result = guest.run("run", &[]);
            (guest, result)
        });
        is_running.recv().unwrap();
        assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
        assert_eq!(switch.terminate(), Err(KillError::NotTerminable));
        go_on.send(()).unwrap();
        let (mut guest, result) = runner.join().unwrap();
        check(result);
        assert_eq!(guest.globals()[0].unwrap_i32(), 0);
        assert_eq!(alive.load(SeqCst), 0);
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
    }
}

#[test]
fn killed_while_it_is_yielded_it_ends_when_it_is_resumed() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "yield" (func $yield)) (global $after (mut i32) (i32.const 0))
            (func (export "run") (call $yield) (global.set $after (i32.const 1))))"#,
        define_yield,
    );
    assert_yielded(guest.run("run", &[]));
    let switch = guest.kill_switch();
    assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
    assert_eq!(switch.terminate(), Err(KillError::NotTerminable));
    assert!(guest.is_yielded());
    assert_remote(guest.resume());
    assert_eq!(guest.globals()[0].unwrap_i32(), 0);
    assert_eq!(switch.terminate(), Err(KillError::Invalid));
}

#[test]
fn stale_switches_do_not_touch_later_runs() {
    let mut guest = guest(SPINNING);
    let mut stale = vec![guest.kill_switch()];
    assert!(returned(guest.run("touch", &[])).is_empty());
    stale.push(guest.kill_switch());
    guest.run("trap", &[]).unwrap_err();
    stale.push(guest.kill_switch());
    guest.reset().unwrap();
    for switch in &stale {
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
    }
    assert!(returned(guest.run("touch", &[])).is_empty());
    let last = guest.kill_switch();
    drop(guest);
    assert_eq!(last.terminate(), Err(KillError::Invalid));
}

#[test]
fn a_kill_that_races_the_end_of_the_run_has_one_of_two_outcomes() {
    for round in 0..200u64 {
        let mut guest = guest_cached();
        let switch = guest.kill_switch();
        let go = Arc::new(AtomicBool::new(false));
        let told = go.clone();
        let killer = thread::spawn(move || {
            while !told.load(SeqCst) {
                std::hint::spin_loop();
            }
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            switch.terminate()
        });
        go.store(true, SeqCst);
        let result = guest.run("some", &[]);
        let answer = killer.join().unwrap();
        match result {
            Ok(RunResult::Returned(_)) => assert!(
                matches!(answer, Err(KillError::NotTerminable | KillError::Invalid)),
                "{answer:?}"
            ),
            other => {
                assert_remote(other);
                assert!(
                    matches!(answer, Ok(KillSuccess::Signalled | KillSuccess::Cancelled)),
                    "{answer:?}"
                );
            }
        }
    }
}

fn guest_cached() -> Guest<()> {
    use std::sync::OnceLock;
    static PRE: OnceLock<(Region, InstancePre<()>)> = OnceLock::new();
    let (region, pre) = PRE.get_or_init(|| {
        let engine = Engine::default();
        let module = Module::new(
            &engine,
            r#"(module (func (export "some") (local i32)
                (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100000))))))"#,
        );
        let pre = Linker::new(&engine).instantiate_pre(&module.unwrap()).unwrap();
        (Region::builder().build().unwrap(), pre)
    });
    region.guest(pre, ()).build().unwrap()
}

#[test]
fn run_for_stops_a_guest_that_takes_too_long_and_only_that() {
    let mut guest = guest(SPINNING);
    for _ in 0..3 {
        let start = Instant::now();
        let details = terminated(guest.run_for(Duration::from_millis(20), "spin", &[]));
        assert!(
            matches!(details, TerminationDetails::Deadline),
            "{details:?}"
        );
        let took = start.elapsed();
        assert!((20..2000).contains(&took.as_millis()), "{took:?}");
        guest.reset().unwrap();
        assert!(returned(guest.run_for(Duration::from_millis(20), "touch", &[])).is_empty());
        // The deadline was that run's.
        thread::sleep(Duration::from_millis(30));
        assert_eq!(returned_i32(guest.run("ran", &[])), 1);
        assert_eq!(returned_i32(guest.run_for(Duration::MAX, "ran", &[])), 1);
    }
}

#[test]
fn a_deadline_counts_while_the_guest_is_suspended() {
    let wat = r#"(module (import "host" "yield" (func $yield))
        (func (export "run") (call $yield)) (func (export "other")))"#;
    let mut guest = guest_with::<()>(wat, define_yield);
    assert_yielded(guest.run_for(Duration::from_millis(10), "run", &[]));
    thread::sleep(Duration::from_millis(30));
    let details = terminated(guest.resume());
    assert!(
        matches!(details, TerminationDetails::Deadline),
        "{details:?}"
    );
    guest.reset().unwrap();
    assert_yielded(guest.run_for(Duration::from_secs(100), "run", &[]));
    assert!(returned(guest.resume()).is_empty());
    assert!(returned(guest.run("other", &[])).is_empty());
}

#[test]
fn a_deadline_of_the_guest_is_for_all_its_runs() {
    let mut guest = guest(SPINNING);
    guest
        .set_deadline(Some(Instant::now() + Duration::from_millis(10)))
        .unwrap();
    let details = terminated(guest.run("spin", &[]));
    assert!(
        matches!(details, TerminationDetails::Deadline),
        "{details:?}"
    );
    guest.reset().unwrap();
    assert!(returned(guest.run("touch", &[])).is_empty());
}

#[test]
fn a_spinning_guest_is_preempted_and_resumed_on_other_threads() {
    let mut guest = guest(
        r#"(module (global $stop (mut i32) (i32.const 0))
            (func (export "run") (result i64) (local $n i64)
                (loop
                    (local.set $n (i64.add (local.get $n) (i64.const 1)))
                    (br_if 0 (i32.eqz (global.get $stop))))
                (local.get $n)))"#,
    );
    guest.set_quantum(Some(Duration::from_millis(2))).unwrap();
    let mut result = guest.run("run", &[]);
    for _ in 0..5 {
        assert!(matches!(result, Ok(RunResult::Preempted)), "{result:?}");
        assert!(guest.is_preempted());
        (guest, result) = thread::spawn(move || {
            let result = guest.resume();
            (guest, result)
        })
        .join()
        .unwrap();
    }
    guest.set_quantum(None).unwrap();
    guest.globals_mut().set(0, Val::I32(1)).unwrap();
    let count = returned(guest.resume())[0].unwrap_i64();
    assert!(count > 1000, "{count}");
}

#[test]
fn another_thread_preempts_through_the_preempter() {
    let mut guest = guest(SPINNING);
    let preempter = guest.preempter();
    assert_eq!(preempter.preempt(), Err(PreemptError::NotRunning));
    let runner = thread::spawn(move || {
        let result = guest.run("spin", &[]);
        (guest, result)
    });
    let answer = loop {
        match preempter.preempt() {
            Err(PreemptError::NotRunning) => thread::yield_now(),
            answer => break answer,
        }
    };
    assert!(
        matches!(
            answer,
            Ok(PreemptSuccess::Stopped | PreemptSuccess::Pending)
        ),
        "{answer:?}"
    );
    let (mut guest, result) = runner.join().unwrap();
    assert!(matches!(result, Ok(RunResult::Preempted)), "{result:?}");
    assert_eq!(preempter.preempt(), Err(PreemptError::NotRunning));
    guest.reset().unwrap();
    assert_eq!(preempter.preempt(), Err(PreemptError::NotRunning));
}

#[test]
fn what_would_move_under_a_preempted_guest_does_not_grow() {
    let mut config = Config::new();
    config.memory_reservation(1 << 16).memory_guard_size(0);
    let engine = Engine::new(&config).unwrap();
    let mut guest = crate::support::guest_of::<()>(
        &engine,
        r#"(module (memory (export "memory") 1) (table (export "table") 1 funcref)
            (global $stop (mut i32) (i32.const 0))
            (func (export "run") (result i32)
                (loop
                    (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
                    (drop (table.get (i32.const 0)))
                    (br_if 0 (i32.eqz (global.get $stop))))
                (memory.grow (i32.const 1))))"#,
        |_| {},
    );
    let instance = guest.instance().unwrap();
    let table = instance.get_table(&mut guest, "table").unwrap();
    guest.set_quantum(Some(Duration::from_millis(2))).unwrap();
    assert!(matches!(guest.run("run", &[]), Ok(RunResult::Preempted)));
    let error = guest.grow_memory(1).unwrap_err();
    assert!(matches!(error, GrowError::Interrupted { .. }), "{error:?}");
    let error = table.grow(&mut guest, 1, Ref::Func(None)).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(GrowError::Interrupted { .. })),
        "{error:?}"
    );
    guest.set_quantum(None).unwrap();
    guest.globals_mut().set(0, Val::I32(1)).unwrap();
    assert_eq!(returned_i32(guest.resume()), 1);
    assert_eq!(guest.grow_memory(1).unwrap(), 2);
    table.grow(&mut guest, 1, Ref::Func(None)).unwrap();
}

#[test]
fn a_guest_that_is_preempted_is_dropped_or_reset_without_a_trace() {
    let region = Region::builder().slots(1).build().unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, SPINNING).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    for round in 0..10 {
        let mut guest = region.guest(&pre, ()).build().unwrap();
        guest.set_quantum(Some(Duration::from_millis(1))).unwrap();
        assert!(matches!(guest.run("spin", &[]), Ok(RunResult::Preempted)));
        if round % 2 == 0 {
            guest.reset().unwrap();
            assert_eq!(returned_i32(guest.run("ran", &[])), 0);
        }
    }
    assert_eq!(region.used(), 0);
}

#[test]
fn while_a_guest_is_interrupted_no_other_guest_of_its_store_runs() {
    type Attempt = fn(&mut StoreContextMut<'_, ()>, Instance) -> String;
    let attempts: [(Attempt, &str); 2] = [
        (
            |store, instance| {
                let stop = instance.get_typed_func::<(), ()>(&mut *store, "stop");
                format!("{:?}", stop.and_then(|stop| stop.call(store, ())))
            },
            "suspended",
        ),
        (
            |store, instance| {
                let memory = instance.get_memory(&mut *store, "memory").unwrap();
                format!("{:?}", memory.grow(store, 1))
            },
            "Ok(1)",
        ),
    ];
    for (attempt, expected) in attempts {
        let engine = Engine::default();
        let module = Module::new(
            &engine,
            r#"(module (memory (export "memory") 1) (global $stop (mut i32) (i32.const 0))
                (func (export "stop") (global.set $stop (i32.const 1)))
                (func (export "run") (loop (br_if 0 (i32.eqz (i32.load (i32.const 0)))))))"#,
        );
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module.unwrap(), &[]).unwrap();
        let seen = Arc::new(std::sync::Mutex::new(String::new()));
        let log = seen.clone();
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut store| {
            *log.lock().unwrap() = attempt(&mut store, instance);
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            memory.write(&mut store, 0, &[1])?;
            Ok(UpdateDeadline::Continue(1000))
        });
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        let ticker = {
            let engine = engine.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                engine.increment_epoch();
            })
        };
        run.call(&mut store, ()).unwrap();
        ticker.join().unwrap();
        let seen = seen.lock().unwrap();
        assert!(seen.contains(expected), "{expected:?} is not in {seen:?}");
    }
}
