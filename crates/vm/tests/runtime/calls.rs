//! Calls in both directions, and the ways in which they end early.

use crate::engine::*;
use cowling_abi::knobs::Knobs;
use cowling_abi::{Trap, ValType};
use cowling_vm::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn values_of_every_type_cross_in_both_directions() {
    let text = r#"(module
        (type $t (func (param i32 i64 f32 f64 v128 externref funcref) (result i32 i64 f32 f64 v128 externref funcref)))
        (import "" "" (func $host (type $t)))
        (func $guest (export "guest") (type $t)
            (call $host (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6))))"#;
    type Row = (
        i32,
        i64,
        f32,
        f64,
        V128,
        Option<HostRef>,
        Option<FuncHandle>,
    );
    let mut s = store(());
    let swapped = host(
        |mut caller: HostCaller<'_, ()>, (a, b, c, d, e, r, f): Row| {
            let inner = caller.store.inner_mut();
            let r = r.map(|r| *inner.host_ref_get(r).unwrap().downcast_ref::<u8>().unwrap());
            let r = r.map(|r| inner.host_ref_new(Box::new(r + 1)).unwrap());
            Ok((a + 1, b + 1, c + 1.0, d + 1.0, V128(e.0 + 1), r, f))
        },
    );
    let instance = instantiate(&mut s, text, &[swapped]);
    let f = func(&mut s, instance, "guest");
    let r = s.as_mut().inner_mut().host_ref_new(Box::new(7u8)).unwrap();
    let row: Row = (1, 1 << 40, 0.5, -2.5, V128(1 << 100), Some(r), Some(f));
    let back: Row = call(&mut s, instance, "guest", row).unwrap();
    assert_eq!(
        (back.0, back.1, back.2, back.3),
        (2, (1 << 40) + 1, 1.5, -1.5)
    );
    assert_eq!((back.4, back.6), (V128((1 << 100) + 1), Some(f)));
    let mut number = |r: HostRef| {
        *s.as_mut()
            .inner_mut()
            .host_ref_get(r)
            .unwrap()
            .downcast_ref::<u8>()
            .unwrap()
    };
    assert_eq!(number(back.5.unwrap()), 8);

    let args = [
        Value::I32(1),
        Value::I64(2),
        Value::F32(3.0f32.to_bits()),
        Value::F64(4.0f64.to_bits()),
        Value::V128(5),
        Value::ExternRef(None),
        Value::FuncRef(None),
    ];
    let mut results = [Value::I32(0); 7];
    s.as_mut().call(f, &args, &mut results).unwrap();
    assert_eq!(results[0], Value::I32(2));
    assert_eq!(results[3], Value::F64(5.0f64.to_bits()));
    assert_eq!(
        results[4..],
        [Value::V128(6), Value::ExternRef(None), Value::FuncRef(None)]
    );
}

#[test]
fn dynamic_calls_are_checked() {
    let mut s = store(());
    let instance = instantiate(
        &mut s,
        r#"(module (func (export "f") (param i32 funcref) (result i32) local.get 0))"#,
        &[],
    );
    let f = func(&mut s, instance, "f");
    let mut one = [Value::I32(0)];
    let good = [Value::I32(3), Value::FuncRef(Some(f))];
    s.as_mut().call(f, &good, &mut one).unwrap();
    assert_eq!(one, [Value::I32(3)]);

    let mut other = store(());
    let foreign = instantiate(&mut other, r#"(module (func (export "f")))"#, &[]);
    let foreign = func(&mut other, foreign, "f");
    let cases: &[(&[Value], usize, &str)] = &[
        (
            &good[..1],
            1,
            "expected 2 arguments, got 1: the function's type is (func (param i32 funcref) (result i32))",
        ),
        (&good, 0, "expected room for 1 results, got 0"),
        (
            &[Value::I64(3), good[1]],
            1,
            "argument 0: type mismatch: expected i32, found i64",
        ),
        (
            &[good[0], Value::ExternRef(None)],
            1,
            "argument 1: type mismatch: expected funcref, found externref",
        ),
        (
            &[good[0], Value::FuncRef(Some(foreign))],
            1,
            "argument 1: object used with the wrong store",
        ),
    ];
    for (args, results, expected) in cases {
        let error = s
            .as_mut()
            .call(f, args, &mut one[..*results])
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(
        s.as_mut()
            .call(foreign, &[], &mut [])
            .unwrap_err()
            .is::<WrongStore>()
    );
    let mismatch = s.as_mut().typed::<i64, ()>(f).unwrap_err().to_string();
    assert!(
        mismatch.contains(
            "expected a function of type (func (param i64)), found (func (param i32 funcref)"
        ),
        "{mismatch}"
    );
    assert!(matches!(
        s.as_mut().typed::<(), ()>(foreign),
        Err(TypeMismatch::WrongStore(_))
    ));
}

/// `outer` calls the host, which calls `inner`, which traps.
const NESTED: &str = r#"(module $m
    (import "" "again" (func $again (param i32) (result i32)))
    (memory 1)
    (func $outer (export "outer") (param i32) (result i32)
        (i32.add (call $again (local.get 0)) (i32.const 1)))
    (func $inner (export "inner") (param i32) (result i32)
        (i32.div_u (i32.const 100) (local.get 0)))
    (func $peek (export "peek") (param i32) (result i32) (i32.load (local.get 0))))"#;

/// Calls the caller's export with this name.
fn calls_back(name: &'static str) -> ImportValue<Vec<String>> {
    host(move |mut caller: HostCaller<'_, Vec<String>>, n: i32| {
        let instance = caller.instance.expect("a guest called");
        let exported = caller.store.inner_mut().instance_export(instance, name)?;
        let Some(ExternHandle::Func(f)) = exported else {
            panic!("no {name}")
        };
        let typed = caller.store.typed::<i32, i32>(f)?;
        let result = caller.store.call_typed(&typed, n);
        caller.store.data_mut().push(format!("{}", result.is_ok()));
        result
    })
}

#[test]
fn a_trap_inside_a_host_call_passes_through_the_host_function() {
    let mut s = store(Vec::new());
    let instance = instantiate(&mut s, NESTED, &[calls_back("inner")]);
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 5).unwrap(),
        21
    );
    let error = call::<_, i32, i32>(&mut s, instance, "outer", 0).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
    assert_eq!(frames(&error), ["inner", "outer"]);
    let printed = format!("{error:?}");
    assert!(
        printed.contains("m!inner") && printed.contains("m!outer"),
        "{printed}"
    );
    assert!(printed.contains("integer divide by zero"), "{printed}");
    // The store works as before.
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 50).unwrap(),
        3
    );
    assert_eq!(s.data(), &["true", "false", "true"]);
}

#[test]
fn a_host_function_may_survive_the_trap_of_what_it_calls() {
    let mut s = store(());
    let forgiving = host(|mut caller: HostCaller<'_, ()>, n: i32| {
        let instance = caller.instance.unwrap();
        let Some(ExternHandle::Func(f)) = caller
            .store
            .inner_mut()
            .instance_export(instance, "inner")?
        else {
            panic!()
        };
        let typed = caller.store.typed::<i32, i32>(f)?;
        let frames =
            |caller: &HostCaller<'_, ()>| Backtrace::capture(caller.store.inner()).frames().len();
        let before = frames(&caller);
        let result = caller.store.call_typed(&typed, n);
        assert_eq!((before, frames(&caller)), (1, 1));
        Ok(result.unwrap_or(-5))
    });
    let instance = instantiate(&mut s, NESTED, &[forgiving]);
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 0).unwrap(),
        -4
    );
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 1).unwrap(),
        101
    );
}

#[test]
fn memory_faults_say_where() {
    let mut s = store(Vec::new());
    let instance = instantiate(&mut s, NESTED, &[calls_back("peek")]);
    let error = call::<_, i32, i32>(&mut s, instance, "outer", 0x2_0000).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    let fault = error.downcast_ref::<MemoryFault>().unwrap();
    assert_eq!((fault.offset(), fault.size()), (0x2_0000, 0x1_0000));
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("exit with {0}")]
struct Exit(i32);

#[test]
fn a_host_functions_error_keeps_its_type_and_gets_a_backtrace() {
    let mut s = store(());
    let exits = host(|_: HostCaller<'_, ()>, n: i32| -> Result<i32> { Err(Exit(n).into()) });
    let instance = instantiate(&mut s, NESTED, &[exits]);
    let error = call::<_, i32, i32>(&mut s, instance, "outer", 3).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Exit(3)));
    assert_eq!(frames(&error), ["outer"]);
}

#[test]
fn what_a_failing_host_function_holds_is_dropped() {
    let held = Arc::new(());
    let (a, b) = (held.clone(), held.clone());
    let mut s = store(());
    let fails = host(move |_: HostCaller<'_, ()>, n: i32| -> Result<i32> {
        let _held = a.clone();
        if n == 0 {
            Err(Exit(n).into())
        } else {
            panic!("{n}")
        }
    });
    let instance = instantiate(&mut s, NESTED, &[fails]);
    assert!(call::<_, i32, i32>(&mut s, instance, "outer", 0).is_err());
    assert!(
        catch_unwind(AssertUnwindSafe(|| call::<_, i32, i32>(
            &mut s, instance, "outer", 1
        )))
        .is_err()
    );
    assert_eq!(Arc::strong_count(&held), 3);
    drop(s);
    assert_eq!(Arc::strong_count(&held), 2);
    drop(b);
}

#[test]
fn a_panic_in_a_nested_host_function_reaches_the_embedder() {
    let mut s = store(0);
    let recurses = host(|mut caller: HostCaller<'_, i32>, n: i32| {
        *caller.store.data_mut() += 1;
        if n == 0 {
            std::panic::panic_any(Exit(77));
        }
        let instance = caller.instance.unwrap();
        let Some(ExternHandle::Func(f)) = caller
            .store
            .inner_mut()
            .instance_export(instance, "outer")?
        else {
            panic!()
        };
        let typed = caller.store.typed::<i32, i32>(f)?;
        caller.store.call_typed(&typed, n - 1)
    });
    let instance = instantiate(&mut s, NESTED, &[recurses]);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        call::<_, i32, i32>(&mut s, instance, "outer", 2)
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&Exit(77)));
    assert_eq!(*s.data(), 3);
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "inner", 5).unwrap(),
        20
    );
}

const RECURSION: &str = r#"(module
    (import "" "host" (func $host (param i32) (result i32)))
    (func $deep (export "deep") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))))
    (func $forever (export "forever") (result i32) (i32.add (i32.const 1) (call $forever)))
    (func $via_host (export "via_host") (param i32) (result i32) (call $host (local.get 0))))"#;

#[test]
fn guests_that_recurse_too_deep_trap_and_can_be_called_again() {
    let mut s = store(Vec::new());
    let instance = instantiate(&mut s, RECURSION, &[calls_back("via_host")]);
    for _ in 0..3 {
        let error = call::<_, (), i32>(&mut s, instance, "forever", ()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
        let frames = frames(&error);
        assert!(
            frames.len() > 10 && frames.iter().all(|f| f == "forever"),
            "{frames:?}"
        );
        assert_eq!(
            call::<_, i32, i32>(&mut s, instance, "deep", 10_000).unwrap(),
            10_000
        );
    }
}

#[test]
fn host_and_guest_calling_each_other_forever_trap() {
    let mut s = store(Vec::new());
    let instance = instantiate(&mut s, RECURSION, &[calls_back("via_host")]);
    for _ in 0..2 {
        assert_eq!(
            trap(call::<_, i32, i32>(&mut s, instance, "via_host", 1)),
            Trap::StackOverflow
        );
    }
    // Every host function that was entered has returned.
    assert!(s.data().len() > 20 && s.data().iter().all(|ok| ok == "false"));
}

#[test]
fn a_host_function_that_overflows_the_stack_is_a_trap_of_its_guest() {
    fn endless(n: u64) -> u64 {
        let here = std::hint::black_box([n; 64]);
        if here[7] == u64::MAX {
            0
        } else {
            endless(n + 1) + here[8]
        }
    }
    let mut s = store(());
    let overflows =
        host(|_: HostCaller<'_, ()>, n: i32| Ok(if n == 0 { endless(0) as i32 } else { n }));
    let instance = instantiate(&mut s, NESTED, &[overflows]);
    for _ in 0..2 {
        let error = call::<_, i32, i32>(&mut s, instance, "outer", 0).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
        assert_eq!(frames(&error), ["outer"]);
        assert_eq!(
            call::<_, i32, i32>(&mut s, instance, "outer", 2).unwrap(),
            3
        );
    }
}

#[test]
fn a_host_function_is_not_called_without_its_share_of_the_stack() {
    // The stack that a guest may use is small here; the host's share is not.
    let knobs = Knobs {
        max_wasm_stack: 64 << 10,
        host_stack_reserve: 512 << 10,
        ..Knobs::default()
    };
    let config = config(knobs);
    let text = r#"(module
        (import "" "host" (func $host))
        (func $f (export "f") (param i32)
            (if (local.get 0)
                (then (call $f (i32.sub (local.get 0) (i32.const 1))))
                (else (call $host)))))"#;
    let module = compile_for(&config, text);
    let mut s = Store::new(&config, 0usize);
    let uses_its_share = host(|mut caller: HostCaller<'_, usize>, ()| {
        let share = std::hint::black_box([1u8; 400 << 10]);
        *caller.store.data_mut() += usize::from(share[share.len() / 2]);
        Ok(())
    });
    let instance = s.as_mut().instantiate(&module, &[uses_its_share]).unwrap();
    let mut outcomes = Vec::new();
    for depth in (0..20_000).step_by(500) {
        outcomes.push(call::<_, i32, ()>(&mut s, instance, "f", depth).is_ok());
    }
    let called = outcomes.iter().filter(|ok| **ok).count();
    assert!(
        outcomes.is_sorted_by(|a, b| a >= b),
        "deeper calls fail when shallower ones do: {outcomes:?}"
    );
    assert_eq!(
        (called > 1 && called < outcomes.len(), called),
        (true, *s.data())
    );
}

#[test]
fn host_functions_are_called_from_the_host_without_any_guest() {
    let mut s = store(10);
    let add = HostFunc::typed(|mut caller: HostCaller<'_, i32>, (a, b): (i32, i64)| {
        assert_eq!(caller.instance, None);
        *caller.store.data_mut() += a;
        Ok(i64::from(a) + b)
    });
    assert_eq!(add.ty().to_string(), "(func (param i32 i64) (result i64))");
    let f = s.as_mut().host_func(&add);
    let typed = s.as_mut().typed::<(i32, i64), i64>(f).unwrap();
    assert_eq!(s.as_mut().call_typed(&typed, (3, 4)).unwrap(), 7);
    let mut result = [Value::I32(0)];
    s.as_mut()
        .call(f, &[Value::I32(1), Value::I64(2)], &mut result)
        .unwrap();
    assert_eq!((result[0], *s.data()), (Value::I64(3), 14));
}

#[test]
fn a_host_function_made_before_any_module_can_be_called_indirectly_later() {
    let mut s = store(());
    let double = s
        .as_mut()
        .host_func(&HostFunc::typed(|_: HostCaller<'_, ()>, n: i32| Ok(n * 2)));
    let text = r#"(module
        (table (export "t") 2 funcref)
        (type $f (func (param i32) (result i32)))
        (func (export "call") (param i32 i32) (result i32) (call_indirect (type $f) (local.get 1) (local.get 0))))"#;
    let instance = instantiate(&mut s, text, &[]);
    let table = table(&mut s, instance, "t");
    s.as_mut()
        .inner_mut()
        .table_set(table, 1, Value::FuncRef(Some(double)))
        .unwrap();
    assert_eq!(
        call::<_, (i32, i32), i32>(&mut s, instance, "call", (1, 21)).unwrap(),
        42
    );
    assert_eq!(
        trap(call::<_, (i32, i32), i32>(
            &mut s,
            instance,
            "call",
            (0, 21)
        )),
        Trap::IndirectCallToNull
    );
    assert_eq!(
        trap(call::<_, (i32, i32), i32>(
            &mut s,
            instance,
            "call",
            (2, 21)
        )),
        Trap::TableOutOfBounds
    );
    let wrong = s
        .as_mut()
        .host_func(&HostFunc::typed(|_: HostCaller<'_, ()>, _: i64| Ok(0i32)));
    s.as_mut()
        .inner_mut()
        .table_set(table, 1, Value::FuncRef(Some(wrong)))
        .unwrap();
    assert_eq!(
        trap(call::<_, (i32, i32), i32>(
            &mut s,
            instance,
            "call",
            (1, 21)
        )),
        Trap::BadSignature
    );
}

#[test]
fn an_imported_host_function_called_through_a_table_knows_who_imported_it() {
    let text = r#"(module
        (import "" "host" (func $host (result i32)))
        (table 1 funcref) (elem (i32.const 0) $host)
        (export "reexported" (func $host))
        (type $f (func (result i32)))
        (func (export "direct") (result i32) (call $host))
        (func (export "indirect") (result i32) (call_indirect (type $f) (i32.const 0))))"#;
    let mut s = store(Vec::new());
    let notes = host(
        |mut caller: HostCaller<'_, Vec<Option<InstanceHandle>>>, ()| {
            let instance = caller.instance;
            caller.store.data_mut().push(instance);
            Ok(0i32)
        },
    );
    let a = instantiate(&mut s, text, &[notes]);
    let reexported = func(&mut s, a, "reexported");
    let b = instantiate(
        &mut s,
        text,
        &[ImportValue::Extern(ExternHandle::Func(reexported))],
    );
    for instance in [a, b] {
        for name in ["direct", "indirect", "reexported"] {
            call::<_, (), i32>(&mut s, instance, name, ()).unwrap();
        }
    }
    assert_eq!(s.data()[..], [a, a, a, b, b, b].map(Some));
}

#[test]
fn a_dynamic_host_function_with_a_wrong_result_is_an_error() {
    let mut s = store(());
    let liar = HostFunc::dynamic(
        func_type(&[ValType::I32], &[ValType::I32]),
        |_, args, results| {
            results[0] = match args {
                [Value::I32(0)] => Value::I64(0),
                _ => args[0],
            };
            Ok(())
        },
    );
    let instance = instantiate(&mut s, NESTED, &[ImportValue::Host(liar)]);
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 4).unwrap(),
        5
    );
    let error = call::<_, i32, i32>(&mut s, instance, "outer", 0).unwrap_err();
    let error = error.downcast_ref::<CallError>().unwrap().to_string();
    assert!(
        error.contains("(func (param i32) (result i32))")
            && error.contains("expected i32, found i64"),
        "{error}"
    );
}

#[test]
fn a_host_function_may_run_another_store() {
    let mut s = store(());
    let runs_another = host(|_: HostCaller<'_, ()>, n: i32| {
        let mut inner = store(Vec::new());
        let instance = instantiate(&mut inner, NESTED, &[calls_back("inner")]);
        call::<_, i32, i32>(&mut inner, instance, "outer", n)
    });
    let instance = instantiate(&mut s, NESTED, &[runs_another]);
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 10).unwrap(),
        12
    );
    assert_eq!(
        trap(call::<_, i32, i32>(&mut s, instance, "outer", 0)),
        Trap::IntegerDivisionByZero
    );
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 10).unwrap(),
        12
    );
}

#[test]
fn a_store_may_be_used_on_one_thread_after_another() {
    let mut s = store(Vec::new());
    let instance = instantiate(&mut s, NESTED, &[calls_back("inner")]);
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 1).unwrap(),
        101
    );
    let mut s = std::thread::spawn(move || {
        assert_eq!(
            trap(call::<_, i32, i32>(&mut s, instance, "outer", 0)),
            Trap::IntegerDivisionByZero
        );
        s
    })
    .join()
    .unwrap();
    assert_eq!(
        call::<_, i32, i32>(&mut s, instance, "outer", 2).unwrap(),
        51
    );
}

#[test]
fn a_store_drops_its_host_functions_and_gives_its_data_back() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    let (one, two) = (Counted(&DROPPED), Counted(&DROPPED));
    let mut s = store(String::from("data"));
    let imported = host(move |_: HostCaller<'_, String>, n: i32| {
        let _ = &one;
        Ok(n)
    });
    instantiate(&mut s, NESTED, &[imported]);
    s.as_mut()
        .host_func(&HostFunc::typed(move |_: HostCaller<'_, String>, ()| {
            let _ = &two;
            Ok(())
        }));
    assert_eq!(DROPPED.load(Relaxed), 0);
    assert_eq!(s.into_data(), "data");
    assert_eq!(DROPPED.load(Relaxed), 2);
}
