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
        for part in ["out of bounds memory access", &address, "m!<function"] {
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
fn without_backtraces_a_fault_has_no_symbols_and_its_handler_is_asked_once() {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config).unwrap();
    let mut guest = crate::support::guest_of::<()>(
        &engine,
        r#"(module (memory 1) (func (export "run") (drop (i32.load (i32.const -8)))))"#,
        |_| {},
    );
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    guest
        .set_fault_handler(move |_, _| {
            count.fetch_add(1, SeqCst);
            FaultAction::Default
        })
        .unwrap();
    for round in 1..=2 {
        let details = faulted(guest.run("run", &[]));
        assert_eq!(details.trap(), Trap::MemoryOutOfBounds);
        assert_eq!(details.memory().unwrap().offset(), 0xffff_fff8);
        assert!(details.symbol().is_none() && details.pc().is_none());
        assert_eq!(asked.load(SeqCst), round);
    }
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
    guest
        .set_fault_handler(move |mut caller, details| {
            let word = caller.heap_u32()[0];
            log.lock()
                .unwrap()
                .push((details.trap(), word, caller.globals()[0].unwrap_i32()));
            caller.heap_u32_mut()[0] = 0;
            match details.trap() {
                Trap::UnreachableCodeReached => FaultAction::Terminate(Box::new("no further")),
                _ => FaultAction::Default,
            }
        })
        .unwrap();
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

const PEEK: &str = r#"(module (memory (export "memory") 1 20) (table (export "table") 1 funcref)
    (func (export "run") (param i32 i64 v128) (result i64)
        (i64.add (i64.add (i64.load (local.get 0)) (local.get 1))
            (i64x2.extract_lane 1 (local.get 2))))
    (func (export "store") (param i32) (v128.store (local.get 0) (v128.const i64x2 1 2)))
    (func (export "fill") (param i32) (memory.fill (local.get 0) (i32.const 1) (i32.const 1000)))
    (func (export "other")))"#;

fn args(address: i32) -> [Val; 3] {
    [
        Val::I32(address),
        Val::I64(1000),
        Val::V128(V128::from(7u128 << 64)),
    ]
}

#[test]
fn a_handler_repairs_and_the_guest_goes_on_with_all_its_registers() {
    let mut guest = guest(PEEK);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    guest
        .set_fault_handler(move |mut caller, details| {
            assert!(details.can_continue());
            let memory = details.memory().unwrap();
            log.lock()
                .unwrap()
                .push((memory.offset() >> 16, memory.size() >> 16));
            assert!(details.backtrace()[0].func_index() < 2);
            assert_eq!(caller.backtrace().frames().len(), 1);
            // One page at a time: it fails again and again until there are enough.
            match caller.grow_memory(1) {
                Ok(_) => {
                    let end = caller.heap().len();
                    caller.heap_mut()[end - 65536] = 30;
                    FaultAction::Continue
                }
                Err(_) => FaultAction::Default,
            }
        })
        .unwrap();
    for _ in 0..2 {
        let result = returned_i64(guest.run("run", &args(3 << 16)));
        assert_eq!(result, 30 + 1000 + 7);
        assert!(guest.is_ready());
        assert!(matches!(
            guest.run("store", &[Val::I32(5 << 16)]),
            Ok(RunResult::Returned(_))
        ));
        assert_eq!(guest.heap()[(5 << 16) + 8], 2);
        assert_eq!(
            *asked.lock().unwrap(),
            [(3, 1), (3, 2), (3, 3), (5, 4), (5, 5)]
        );
        asked.lock().unwrap().clear();
        // Past its maximum it cannot be repaired; the handler is asked once more, not twice.
        let details = faulted(guest.run("run", &args(-8)));
        assert_eq!(details.trap(), Trap::MemoryOutOfBounds);
        assert!(!details.can_continue());
        assert_eq!(guest.heap().len(), 20 << 16);
        assert_eq!(asked.lock().unwrap().len(), 20 - 6 + 1);
        asked.lock().unwrap().clear();
        guest.reset().unwrap();
    }
}

#[track_caller]
fn returned_i64(result: Result<RunResult, GuestError>) -> i64 {
    crate::support::returned(result)[0].unwrap_i64()
}

#[test]
fn a_handler_terminates_a_guest_that_waits() {
    let mut guest = guest(PEEK);
    let handler = |_: Caller<'_, ()>, details: &FaultDetails| {
        assert!(details.can_continue());
        FaultAction::Terminate(Box::new(17u8))
    };
    guest.set_fault_handler(handler).unwrap();
    let details = terminated(guest.run("run", &args(-1)));
    assert!(
        matches!(&details, TerminationDetails::Provided(p) if p.is::<u8>()),
        "{details:?}"
    );
    guest.reset().unwrap();
    // The handler stays.
    terminated(guest.run("run", &args(-1)));
}

#[test]
fn what_only_the_runtime_finds_out_cannot_be_continued() {
    let mut guest = guest(PEEK);
    let handler = |mut caller: Caller<'_, ()>, details: &FaultDetails| {
        assert!(!details.can_continue());
        caller.grow_memory(1).unwrap();
        FaultAction::Continue
    };
    guest.set_fault_handler(handler).unwrap();
    faulted(guest.run("fill", &[Val::I32(65536)]));
    assert!(matches!(
        guest.run("fill", &[Val::I32(65536)]),
        Ok(RunResult::Returned(_))
    ));
}

#[test]
fn while_a_guest_waits_to_be_repaired_nothing_else_runs_or_moves_in_its_store() {
    let mut guest = guest(PEEK);
    let handler = |mut caller: Caller<'_, ()>, _: &FaultDetails| {
        let other = caller
            .get_export("other")
            .and_then(Extern::into_func)
            .unwrap();
        let error = other.call(&mut caller, &[], &mut []).unwrap_err();
        assert!(
            error.downcast_ref::<StoreSuspended>().is_some(),
            "{error:?}"
        );
        let table = caller
            .get_export("table")
            .and_then(Extern::into_table)
            .unwrap();
        let error = table
            .grow(&mut caller, 100_000, Ref::Func(None))
            .unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(GrowError::Interrupted { .. })),
            "{error:?}"
        );
        caller.gc(None).unwrap();
        let yielded = caller.yield_().unwrap_err();
        assert!(
            yielded.downcast_ref::<CannotSuspend>().is_some(),
            "{yielded:?}"
        );
        caller.grow_memory(1).unwrap();
        FaultAction::Continue
    };
    guest.set_fault_handler(handler).unwrap();
    assert_eq!(returned_i64(guest.run("run", &args(65536))), 1007);
    assert!(matches!(
        guest.run("other", &[]),
        Ok(RunResult::Returned(_))
    ));
}

#[test]
fn a_handler_that_panics_ends_the_run_and_stays() {
    let mut guest = guest(PEEK);
    let handler = |_: Caller<'_, ()>, _: &FaultDetails| panic!("no idea");
    guest.set_fault_handler(handler).unwrap();
    for _ in 0..2 {
        let details = terminated(guest.run("run", &args(-1)));
        assert!(
            matches!(details, TerminationDetails::OtherPanic(_)),
            "{details:?}"
        );
        guest.reset().unwrap();
    }
}

#[test]
fn a_kill_while_a_handler_is_asked_ends_the_guest_when_it_would_go_on() {
    let mut guest = guest(PEEK);
    let switch = guest.kill_switch();
    let told = switch.clone();
    let handler = move |mut caller: Caller<'_, ()>, _: &FaultDetails| {
        let answer = std::thread::scope(|scope| scope.spawn(|| told.terminate()).join().unwrap());
        assert!(
            matches!(
                answer,
                Ok(KillSuccess::Pending) | Err(KillError::NotTerminable)
            ),
            "{answer:?}"
        );
        caller.grow_memory(1).unwrap();
        FaultAction::Continue
    };
    guest.set_fault_handler(handler).unwrap();
    let details = terminated(guest.run("run", &args(65536)));
    assert!(matches!(details, TerminationDetails::Remote), "{details:?}");
    assert_eq!(switch.terminate(), Err(KillError::Invalid));
}

#[test]
fn plain_calls_and_counting_guests_are_repaired_too() {
    let mut guest =
        crate::support::guest_of::<()>(&crate::support::counting_engine(), PEEK, |_| {});
    let handler = |mut caller: Caller<'_, ()>, _: &FaultDetails| match caller.grow_memory(1) {
        Ok(_) => FaultAction::Continue,
        Err(_) => FaultAction::Default,
    };
    guest.set_fault_handler(handler).unwrap();
    let instance = guest.instance().unwrap();
    let run = instance
        .get_typed_func::<(i32, i64, V128), i64>(&mut guest, "run")
        .unwrap();
    let vector = V128::from(7u128 << 64);
    assert_eq!(run.call(&mut guest, (0, 1000, vector)).unwrap(), 1007);
    let once = guest.instruction_count().unwrap();
    assert_eq!(run.call(&mut guest, (5 << 16, 1000, vector)).unwrap(), 1007);
    assert_eq!(guest.instruction_count(), Some(2 * once));
    assert_eq!(guest.heap().len(), 6 << 16);
    let error = run.call(&mut guest, (-8, 1000, vector)).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
}
