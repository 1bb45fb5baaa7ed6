//! Start functions: run once, by request, before anything else.

use crate::support::{
    assert_fails, assert_yielded, define_yield, guest, guest_with, returned_i32, terminated,
};
use cowling::*;

const STARTING: &str = r#"(module (global $g (mut i32) (i32.const 1)) (memory 1) (data (i32.const 0) "\07")
    (func $start (global.set $g (i32.add (global.get $g) (i32.load8_u (i32.const 0)))))
    (start $start)
    (func (export "run") (result i32) (global.get $g)))"#;

#[test]
fn nothing_runs_before_the_start_function_has() {
    let mut guest = guest(STARTING);
    for _ in 0..2 {
        assert_eq!(guest.state(), State::NotStarted);
        assert_fails(guest.run("run", &[]), "NotStarted", &["start function"]);
        assert_fails(guest.run_func_idx(0, 0, &[]), "NotStarted", &[]);
        assert_fails(guest.run_typed::<(), i32>("run", ()), "NotStarted", &[]);
        assert_fails(guest.resume(), "Resume(NotSuspended)", &[]);
        assert_eq!(guest.heap()[0], 7, "segments are written");
        guest.run_start().unwrap();
        assert!(guest.is_ready());
        assert_eq!(returned_i32(guest.run("run", &[])), 8);
        assert_fails(guest.run_start(), "AlreadyStarted", &["once"]);
        assert_eq!(returned_i32(guest.run("run", &[])), 8);
        guest.reset().unwrap();
    }
}

#[test]
fn without_a_start_function_starting_does_nothing() {
    let mut guest = guest(r#"(module (func (export "run") (result i32) (i32.const 2)))"#);
    assert!(guest.is_ready());
    guest.run_start().unwrap();
    guest.run_start().unwrap();
    assert_eq!(returned_i32(guest.run("run", &[])), 2);
    guest.run_start().unwrap();
}

#[test]
fn a_start_function_can_be_the_hosts() {
    let mut guest = guest_with::<i32>(
        r#"(module (import "host" "start" (func $start)) (start $start))"#,
        |linker| {
            let start = |mut caller: Caller<'_, i32>| *caller.data_mut() += 1;
            linker.func_wrap("host", "start", start).unwrap();
        },
    );
    assert_eq!((guest.state(), *guest.data()), (State::NotStarted, 0));
    guest.run_start().unwrap();
    assert_eq!((guest.state(), *guest.data()), (State::Ready, 1));
}

#[test]
fn a_start_function_that_yields_terminates_the_guest() {
    let wat = r#"(module (import "host" "yield" (func $yield)) (start $yield)
        (func (export "run") (call $yield)))"#;
    let mut guest = guest_with::<()>(wat, define_yield);
    for _ in 0..2 {
        assert_fails(
            guest.run_start(),
            "StartYielded",
            &["start function yielded"],
        );
        assert!(guest.is_terminated());
        assert_fails(guest.resume(), "Resume(NotSuspended)", &[]);
        assert_fails(guest.run("run", &[]), "NeedsReset", &[]);
        assert_fails(guest.run_start(), "AlreadyStarted", &[]);
        guest.reset().unwrap();
        assert_eq!(guest.state(), State::NotStarted);
    }
}

#[test]
fn a_start_function_that_traps_leaves_a_guest_that_must_be_reset() {
    let mut guest = guest(
        r#"(module (memory 1) (func $start (drop (i32.load (i32.const -1)))) (start $start)
            (func (export "run")))"#,
    );
    assert_fails(guest.run_start(), "Faulted", &["out of bounds"]);
    assert_eq!(guest.state(), State::Faulted { recoverable: false });
    assert!(guest.is_faulted());
    assert_fails(guest.run("run", &[]), "NeedsReset", &["faulted for good"]);
    assert_fails(guest.run_start(), "AlreadyStarted", &[]);
    guest.reset().unwrap();
    assert_eq!(guest.state(), State::NotStarted);
}

#[test]
fn a_start_function_can_be_killed_before_it_runs() {
    let mut guest = guest(STARTING);
    let switch = guest.kill_switch();
    assert_eq!(switch.terminate(), Ok(KillSuccess::Cancelled));
    assert!(matches!(
        terminated(guest.run_start()),
        TerminationDetails::Remote
    ));
    assert_eq!(guest.globals()[0].unwrap_i32(), 1);
    guest.reset().unwrap();
    guest.run_start().unwrap();
    assert_eq!(returned_i32(guest.run("run", &[])), 8);
}

#[test]
fn a_host_function_that_yields_is_fine_after_the_start() {
    let wat = r#"(module (import "host" "yield" (func $yield)) (func $start) (start $start)
        (func (export "run") (call $yield)))"#;
    let mut guest = guest_with::<()>(wat, define_yield);
    guest.run_start().unwrap();
    assert_yielded(guest.run("run", &[]));
    assert_fails(guest.run_start(), "AlreadyStarted", &[]);
    guest.resume().unwrap();
}
