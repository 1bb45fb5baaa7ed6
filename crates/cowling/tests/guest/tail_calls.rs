//! Guests that never return from a tail recursion are stopped and suspended like others.

use crate::support::{assert_yielded, define_yield, guest, guest_with, returned_i32, terminated};
use cowling::*;
use std::thread;
use std::time::Duration;

const ENDLESS: &str = r#"(module
    (global $turns (mut i64) (i64.const 0))
    (type $f (func (param i64 i64 i64 i64 i64 i64 i64 i64)))
    (table funcref (elem $few))
    (func $few (export "spin")
        (global.set $turns (i64.add (global.get $turns) (i64.const 1)))
        (return_call $many (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
            (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8)))
    (func $many (type $f) (return_call_indirect (i32.const 0)))
    (func (export "turns") (result i32) (i64.ne (global.get $turns) (i64.const 0))))"#;

#[test]
fn a_tail_recursion_is_killed_wherever_it_is() {
    let mut guest = guest(ENDLESS);
    for round in 0..50 {
        let switch = guest.kill_switch();
        let runner = thread::spawn(move || {
            let details = terminated(guest.run("spin", &[]));
            assert!(matches!(details, TerminationDetails::Remote), "{details:?}");
            guest
        });
        thread::sleep(Duration::from_micros(round * 37));
        assert!(switch.terminate().is_ok());
        guest = runner.join().unwrap();
        guest.reset().unwrap();
    }
}

#[test]
fn a_host_function_called_in_tail_position_yields() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "yield" (func $yield))
            (func $leaves (return_call $yield))
            (func (export "run") (param i32) (result i32)
                (call $leaves)
                (i32.add (local.get 0) (i32.const 1)))
            (func (export "at once") (return_call $yield)))"#,
        define_yield,
    );
    assert_yielded(guest.run("run", &[Val::I32(41)]));
    assert_eq!(returned_i32(guest.resume()), 42);
    assert_yielded(guest.run("at once", &[]));
    assert!(matches!(guest.resume(), Ok(RunResult::Returned(_))));
}

#[test]
fn a_tail_recursion_that_is_preempted_again_and_again_comes_to_its_end() {
    let mut guest = guest(
        r#"(module
            (type $f (func (param i64 i64) (result i64)))
            (type $many (func (param i64 i64 i64 i64 i64 i64 i64 f64 f64) (result i64)))
            (func $few (export "sum") (type $f)
                (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
                (return_call $many (local.get 0) (local.get 1) (i64.const 1) (i64.const 2)
                    (i64.const 3) (i64.const 4) (local.get 0) (f64.const 5) (f64.const 6)))
            (func $many (type $many)
                (return_call $few (i64.sub (local.get 0) (i64.const 1))
                    (i64.add (local.get 1) (local.get 6)))))"#,
    );
    let preempter = guest.preempter();
    let n = 5_000_000;
    let (sender, done) = std::sync::mpsc::channel::<()>();
    let asking = thread::spawn(move || {
        while done.recv_timeout(Duration::from_micros(100)).is_err() {
            // It may just not be running.
            let _ = preempter.preempt();
        }
    });
    let mut result = guest.run("sum", &[Val::I64(n), Val::I64(0)]);
    while matches!(result, Ok(RunResult::Preempted)) {
        result = guest.resume();
    }
    sender.send(()).unwrap();
    asking.join().unwrap();
    let sum = match result {
        Ok(RunResult::Returned(values)) => values[0].unwrap_i64(),
        other => panic!("did not return: {other:?}"),
    };
    assert_eq!(sum, n * (n + 1) / 2);
}
