//! Linking, and what instantiation does before, while and after it fails.

use crate::engine::*;
use cowling_abi::*;
use cowling_vm::*;

/// Exports something of every kind.
const PROVIDER: &str = r#"(module
    (func (export "func") (param i32) (result i32) (local.get 0))
    (table (export "table") 2 10 funcref) (table (export "externs") 2 externref)
    (memory (export "memory") 2 5)
    (global (export "const") i32 (i32.const 5)) (global (export "var") (mut i64) (i64.const 6))
    (tag (export "tag") (param i32)))"#;

#[test]
fn imports_are_checked_and_errors_name_module_field_expected_and_found() {
    let mut s = store(());
    let provider = instantiate(&mut s, PROVIDER, &[]);
    // The import, what is given for it, and what was found if it does not fit.
    let cases: &[(&str, &str, Option<&str>)] = &[
        (r#"(func (param i32) (result i32))"#, "func", None),
        (
            r#"(func (param i32))"#,
            "func",
            Some("(func (param i32) (result i32))"),
        ),
        (r#"(func)"#, "memory", Some("(memory 2 5)")),
        (r#"(table 2 10 funcref)"#, "table", None),
        (r#"(table 1 funcref)"#, "table", None),
        (
            r#"(table 3 funcref)"#,
            "table",
            Some("(table 2 10 funcref)"),
        ),
        (
            r#"(table 2 9 funcref)"#,
            "table",
            Some("(table 2 10 funcref)"),
        ),
        (
            r#"(table 2 externref)"#,
            "table",
            Some("(table 2 10 funcref)"),
        ),
        (
            r#"(table 2 5 externref)"#,
            "externs",
            Some("(table 2 externref)"),
        ),
        (r#"(memory 1)"#, "memory", None),
        (r#"(memory 2 6)"#, "memory", None),
        (r#"(memory 3)"#, "memory", Some("(memory 2 5)")),
        (r#"(memory 1 4)"#, "memory", Some("(memory 2 5)")),
        (r#"(global i32)"#, "const", None),
        (r#"(global i64)"#, "const", Some("(global i32)")),
        (r#"(global (mut i32))"#, "const", Some("(global i32)")),
        (r#"(global (mut i64))"#, "var", None),
        (r#"(global i64)"#, "var", Some("(global (mut i64))")),
        (r#"(tag (param i32))"#, "tag", None),
        (r#"(tag (param i64))"#, "tag", Some("(tag (param i32))")),
        (r#"(tag (param i32))"#, "const", Some("(global i32)")),
    ];
    for (import, name, found) in cases {
        let given = ImportValue::Extern(export(&mut s, provider, name));
        let module = compile(&format!(r#"(module (import "some" "th\"ing" {import}))"#));
        let result = s.as_mut().instantiate(&module, &[given]);
        match found {
            None => drop(result.unwrap()),
            Some(found) => {
                let error = result.unwrap_err();
                assert!(matches!(
                    error.downcast_ref(),
                    Some(LinkError::Incompatible { .. })
                ));
                let expected = format!(
                    r#"incompatible import type for "some"."th\"ing": expected {import}, found {found}"#
                );
                assert_eq!(error.to_string(), expected);
            }
        }
    }
}

#[test]
fn imports_must_be_as_many_as_wanted_and_of_this_store_and_engine() {
    let mut s = store(());
    let module = compile(r#"(module (import "a" "b" (func)))"#);
    let host_func = || host(|_: HostCaller<'_, ()>, ()| Ok(()));
    let count = |given: &[ImportValue<()>], s: &mut Store<()>| {
        s.as_mut().instantiate(&module, given).unwrap_err()
    };
    let expected = |found| LinkError::Count { expected: 1, found };
    assert_eq!(count(&[], &mut s).downcast_ref(), Some(&expected(0)));
    assert_eq!(
        count(&[host_func(), host_func()], &mut s).downcast_ref(),
        Some(&expected(2))
    );
    let mut other = store(());
    let foreign = other
        .as_mut()
        .host_func(&HostFunc::typed(|_: HostCaller<'_, ()>, ()| Ok(())));
    let error = count(&[ImportValue::Extern(ExternHandle::Func(foreign))], &mut s);
    assert_eq!(
        error.to_string(),
        r#"import "a"."b" belongs to another store"#
    );
    let wrong = host(|_: HostCaller<'_, ()>, _: f32| Ok(()));
    let error = count(&[wrong], &mut s).to_string();
    assert_eq!(
        error,
        r#"incompatible import type for "a"."b": expected (func), found (func (param f32))"#
    );

    let another_engine = config(cowling_abi::knobs::Knobs::default());
    let mut foreign = Store::new(&another_engine, ());
    let error = foreign
        .as_mut()
        .instantiate(&module, &[host_func()])
        .unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(InstantiateError::WrongEngine { what: "module" })
    ));
}

#[test]
fn tables_and_memories_are_matched_by_their_current_size() {
    let mut s = store(());
    let provider = instantiate(&mut s, PROVIDER, &[]);
    let wants = compile(r#"(module (import "" "m" (memory 3)) (import "" "t" (table 4 funcref)))"#);
    let (m, t) = (
        memory(&mut s, provider, "memory"),
        table(&mut s, provider, "table"),
    );
    let imports = [ExternHandle::Memory(m), ExternHandle::Table(t)].map(ImportValue::Extern);
    assert!(s.as_mut().instantiate(&wants, &imports).is_err());
    s.as_mut().inner_mut().memory_grow(m, 1).unwrap();
    assert!(s.as_mut().instantiate(&wants, &imports).is_err());
    s.as_mut()
        .inner_mut()
        .table_grow(t, 2, Value::FuncRef(None))
        .unwrap();
    s.as_mut().instantiate(&wants, &imports).unwrap();
}

#[test]
fn an_export_of_an_import_is_what_was_imported() {
    let mut s = store(());
    let provider = instantiate(&mut s, PROVIDER, &[]);
    let text = r#"(module
        (import "" "" (func $f (param i32) (result i32))) (import "" "" (table $t 1 funcref))
        (import "" "" (memory $m 1)) (import "" "" (global $g (mut i64))) (import "" "" (tag $x (param i32)))
        (export "func" (func $f)) (export "table" (table $t)) (export "memory" (memory $m))
        (export "var" (global $g)) (export "tag" (tag $x)))"#;
    let names = ["func", "table", "memory", "var", "tag"];
    let mut from = provider;
    for _ in 0..3 {
        let given = names.map(|name| ImportValue::Extern(export(&mut s, from, name)));
        from = instantiate(&mut s, text, &given);
    }
    for name in names {
        assert_eq!(
            export(&mut s, from, name),
            export(&mut s, provider, name),
            "{name}"
        );
    }
    assert_eq!(call::<_, i32, i32>(&mut s, from, "func", 4).unwrap(), 4);
    assert_eq!(
        s.as_mut().inner_mut().instance_export(from, "none"),
        Ok(None)
    );
}

#[test]
fn entities_are_found_by_index_exported_or_not() {
    let mut s = store(());
    let i = instantiate(
        &mut s,
        r#"(module (memory 3) (global i32 (i32.const 1)) (func $f) (func (export "e")))"#,
        &[],
    );
    let mut m = s.as_mut();
    let m = m.inner_mut();
    let Ok(Some(ExternHandle::Memory(memory))) =
        m.instance_entity(i, EntityIndex::Memory(MemoryIndex::from_u32(0)))
    else {
        panic!()
    };
    assert_eq!(m.memory_pages(memory), Ok(3));
    assert!(matches!(
        m.instance_entity(i, EntityIndex::Global(GlobalIndex::from_u32(0))),
        Ok(Some(_))
    ));
    assert!(matches!(
        m.instance_entity(i, EntityIndex::Func(FuncIndex::from_u32(1))),
        Ok(Some(_))
    ));
    // Nothing in the module refers to this one but calls.
    assert_eq!(
        m.instance_entity(i, EntityIndex::Func(FuncIndex::from_u32(0))),
        Ok(None)
    );
    for beyond in [
        EntityIndex::Func(FuncIndex::from_u32(2)),
        EntityIndex::Table(TableIndex::from_u32(0)),
    ] {
        assert_eq!(m.instance_entity(i, beyond), Ok(None));
    }
}

#[test]
fn globals_are_initialised_from_imports_arithmetic_and_functions() {
    let mut s = store(());
    let provider = instantiate(&mut s, PROVIDER, &[]);
    let text = r#"(module
        (import "" "" (global $import i32))
        (global (export "sum") i32 (i32.add (global.get $import) (i32.const 10)))
        (global (export "twice") i32 (i32.mul (global.get $import) (i32.const 6)))
        (global (export "func") funcref (ref.func $f)) (global (export "null") externref (ref.null extern))
        (global (export "wide") v128 (v128.const i64x2 1 2))
        (func $f (export "f")))"#;
    let given = ImportValue::Extern(export(&mut s, provider, "const"));
    let i = instantiate(&mut s, text, &[given]);
    let f = func(&mut s, i, "f");
    let expected = [
        ("sum", Value::I32(15)),
        ("twice", Value::I32(30)),
        ("func", Value::FuncRef(Some(f))),
        ("null", Value::ExternRef(None)),
        ("wide", Value::V128(1 | 2 << 64)),
    ];
    for (name, value) in expected {
        let g = global(&mut s, i, name);
        assert_eq!(s.as_mut().inner_mut().global_get(g), Ok(value), "{name}");
    }
}

/// A module whose instantiation fails at some point after it wrote to an imported memory and table.
fn failing(tail: &str) -> String {
    format!(
        r#"(module
        (import "" "memory" (memory 2)) (import "" "table" (table 2 funcref)) (import "" "var" (global $var (mut i64)))
        (memory $own 1)
        (global $here i32 (i32.const 77))
        (func $seven (result i32) (i32.load8_u $own (i32.const 3)))
        (func $start (global.set $var (i64.const 1)) unreachable)
        (data (memory $own) (i32.const 3) "\07")
        (elem (table 0) (i32.const 0) func $seven)
        {tail})"#
    )
}

#[test]
fn what_a_failing_instantiation_wrote_stays() {
    // The failing part; the trap; is the data segment of the module's own memory applied; and that of the imported one; and
    // did the start function run?
    let cases = [
        (
            r#"(elem (table 0) (i32.const 9) func $seven)"#,
            Trap::TableOutOfBounds,
            false,
            false,
            6,
        ),
        (
            r#"(data (memory 0) (i32.const 0) "x") (data (memory 0) (i32.const 131072) "y")"#,
            Trap::MemoryOutOfBounds,
            true,
            true,
            6,
        ),
        (
            r#"(data (memory 0) (i32.const 131072) "y") (data (memory 0) (i32.const 0) "x")"#,
            Trap::MemoryOutOfBounds,
            true,
            false,
            6,
        ),
        (
            r#"(data (memory 0) (i32.const 0) "x") (start $start)"#,
            Trap::UnreachableCodeReached,
            true,
            true,
            1,
        ),
    ];
    for (tail, expected, own_data, imported_data, var_after) in cases {
        let mut s = store(());
        let provider = instantiate(&mut s, PROVIDER, &[]);
        let (m, t) = (
            memory(&mut s, provider, "memory"),
            table(&mut s, provider, "table"),
        );
        let var = global(&mut s, provider, "var");
        let imports = [
            ExternHandle::Memory(m),
            ExternHandle::Table(t),
            ExternHandle::Global(var),
        ]
        .map(ImportValue::Extern);
        let module = compile(&failing(tail));
        let result = s.as_mut().instantiate(&module, &imports);
        assert_eq!(trap(result), expected, "{tail}");
        drop(module);

        let mut inner = s.as_mut();
        let inner = inner.inner_mut();
        assert_eq!(
            inner.memory_data(m).unwrap()[0],
            if imported_data { b'x' } else { 0 },
            "{tail}"
        );
        assert_eq!(inner.global_get(var), Ok(Value::I64(var_after)), "{tail}");
        // Its function went into our table and still works, with the memory of the instance that failed.
        let Ok(Some(Value::FuncRef(Some(seven)))) = inner.table_get(t, 0) else {
            panic!("{tail}")
        };
        let seven = s.as_mut().typed::<(), i32>(seven).unwrap();
        let found = s.as_mut().call_typed(&seven, ()).unwrap();
        assert_eq!(found, if own_data { 7 } else { 0 }, "{tail}");
    }
}

#[test]
fn passive_segments_are_used_once_dropped_and_active_ones_are_dropped_at_once() {
    let text = r#"(module
        (memory (export "m") 1) (table (export "t") 3 funcref)
        (data $active (i32.const 0) "active") (data $passive "passive")
        (elem $eager (i32.const 0) func $f) (elem $later func $f $f) (elem $exprs funcref (ref.null func) (ref.func $f))
        (func $f (export "f"))
        (func (export "use_data") (param i32) (memory.init $passive (i32.const 100) (i32.const 0) (local.get 0)))
        (func (export "use_active") (param i32) (memory.init $active (i32.const 0) (i32.const 0) (local.get 0)))
        (func (export "drop_data") (data.drop $passive))
        (func (export "use_elem") (param i32) (table.init $later (i32.const 1) (i32.const 0) (local.get 0)))
        (func (export "use_exprs") (param i32) (table.init $exprs (i32.const 0) (i32.const 0) (local.get 0)))
        (func (export "use_eager") (param i32) (table.init $eager (i32.const 0) (i32.const 0) (local.get 0)))
        (func (export "drop_elem") (elem.drop $later)))"#;
    let mut s = store(());
    let i = instantiate(&mut s, text, &[]);
    let run = |s: &mut Store<()>, name: &str, n: i32| call::<_, i32, ()>(s, i, name, n);
    run(&mut s, "use_data", 7).unwrap();
    assert_eq!(trap(run(&mut s, "use_data", 8)), Trap::MemoryOutOfBounds);
    run(&mut s, "use_active", 0).unwrap();
    assert_eq!(trap(run(&mut s, "use_active", 1)), Trap::MemoryOutOfBounds);
    run(&mut s, "use_elem", 2).unwrap();
    assert_eq!(trap(run(&mut s, "use_elem", 3)), Trap::TableOutOfBounds);
    run(&mut s, "use_exprs", 2).unwrap();
    assert_eq!(trap(run(&mut s, "use_eager", 1)), Trap::TableOutOfBounds);
    call::<_, (), ()>(&mut s, i, "drop_data", ()).unwrap();
    call::<_, (), ()>(&mut s, i, "drop_elem", ()).unwrap();
    run(&mut s, "use_data", 0).unwrap();
    assert_eq!(trap(run(&mut s, "use_data", 1)), Trap::MemoryOutOfBounds);
    assert_eq!(trap(run(&mut s, "use_elem", 1)), Trap::TableOutOfBounds);
    let (m, t, f) = (
        memory(&mut s, i, "m"),
        table(&mut s, i, "t"),
        func(&mut s, i, "f"),
    );
    let mut inner = s.as_mut();
    let inner = inner.inner_mut();
    assert_eq!(&inner.memory_data(m).unwrap()[100..108], b"passive\0");
    assert_eq!(&inner.memory_data(m).unwrap()[..7], b"active\0");
    let elements = [0, 1, 2].map(|n| inner.table_get(t, n).unwrap());
    assert_eq!(
        elements,
        [None, Some(f), Some(f)].map(|f| Some(Value::FuncRef(f)))
    );
}

#[test]
fn the_start_function_may_be_imported_and_runs_last() {
    let mut s = store(Vec::new());
    let notes = host(|mut caller: HostCaller<'_, Vec<u8>>, ()| {
        let instance = caller.instance.unwrap();
        let inner = caller.store.inner_mut();
        let Some(ExternHandle::Memory(m)) = inner.instance_export(instance, "m")? else {
            panic!()
        };
        let byte = inner.memory_data(m)?[5];
        caller.store.data_mut().push(byte);
        Ok(())
    });
    let text = r#"(module (import "" "" (func $host)) (memory (export "m") 1) (data (i32.const 5) "A") (start $host))"#;
    instantiate(&mut s, text, &[notes]);
    assert_eq!(s.data(), b"A");
    let provider = instantiate(
        &mut s,
        r#"(module (global $g (export "g") (mut i32) (i32.const 0))
        (func (export "f") (global.set $g (i32.const 1))))"#,
        &[],
    );
    let f = ImportValue::Extern(export(&mut s, provider, "f"));
    instantiate(
        &mut s,
        r#"(module (import "" "" (func $f)) (start $f))"#,
        &[f],
    );
    let g = global(&mut s, provider, "g");
    assert_eq!(s.as_mut().inner_mut().global_get(g), Ok(Value::I32(1)));
}

#[test]
fn a_declared_size_that_cannot_be_had_is_an_error_that_names_the_culprit() {
    let mut s = store(());
    let huge_table = compile("(module (table 4000000000 funcref))");
    let error = s.as_mut().instantiate(&huge_table, &[]).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(InstantiateError::Table { index: 0, .. })
    ));
    assert!(
        error
            .to_string()
            .starts_with("table 0 of type (table 4000000000 funcref) cannot be created"),
        "{error}"
    );
    // Nothing is left behind that would count.
    for _ in 0..3 {
        assert!(s.as_mut().instantiate(&huge_table, &[]).is_err());
    }
    instantiate(&mut s, "(module (table 1 funcref) (memory 1))", &[]);
}

#[test]
fn many_instances_share_one_module() {
    let mut s = store(());
    let module = compile(
        r#"(module (global $n (mut i32) (i32.const 0)) (memory 1) (data (i32.const 0) "\05")
        (func (export "next") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.load8_u (i32.const 0)))) (global.get $n)))"#,
    );
    let instances: Vec<_> = (0..50)
        .map(|_| s.as_mut().instantiate(&module, &[]).unwrap())
        .collect();
    for (turn, instance) in instances.iter().enumerate() {
        for step in 1..=turn as i32 % 3 {
            assert_eq!(
                call::<_, (), i32>(&mut s, *instance, "next", ()).unwrap(),
                step * 5
            );
        }
    }
}
