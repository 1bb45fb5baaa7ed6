//! Faults: every trap, what is known of it, and the handler that has a say.

use crate::support::{assert_fails, guest, guest_with, returned_i32, terminated};
use cowling::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

#[track_caller]
fn faulted(result: Result<RunResult, GuestError>) -> FaultDetails {
    match result {
        Err(GuestError::Faulted(details)) => *details,
        other => panic!("did not fault: {other:?}"),
    }
}

#[test]
fn each_trap_faults_with_its_details_and_the_guest_runs_on_without_reset() {
    let cases = [
        ("(call $deep)", Trap::StackOverflow),
        ("(drop (i32.load (i32.const -8)))", Trap::MemoryOutOfBounds),
        ("(call_indirect (i32.const 0))", Trap::IndirectCallToNull),
        (
            "(call_indirect (param i32) (i32.const 0) (i32.const 1))",
            Trap::BadSignature,
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            Trap::BadConversionToInteger,
        ),
        ("(call_indirect (i32.const 9))", Trap::TableOutOfBounds),
        ("(unreachable)", Trap::UnreachableCodeReached),
        (
            "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))",
            Trap::MemoryOutOfBounds,
        ),
        ("(drop (table.get (i32.const 2)))", Trap::TableOutOfBounds),
    ];
    for (body, trap) in cases {
        let mut guest = guest(&format!(
            r#"(module $m (memory 1) (table 2 funcref) (elem (i32.const 1) func $f)
                (global $n (mut i32) (i32.const 0))
                (func $f) (func $deep (call $deep) (call $f))
                (func $fails (export "fails") {body})
                (func (export "count") (result i32)
                    (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#
        ));
        for round in 1..=3 {
            let details = faulted(guest.run("fails", &[]));
            assert_eq!(details.trap(), trap, "{body}");
            let symbol = details.symbol().unwrap();
            assert_eq!(symbol.module_name(), Some("m"), "{body}");
            let name = if trap == Trap::StackOverflow {
                "deep"
            } else {
                "fails"
            };
            assert_eq!(symbol.func_name(), Some(name), "{body}");
            assert!(details.pc().is_some() && !details.is_fatal());
            assert!(!details.backtrace().is_empty());
            assert!(guest.is_faulted());
            assert_eq!(guest.state(), State::Faulted { recoverable: true });
            assert_eq!(guest.fault().unwrap().trap(), trap);
            assert_fails(guest.resume(), "Resume(NotSuspended)", &[]);
            assert_eq!(returned_i32(guest.run("count", &[])), round);
            assert!(guest.is_ready() && guest.fault().is_none());
        }
    }
}

#[test]
fn accesses_out_of_bounds_say_which_memory_where_and_how_large_it_is() {
    let wat = r#"(module $m (memory $a 1) (memory $b 3)
        (func (export "a") (param i32) (drop (i64.load $a offset=8 (local.get 0))))
        (func (export "b") (param i32) (i32.store8 $b (local.get 0) (i32.const 1))))"#;
    let cases = [
        ("a", 65536, (0, 65544, 65536)),
        ("a", -1, (0, 0xffff_ffff + 8, 65536)),
        ("b", 3 << 16, (1, 3 << 16, 3 << 16)),
        ("b", 1 << 30, (1, 1 << 30, 3 << 16)),
    ];
    let mut guest = guest(wat);
    for (name, index, expected) in cases {
        let details = faulted(guest.run(name, &[Val::I32(index)]));
        let memory = details.memory().unwrap();
        assert_eq!(
            (memory.memory(), memory.offset(), memory.size()),
            expected,
            "{name} {index}"
        );
        let message = details.to_string();
        let address = format!("{:#x}", expected.1);
        for part in [
            "out of bounds memory access",
            &address,
            &format!("m!<function"),
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
    // What the runtime finds out by comparing numbers has no address.
    let mut guest = crate::support::guest(
        r#"(module (memory 1) (func (export "run") (memory.copy (i32.const 1) (i32.const 0) (i32.const 65536))))"#,
    );
    assert!(faulted(guest.run("run", &[])).memory().is_none());
}

#[test]
fn backtraces_go_from_the_trap_outwards_through_host_functions() {
    let mut guest = guest_with::<()>(
        r#"(module $m (import "host" "back" (func $back))
            (func $inner (export "inner") unreachable)
            (func $middle (call $back)) (func $outer (export "run") (call $middle)))"#,
        |linker| {
            let back = |mut caller: Caller<'_, ()>| -> Result<()> {
                let inner = caller
                    .get_export("inner")
                    .and_then(Extern::into_func)
                    .unwrap();
                inner.call(&mut caller, &[], &mut [])
            };
            linker.func_wrap("host", "back", back).unwrap();
        },
    );
    let details = faulted(guest.run("run", &[]));
    let names: Vec<_> = details
        .backtrace()
        .iter()
        .map(|f| f.func_name().unwrap())
        .collect();
    assert_eq!(names, ["inner", "middle", "outer"]);
}

#[test]
fn less_stack_than_host_functions_are_promised_is_a_fault() {
    // The guest leaves a little less than the reserve, in a single frame of the right size, and calls the host.
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "f" (func $f))
            (table 1 funcref) (elem (i32.const 0) func $f)
            (memory 1 10)
            (func $direct (export "direct") (call $f) (call $direct) (call $f))
            (func $indirect (export "indirect") (call_indirect (i32.const 0)) (call $indirect)
                (call_indirect (i32.const 0)))
            (func $builtin (export "builtin") (drop (memory.grow (i32.const 0))) (call $builtin)
                (drop (memory.grow (i32.const 0)))))"#,
        |linker| {
            linker
                .func_wrap("host", "f", || {
                    let mut room = [0u8; 100 << 10];
                    std::hint::black_box(&mut room);
                })
                .unwrap();
        },
    );
    for name in ["direct", "indirect", "builtin"] {
        let details = faulted(guest.run(name, &[]));
        assert_eq!(details.trap(), Trap::StackOverflow, "{name}");
        assert!(guest.is_faulted());
    }
}

#[test]
fn a_fault_handler_sees_the_guest_and_decides() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let mut guest = guest(
        r#"(module (memory 1) (global (mut i32) (i32.const 3))
            (func (export "trap") (i32.store (i32.const 0) (i32.const 99)) unreachable)
            (func (export "divide") (drop (i32.div_s (i32.const 1) (i32.const 0)))))"#,
    );
    guest.set_fault_handler(move |mut caller, details| {
        let word = caller.heap_u32()[0];
        log.lock()
            .unwrap()
            .push((details.trap(), word, caller.globals()[0].unwrap_i32()));
        caller.heap_u32_mut()[0] = 0;
        match details.trap() {
            Trap::UnreachableCodeReached => FaultAction::Terminate(Box::new("no further")),
            _ => FaultAction::Default,
        }
    });
    let details = terminated(guest.run("trap", &[]));
    assert!(
        matches!(&details, TerminationDetails::Provided(p) if p.is::<&str>()),
        "{details:?}"
    );
    assert!(guest.is_terminated());
    assert_fails(guest.run("divide", &[]), "NeedsReset", &[]);
    guest.reset().unwrap();
    assert_eq!(
        faulted(guest.run("divide", &[])).trap(),
        Trap::IntegerDivisionByZero
    );
    assert!(guest.is_faulted());
    let expected = [
        (Trap::UnreachableCodeReached, 99, 3),
        (Trap::IntegerDivisionByZero, 0, 3),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_fault_handler_is_not_asked_about_terminations() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    let stop = |mut caller: Caller<'_, ()>| -> Result<()> { caller.terminate(()) };
    linker.func_wrap("host", "stop", stop).unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "host" "stop" (func $stop)) (func (export "run") (call $stop)))"#,
    );
    let pre = linker.instantiate_pre(&module.unwrap()).unwrap();
    let region = Region::builder().build().unwrap();
    let mut guest = (region.guest(&pre, ()))
        .fault_handler(move |_, _| {
            count.fetch_add(1, SeqCst);
            FaultAction::Default
        })
        .build()
        .unwrap();
    terminated(guest.run("run", &[]));
    assert_eq!(calls.load(SeqCst), 0);
}

#[test]
fn a_trap_that_a_host_function_returns_is_a_fault() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "f" (func $f)) (func (export "run") (call $f)))"#,
        |linker| {
            let f = || -> Result<()> { Err(Trap::IntegerOverflow.into()) };
            linker.func_wrap("host", "f", f).unwrap();
        },
    );
    assert_eq!(faulted(guest.run("run", &[])).trap(), Trap::IntegerOverflow);
}
