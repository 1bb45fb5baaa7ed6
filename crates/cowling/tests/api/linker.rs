//! The linker's own rules.

use crate::support::{assert_says, linked, run};
use cowling::*;

#[test]
fn a_name_is_defined_once_unless_shadowing_is_allowed() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("m", "f", || 1i32).unwrap();
    assert_says(
        &linker.func_wrap("m", "f", || 2i32).unwrap_err(),
        &["\"m\".\"f\"", "defined already"],
    );
    linker
        .allow_shadowing(true)
        .func_wrap("m", "f", || 3i32)
        .unwrap();
    let mut store = Store::new(&engine, ());
    let f = linker
        .get(&mut store, "m", "f")
        .unwrap()
        .into_func()
        .unwrap();
    assert_eq!(
        f.typed::<(), i32>(&store)
            .unwrap()
            .call(&mut store, ())
            .unwrap(),
        3
    );
    for (module, name) in [("m", "g"), ("n", "f")] {
        let error = linker.get(&mut store, module, name).unwrap_err();
        assert_says(&error, &[module, name, "not defined"]);
    }
}

#[test]
fn aliases_stand_for_the_same_thing() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("a", "f", || {}).unwrap();
    linker.func_wrap("a", "g", || {}).unwrap();
    linker.alias("a", "f", "b", "h").unwrap();
    linker.alias_module("a", "c").unwrap();
    assert_says(
        &linker.alias("a", "no", "b", "x").unwrap_err(),
        &["\"a\".\"no\""],
    );
    assert_says(&linker.alias_module("no", "x").unwrap_err(), &["\"no\""]);
    assert!(linker.alias("a", "f", "c", "g").is_err());
    let mut store = Store::new(&engine, ());
    let names: Vec<_> = linker
        .iter(&mut store)
        .map(|(m, n, _)| format!("{m}.{n}"))
        .collect();
    assert_eq!(names, ["a.f", "a.g", "b.h", "c.f", "c.g"]);
}

#[test]
fn a_name_without_module_serves_imports_of_any_module() {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let any = Func::wrap(&mut store, || 1i32);
    let mut linker = Linker::new(&engine);
    linker.define_name(&store, "f", any).unwrap();
    assert!(linker.define_name(&store, "f", any).is_err());
    linker.func_wrap("own", "f", || 2i32).unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "x" "f" (func (result i32))) (import "own" "f" (func (result i32)))
            (export "any" (func 0)) (export "own" (func 1)))"#,
    )
    .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    for (name, expected) in [("any", 1), ("own", 2)] {
        let f = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        assert_eq!(f.call(&mut store, ()).unwrap(), expected, "{name}");
    }
    let import = module.imports().next().unwrap();
    assert!(
        linker
            .get_by_import(&mut store, &import)
            .unwrap()
            .into_func()
            .is_some()
    );
}

const COUNTER: &str = r#"
    (global $n (mut i32) (i32.const 0))
    (func (export "next") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (global.get $n))"#;

fn next_three_times(module: &str) -> Result<Vec<i32>> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.module(&mut store, "counter", &Module::new(&engine, module)?)?;
    let next = linker
        .get(&mut store, "counter", "next")
        .unwrap()
        .into_func()
        .unwrap();
    let next = next.typed::<(), i32>(&store)?;
    (0..3).map(|_| next.call(&mut store, ())).collect()
}

#[test]
fn each_call_of_a_command_has_a_fresh_instance() {
    let command =
        format!(r#"(module {COUNTER} (func (export "_start")) (memory (export "memory") 1))"#);
    assert_eq!(next_three_times(&command).unwrap(), [1, 1, 1]);
    let odd = format!(
        r#"(module {COUNTER} (func (export "_start")) (global (export "odd") i32 (i32.const 0)))"#
    );
    assert_says(&next_three_times(&odd).unwrap_err(), &["\"odd\""]);
}

#[test]
fn a_reactor_is_initialised_once_and_keeps_its_state() {
    let reactor = format!(
        r#"(module {COUNTER} (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 10)))))"#
    );
    assert_eq!(next_three_times(&reactor).unwrap(), [11, 12, 13]);
}

#[test]
fn the_default_of_a_module_is_its_empty_name_or_its_start() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0u32);
    let mut linker = Linker::<u32>::new(&engine);
    let add = |n: u32| move |mut caller: Caller<'_, u32>| *caller.data_mut() += n;
    linker.func_wrap("a", "", add(1)).unwrap();
    linker.func_wrap("a", "_start", add(10)).unwrap();
    linker.func_wrap("b", "_start", add(100)).unwrap();
    for module in ["a", "b", "nothing"] {
        let f = linker.get_default(&mut store, module).unwrap();
        f.call(&mut store, &[], &mut []).unwrap();
    }
    assert_eq!(*store.data(), 101);
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    linker.define(&store, "c", "_start", memory).unwrap();
    assert_says(
        &linker.get_default(&mut store, "c").unwrap_err(),
        &["(memory 1)"],
    );
}

#[test]
fn unknown_imports_can_fail_when_they_are_called() {
    let wat = r#"(module (import "env" "missing" (func $f (param i32)))
        (func (export "fine")) (func (export "bad") (call $f (i32.const 1))))"#;
    let module = Module::new(&Engine::default(), wat).unwrap();
    let (mut store, instance) = linked::<()>(wat, |linker| {
        linker.define_unknown_imports_as_traps(&module).unwrap()
    })
    .unwrap();
    run(&mut store, &instance, "fine").unwrap();
    let error = run(&mut store, &instance, "bad").unwrap_err();
    assert!(
        error.downcast_ref::<UnknownImportError>().is_some(),
        "{error:?}"
    );
    assert_says(&error, &["\"env\".\"missing\"", "(func (param i32))"]);
}

#[test]
fn unknown_imports_can_be_zeros_and_nulls() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "m" "f" (func $f (param i32) (result i64 funcref)))
            (import "m" "g" (global $g f64))
            (import "m" "t" (table 3 externref))
            (import "m" "mem" (memory 2))
            (func (export "f") (result i64 funcref) (call $f (i32.const 9)))
            (func (export "g") (result f64) (global.get $g))
            (func (export "sizes") (result i32 i32) (table.size 0) (memory.size)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker
        .define_unknown_imports_as_default_values(&mut store, &module)
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let f = instance
        .get_typed_func::<(), (i64, Option<Func>)>(&mut store, "f")
        .unwrap();
    assert_eq!(f.call(&mut store, ()).unwrap(), (0, None));
    let g = instance.get_typed_func::<(), f64>(&mut store, "g").unwrap();
    assert_eq!(g.call(&mut store, ()).unwrap(), 0.0);
    let sizes = instance
        .get_typed_func::<(), (i32, i32)>(&mut store, "sizes")
        .unwrap();
    assert_eq!(sizes.call(&mut store, ()).unwrap(), (3, 2));
}

#[test]
fn imports_are_resolved_once_for_many_instances() {
    let engine = Engine::default();
    let mut linker = Linker::<u64>::new(&engine);
    linker
        .func_wrap("", "add", |mut caller: Caller<'_, u64>, n: u64| {
            *caller.data_mut() += n
        })
        .unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "" "add" (func $add (param i64))) (func (export "run") (call $add (i64.const 3))))"#,
    )
    .unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    drop(linker);
    for _ in 0..3 {
        let mut store = Store::new(&engine, 0);
        for _ in 0..4 {
            let instance = pre.instantiate(&mut store).unwrap();
            run(&mut store, &instance, "run").unwrap();
        }
        assert_eq!(*store.data(), 12);
    }
}
