//! Imports that fit, do not fit, or are missing.

use crate::support::{assert_says, trap};
use cowling::*;

/// What is offered as `"m"."f"`.
type Offer = fn(&mut Store<()>) -> Extern;

fn func(store: &mut Store<()>) -> Extern {
    Func::wrap(store, || {}).into()
}

fn memory(store: &mut Store<()>) -> Extern {
    Memory::new(store, MemoryType::new(1, Some(2)))
        .unwrap()
        .into()
}

fn table(store: &mut Store<()>) -> Extern {
    let ty = TableType::new(RefType::FUNCREF, 5, Some(10));
    Table::new(store, ty, Ref::Func(None)).unwrap().into()
}

fn global(store: &mut Store<()>) -> Extern {
    let ty = GlobalType::new(ValType::I32, Mutability::Var);
    Global::new(store, ty, Val::I32(1)).unwrap().into()
}

#[test]
fn fitting_imports_of_every_kind_are_accepted() {
    let cases: &[(&str, Offer)] = &[
        ("(func)", func),
        ("(memory 1)", memory),
        ("(memory 0 2)", memory),
        ("(memory 1 5)", memory),
        ("(table 5 funcref)", table),
        ("(table 0 10 funcref)", table),
        ("(global (mut i32))", global),
    ];
    for (import, offer) in cases {
        let mut store = Store::<()>::default();
        let module = Module::new(
            store.engine(),
            format!(r#"(module (import "m" "f" {import}))"#),
        )
        .unwrap();
        let item = offer(&mut store);
        Instance::new(&mut store, &module, std::slice::from_ref(&item)).unwrap();
        let mut linker = Linker::new(store.engine());
        linker.define(&store, "m", "f", item).unwrap();
        linker.instantiate(&mut store, &module).unwrap();
    }
}

#[test]
fn an_import_of_another_type_is_refused_with_both_types() {
    let cases: &[(&str, Offer, &[&str])] = &[
        (
            "(func (param i32))",
            func,
            &["(func (param i32))", "found (func)"],
        ),
        (
            "(func (result i32))",
            func,
            &["(func (result i32))", "found (func)"],
        ),
        ("(memory 1)", func, &["(memory 1)", "found (func)"]),
        ("(func)", memory, &["(func)", "found (memory 1 2)"]),
        ("(memory 2)", memory, &["(memory 2)", "found (memory 1 2)"]),
        (
            "(memory 1 1)",
            memory,
            &["(memory 1 1)", "found (memory 1 2)"],
        ),
        (
            "(table 6 funcref)",
            table,
            &["(table 6 funcref)", "found (table 5 10 funcref)"],
        ),
        ("(table 5 9 funcref)", table, &["(table 5 9 funcref)"]),
        ("(table 5 externref)", table, &["(table 5 externref)"]),
        ("(table 5 funcref)", global, &["(table 5 funcref)"]),
        (
            "(global i32)",
            global,
            &["(global i32)", "found (global (mut i32))"],
        ),
        ("(global (mut i64))", global, &["(global (mut i64))"]),
    ];
    for (import, offer, types) in cases {
        let mut store = Store::<()>::default();
        let module = Module::new(
            store.engine(),
            format!(r#"(module (import "m" "f" {import}))"#),
        )
        .unwrap();
        let item = offer(&mut store);
        let mut linker = Linker::new(store.engine());
        linker.define(&store, "m", "f", item.clone()).unwrap();
        for error in [
            Instance::new(&mut store, &module, &[item]).unwrap_err(),
            linker.instantiate(&mut store, &module).unwrap_err(),
        ] {
            assert!(
                matches!(error.downcast_ref(), Some(LinkError::Incompatible { .. })),
                "{error:?}"
            );
            assert_says(&error, &["\"m\".\"f\""]);
            assert_says(&error, types);
        }
    }
}

#[test]
fn a_host_function_of_another_type_is_refused_before_there_is_a_store() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "env" "log" (func (param i32))))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("env", "log", |_: i64| {}).unwrap();
    let error = linker.instantiate_pre(&module).unwrap_err();
    assert_says(
        &error,
        &[
            "\"env\".\"log\"",
            "(func (param i32))",
            "(func (param i64))",
        ],
    );
}

#[test]
fn a_missing_import_is_named_with_its_type() {
    let engine = Engine::default();
    let cases = [
        (
            "(func (param i32) (result f64))",
            "(func (param i32) (result f64))",
        ),
        ("(memory 1)", "(memory 1)"),
        ("(table 1 funcref)", "(table 1 funcref)"),
        ("(global i32)", "(global i32)"),
    ];
    for (import, ty) in cases {
        let module =
            Module::new(&engine, format!(r#"(module (import "env" "it" {import}))"#)).unwrap();
        let mut store = Store::new(&engine, ());
        let error = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .unwrap_err();
        assert_says(&error, &["unknown import", "\"env\".\"it\"", ty]);
        let unknown = error.downcast_ref::<UnknownImportError>().unwrap();
        assert_eq!((unknown.module(), unknown.name()), ("env", "it"));
        assert_eq!(unknown.ty().to_string(), ty);
    }
}

#[test]
fn the_number_of_imports_is_checked() {
    let mut store = Store::<()>::default();
    let module = Module::new(store.engine(), r#"(module (import "" "" (func)))"#).unwrap();
    let f = func(&mut store);
    for imports in [&[][..], &[f.clone(), f]] {
        let error = Instance::new(&mut store, &module, imports).unwrap_err();
        assert!(
            matches!(
                error.downcast_ref(),
                Some(LinkError::Count { expected: 1, .. })
            ),
            "{error}"
        );
    }
}

#[test]
fn every_kind_of_export_can_be_another_instances_import() {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let exporter = Module::new(
        &engine,
        r#"(module
            (memory (export "memory") 1 3)
            (global $g (export "global") (mut i32) (i32.const 7))
            (table (export "table") 4 funcref)
            (elem (i32.const 1) $get)
            (func $get (export "get") (result i32) (global.get $g)))"#,
    )
    .unwrap();
    let importer = Module::new(
        &engine,
        r#"(module
            (import "e" "memory" (memory 1))
            (import "e" "global" (global $g (mut i32)))
            (import "e" "table" (table $t 4 funcref))
            (import "e" "get" (func $get (result i32)))
            (type $get (func (result i32)))
            (elem (table $t) (i32.const 2) func $own)
            (func $own (result i32) (i32.const 99))
            (func (export "run") (param i32) (result i32)
                (global.set $g (local.get 0))
                (i32.store (i32.const 100) (i32.const 5))
                (drop (memory.grow (i32.const 1)))
                (i32.add (call $get) (call_indirect $t (type $get) (i32.const 1))))
            (func (export "call") (param i32) (result i32) (call_indirect $t (type $get) (local.get 0))))"#,
    )
    .unwrap();
    let a = Instance::new(&mut store, &exporter, &[]).unwrap();
    let mut linker = Linker::new(&engine);
    linker.instance(&mut store, "e", a).unwrap();
    let b = linker.instantiate(&mut store, &importer).unwrap();
    let run = b.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, 21).unwrap(), 42);
    let memory = a.get_memory(&mut store, "memory").unwrap();
    assert_eq!(memory.data(&store)[100], 5);
    assert_eq!(memory.size(&store), 2);
    assert_eq!(
        a.get_global(&mut store, "global")
            .unwrap()
            .get(&mut store)
            .unwrap_i32(),
        21
    );
    let call = b.get_typed_func::<i32, i32>(&mut store, "call").unwrap();
    assert_eq!(call.call(&mut store, 2).unwrap(), 99);
    let element = a
        .get_table(&mut store, "table")
        .unwrap()
        .get(&mut store, 2)
        .unwrap();
    let own = *element.as_func().unwrap().unwrap();
    assert_eq!(
        own.typed::<(), i32>(&store)
            .unwrap()
            .call(&mut store, ())
            .unwrap(),
        99
    );
    assert_eq!(
        trap(&call.call(&mut store, 3).unwrap_err()),
        Trap::IndirectCallToNull
    );
}

#[test]
fn segments_before_one_that_traps_stay_written() {
    let mut store = Store::<()>::default();
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    let module = Module::new(
        store.engine(),
        r#"(module (import "" "" (memory 1))
            (data (i32.const 0) "ab")
            (data (i32.const 65535) "cd"))"#,
    )
    .unwrap();
    let error = Instance::new(&mut store, &module, &[memory.into()]).unwrap_err();
    assert_eq!(trap(&error), Trap::MemoryOutOfBounds);
    assert_eq!(&memory.data(&store)[..2], b"ab");
    assert_eq!(memory.data(&store)[65535], 0);
}

#[test]
fn a_start_function_runs_and_its_failure_is_the_instantiations() {
    let engine = Engine::default();
    let mut linker = Linker::<u32>::new(&engine);
    linker
        .func_wrap("", "count", |mut caller: Caller<'_, u32>| {
            *caller.data_mut() += 1
        })
        .unwrap();
    let run = |body: &str| {
        let wat = format!(
            r#"(module (import "" "count" (func $c)) (func $s (call $c) {body}) (start $s))"#
        );
        let mut store = Store::new(&engine, 0);
        let result = linker.instantiate(&mut store, &Module::new(&engine, wat).unwrap());
        (store.into_data(), result)
    };
    let (count, result) = run("");
    assert_eq!((count, result.is_ok()), (1, true));
    let (count, result) = run("unreachable");
    assert_eq!(count, 1);
    assert_eq!(trap(&result.unwrap_err()), Trap::UnreachableCodeReached);
}
