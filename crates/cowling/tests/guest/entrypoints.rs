//! Which function is run, with what, and what comes back.

use crate::support::{assert_fails, guest, guest_with, returned, returned_i32};
use cowling::*;

const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (type $binary (func (param i32 i32) (result i32)))
    (table $numbers 3 funcref)
    (table $strings (export "strings") 1 externref)
    (elem (table $numbers) (i32.const 0) func $add $sub)
    (func $add (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func $sub (param i32 i32) (result i32) (i32.sub (local.get 0) (local.get 1)))
    (func (export "all") (param i32 i64 f32 f64 v128 externref funcref)
        (result funcref externref v128 f64 f32 i64 i32)
        local.get 6 local.get 5 local.get 4 local.get 3 local.get 2 local.get 1 local.get 0)
    (func (export "nothing")))"#;

#[test]
fn exports_are_run_by_name_with_any_values() {
    let mut guest = guest(MODULE);
    let args = [Val::I32(40), Val::I32(2)];
    assert_eq!(returned_i32(guest.run("add", &args)), 42);
    assert!(returned(guest.run("nothing", &[])).is_empty());
    let args = [
        Val::I32(-1),
        Val::I64(i64::MIN),
        Val::F32(1.5f32.to_bits()),
        Val::F64(f64::NAN.to_bits()),
        Val::V128(V128::from(7u128)),
        Val::ExternRef(None),
        Val::FuncRef(None),
    ];
    let results = returned(guest.run("all", &args));
    let expected: Vec<_> = args.iter().rev().map(|v| format!("{v:?}")).collect();
    let found: Vec<_> = results.iter().map(|v| format!("{v:?}")).collect();
    assert_eq!(found, expected);
    assert!(guest.is_ready());
}

#[test]
fn typed_runs_check_what_parameters_of_defined_types_ask_for() {
    let mut guest = guest(
        r#"(module
            (type $number (func (result i32)))
            (type $other (func (param i64 i64) (result f64)))
            (func $seven (export "seven") (result i32) (i32.const 7))
            (func $wrong (export "wrong") (type $other) (f64.const 0))
            (func (export "or-null") (param (ref null $number)) (result i32)
                (call_ref $number (local.get 0)))
            (func (export "never-null") (param (ref $number)) (result i32)
                (call_ref $number (local.get 0))))"#,
    );
    let instance = guest.instance().unwrap();
    let [seven, wrong] =
        ["seven", "wrong"].map(|name| instance.get_func(&mut guest, name).unwrap());
    let or_null = guest.run_typed::<Option<Func>, i32>("or-null", Some(seven));
    assert_eq!(or_null.unwrap().returned(), Some(7));
    let refused = |result: Result<RunResult<i32>, GuestError>| {
        let error = Error::from(result.unwrap_err());
        let shown = format!("{error:#}");
        assert!(shown.contains("argument 0"), "{shown}");
    };
    refused(guest.run_typed::<Option<Func>, i32>("or-null", Some(wrong)));
    refused(guest.run_typed::<Func, i32>("never-null", wrong));
    let never_null = guest.run_typed::<Func, i32>("never-null", seven);
    assert_eq!(never_null.unwrap().returned(), Some(7));
}

#[test]
fn typed_runs_take_and_give_rust_values() {
    let mut guest = guest(MODULE);
    let result = guest.run_typed::<(i32, i32), i32>("add", (1, 2)).unwrap();
    assert_eq!(result.returned(), Some(3));
    assert_fails(
        guest.run_typed::<(i32, i32), i64>("add", (1, 2)),
        "Type",
        &[
            "(func (param i32 i32) (result i64))",
            "(func (param i32 i32) (result i32))",
        ],
    );
    assert_fails(
        guest.run_typed::<(), ()>("none", ()),
        "UnknownExport",
        &["\"none\""],
    );
    assert!(guest.is_ready());
}

#[test]
fn table_elements_are_run_by_index() {
    let mut guest = guest(MODULE);
    let args = [Val::I32(40), Val::I32(2)];
    assert_eq!(returned_i32(guest.run_func_idx(0, 0, &args)), 42);
    assert_eq!(returned_i32(guest.run_func_idx(0, 1, &args)), 38);
    assert_fails(
        guest.run_func_idx(0, 2, &args),
        "NullElement",
        &["element 2", "table 0"],
    );
    assert_fails(
        guest.run_func_idx(0, 3, &args),
        "TableIndex",
        &["element 3", "size is 3"],
    );
    assert_fails(guest.run_func_idx(0, u64::MAX, &args), "TableIndex", &[]);
    assert_fails(
        guest.run_func_idx(1, 0, &args),
        "UnknownTable",
        &["table 1"],
    );
    assert_fails(
        guest.run_func_idx(2, 0, &args),
        "UnknownTable",
        &["table 2"],
    );
    assert_fails(
        guest.run_func_idx(0, 0, &args[1..]),
        "Call",
        &["expected 2 arguments, got 1"],
    );
}

#[test]
fn wrong_names_and_arguments_are_told_apart_and_change_nothing() {
    let mut guest = guest(MODULE);
    let one = Val::I32(1);
    assert_fails(guest.run("none", &[]), "UnknownExport", &["\"none\""]);
    assert_fails(
        guest.run("memory", &[]),
        "NotAFunction",
        &["\"memory\"", "memory"],
    );
    assert_fails(
        guest.run("add", &[]),
        "Call",
        &["expected 2 arguments, got 0"],
    );
    assert_fails(
        guest.run("add", &[one; 3]),
        "Call",
        &["expected 2 arguments, got 3"],
    );
    assert_fails(
        guest.run("add", &[one, Val::I64(1)]),
        "Call",
        &["argument 1", "expected i32, found i64"],
    );
    let stranger = {
        let mut other = Store::<()>::default();
        Val::FuncRef(Some(Func::wrap(&mut other, || {})))
    };
    let mut args = [
        one,
        Val::I64(0),
        Val::F32(0),
        Val::F64(0),
        Val::V128(0u128.into()),
    ]
    .to_vec();
    args.extend([Val::ExternRef(None), stranger]);
    assert_fails(
        guest.run("all", &args),
        "Call",
        &["argument 6", "wrong store"],
    );
    assert!(guest.is_ready());
    assert_eq!(returned_i32(guest.run("add", &[one, one])), 2);
}

#[test]
fn an_exported_host_function_runs_too() {
    let mut guest = guest_with::<i32>(
        r#"(module (import "host" "count" (func $count (result i32))) (export "count" (func $count)))"#,
        |linker| {
            let count = |mut caller: Caller<'_, i32>| {
                *caller.data_mut() += 1;
                *caller.data()
            };
            linker.func_wrap("host", "count", count).unwrap();
        },
    );
    assert_eq!(returned_i32(guest.run("count", &[])), 1);
    assert_eq!(returned_i32(guest.run("count", &[])), 2);
    assert_eq!(guest.into_data(), 2);
}

#[test]
fn memory_and_globals_are_seen_and_changed_from_outside() {
    let mut guest = guest(
        r#"(module (memory 1 3) (global $a (mut i32) (i32.const 5)) (global f64 (f64.const 0.5))
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
            (func (export "a") (result i32) (global.get $a)))"#,
    );
    assert_eq!((guest.heap().len(), guest.heap_u32().len()), (65536, 16384));
    guest.heap_mut()[8..12].copy_from_slice(&0x0102_0304u32.to_le_bytes());
    assert_eq!(guest.heap_u32()[2], 0x0102_0304);
    guest.heap_u32_mut()[3] = 77;
    assert_eq!(returned_i32(guest.run("load", &[Val::I32(12)])), 77);

    let globals = guest.globals();
    assert!(
        matches!(globals[..], [Val::I32(5), Val::F64(_)]),
        "{globals:?}"
    );
    let mut globals = guest.globals_mut();
    assert_eq!((globals.len(), globals.is_empty()), (2, false));
    globals.set(0, Val::I32(6)).unwrap();
    assert!(matches!(globals.get(0), Some(Val::I32(6))));
    assert!(globals.get(2).is_none());
    assert!(matches!(
        globals.set(2, Val::I32(6)),
        Err(GlobalError::Unknown { index: 2 })
    ));
    assert!(matches!(
        globals.set(1, Val::F64(0)),
        Err(GlobalError::Access(AccessError::Immutable(_)))
    ));
    assert!(matches!(
        globals.set(0, Val::I64(0)),
        Err(GlobalError::Access(AccessError::Value(_)))
    ));
    assert_eq!(returned_i32(guest.run("a", &[])), 6);

    let start = guest.heap().as_ptr();
    assert!(guest.check_heap(start, 65536));
    assert!(guest.check_heap(start.wrapping_add(65536), 0));
    assert!(!guest.check_heap(start, 65537));
    assert!(!guest.check_heap(start.wrapping_add(65536), 1));
    assert!(!guest.check_heap(start.wrapping_sub(1), 1));
    assert!(!guest.check_heap(start, usize::MAX));
    assert!(!guest.check_heap(&raw const guest, 1));

    assert_eq!(guest.grow_memory(0).unwrap(), 1);
    assert_eq!(guest.grow_memory(1).unwrap(), 1);
    assert_eq!(guest.heap().len(), 2 * 65536);
    assert!(guest.grow_memory(2).is_err());
    assert_eq!(guest.grow_memory(1).unwrap(), 2);
}

#[test]
fn a_guest_without_memory_globals_and_tables_has_empty_ones() {
    let mut guest = guest(r#"(module (func (export "run")))"#);
    assert!(guest.heap().is_empty() && guest.heap_mut().is_empty() && guest.heap_u32().is_empty());
    assert!(guest.globals().is_empty() && guest.globals_mut().is_empty());
    assert_eq!(guest.grow_memory(0).unwrap(), 0);
    assert!(guest.grow_memory(1).is_err());
    assert_fails(guest.run_func_idx(0, 0, &[]), "UnknownTable", &[]);
    let (heap, contexts) = guest.heap_and_contexts();
    assert!(heap.is_empty() && !contexts.contains::<u8>());
}

#[test]
fn a_guest_is_a_store_for_everything_that_takes_one() {
    let mut guest = guest(MODULE);
    let instance = guest.instance().unwrap();
    let memory = instance.get_memory(&mut guest, "memory").unwrap();
    memory.write(&mut guest, 3, b"abc").unwrap();
    assert_eq!(&guest.heap()[3..6], b"abc");
    let text = ExternRef::new(&mut guest, "kept").unwrap();
    let strings = instance.get_table(&mut guest, "strings").unwrap();
    strings.set(&mut guest, 0, Ref::Extern(Some(text))).unwrap();
    guest.reset().unwrap();
    assert!(strings.get(&mut guest, 0).is_none());
    assert_eq!(memory.data_size(&guest), 0);
    assert!(memory.write(&mut guest, 3, b"abc").is_err());
}
