//! Instruction counts and bounds.

use crate::support::{
    assert_fails, counting_engine, guest, guest_of, returned, returned_i32, terminated,
};
use cowling::*;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

#[test]
fn without_the_setting_nothing_is_counted() {
    let mut guest = guest(r#"(module (func (export "run")))"#);
    assert_eq!(guest.instruction_count(), None);
    assert_fails(
        guest.set_instruction_count(1),
        "Fuel(NotCounted)",
        &["consume_fuel"],
    );
    assert_fails(
        guest.set_bound(Some(1)),
        "Fuel(NotCounted)",
        &["consume_fuel"],
    );
}

#[test]
fn counts_are_exact_cumulative_and_survive_resets() {
    let mut guest = guest_of::<()>(
        &counting_engine(),
        r#"(module (table 1 funcref) (elem (i32.const 0) func $add)
            (func $add (export "add") (param i32 i32) (result i32) ;; 3
                (i32.add (local.get 0) (local.get 1)))
            (func (export "nothing")
                (block (loop (nop) (drop (i32.const 1)))) (return)) ;; 1
            (func (export "call") (result i32) (call $add (i32.const 1) (i32.const 2))) ;; 2 + 1 + 3
            (func (export "half") (drop (i32.const 1)) (drop (i32.const 1)) (unreachable) (drop (i32.const 1))))"#,
        |_| {},
    );
    assert_eq!(guest.instruction_count(), Some(0));
    let args = [Val::I32(1), Val::I32(2)];
    assert_eq!(returned_i32(guest.run("add", &args)), 3);
    let add = guest.instruction_count().unwrap();
    assert!(returned(guest.run("nothing", &[])).is_empty());
    let nothing = guest.instruction_count().unwrap() - add;
    assert_eq!((add, nothing), (3, 1));
    assert_eq!(returned_i32(guest.run("call", &[])), 3);
    assert_eq!(guest.instruction_count(), Some(3 + 1 + 6));
    guest.run("half", &[]).unwrap_err();
    assert_eq!(guest.instruction_count(), Some(3 + 1 + 6 + 2));
    guest.reset().unwrap();
    assert_eq!(guest.instruction_count(), Some(12));
    assert_eq!(returned_i32(guest.run("add", &args)), 3);
    assert_eq!(guest.instruction_count(), Some(15));
    guest.set_instruction_count(100).unwrap();
    assert_eq!(returned_i32(guest.run("add", &args)), 3);
    assert_eq!(guest.instruction_count(), Some(103));
}

const LOOP: &str = r#"(module (func (export "run") (param i32) (result i32) (local i32)
    (loop
        (local.set 1 (i32.add (local.get 1) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get 1) (local.get 0))))
    (local.get 1)))"#;

#[test]
fn a_bound_suspends_the_guest_each_time_it_is_used_up() {
    let mut guest = guest_of::<()>(&counting_engine(), LOOP, |_| {});
    assert_fails(guest.set_bound(Some(0)), "Fuel(ZeroInterval)", &["0"]);
    guest.set_bound(Some(8_000)).unwrap();
    let mut result = guest.run("run", &[Val::I32(10_000)]);
    let mut stretches = 0;
    while let Ok(RunResult::BoundExpired) = result {
        stretches += 1;
        assert_eq!(guest.state(), State::BoundExpired);
        let count = guest.instruction_count().unwrap();
        assert!(
            (8_000 * stretches..8_000 * stretches + 100).contains(&count),
            "{count}"
        );
        result = guest.resume();
    }
    assert_eq!(returned_i32(result), 10_000);
    // Eight operators a round; the last stretch ends with the loop.
    assert_eq!(stretches, 9);
    // It stays for the runs after a reset.
    guest.reset().unwrap();
    let result = guest.run("run", &[Val::I32(10_000)]);
    assert!(matches!(result, Ok(RunResult::BoundExpired)), "{result:?}");
    guest.set_bound(None).unwrap();
    assert_eq!(returned_i32(guest.resume()), 10_000);
}

#[test]
fn a_guest_at_its_bound_can_be_killed() {
    let mut guest = guest_of::<()>(&counting_engine(), LOOP, |_| {});
    guest.set_bound(Some(1_000)).unwrap();
    let result = guest.run("run", &[Val::I32(-1)]);
    assert!(matches!(result, Ok(RunResult::BoundExpired)), "{result:?}");
    assert_eq!(guest.kill_switch().terminate(), Ok(KillSuccess::Pending));
    let details = terminated(guest.resume());
    assert!(matches!(details, TerminationDetails::Remote), "{details:?}");
}

#[test]
fn what_interrupts_a_guest_does_not_outlive_a_reset() {
    let engine = counting_engine();
    let long = [Val::I32(20_000_000)];
    // Each would interrupt the run.
    let interrupt: [fn(&mut Guest<()>); 4] = [
        |guest| guest.set_deadline(Some(Instant::now())).unwrap(),
        |guest| guest.set_quantum(Some(Duration::from_micros(100))).unwrap(),
        |guest| {
            let mut store = guest.as_context_mut();
            store.epoch_deadline_trap();
            store.set_epoch_deadline(1);
        },
        |guest| {
            let mut run = pin!(guest.run_async("run", &[Val::I32(-1)], Some(1_000)));
            let mut context = Context::from_waker(Waker::noop());
            assert!(run.as_mut().poll(&mut context).is_pending());
        },
    ];
    for (which, interrupt) in interrupt.into_iter().enumerate() {
        let mut guest = guest_of::<()>(&engine, LOOP, |_| {});
        interrupt(&mut guest);
        guest.reset().unwrap();
        engine.increment_epoch();
        let result = guest.run("run", &long);
        assert_eq!(returned_i32(result), 20_000_000, "{which}");
    }
}

#[test]
fn a_guest_without_fuel_faults() {
    let mut guest = guest_of::<()>(&counting_engine(), LOOP, |_| {});
    guest.as_context_mut().set_fuel(1_000).unwrap();
    assert_fails(
        guest.run("run", &[Val::I32(-1)]),
        "Faulted",
        &["all fuel consumed"],
    );
    guest.as_context_mut().set_fuel(u64::MAX).unwrap();
    assert_eq!(returned_i32(guest.run("run", &[Val::I32(7)])), 7);
}
