//! Linkers for modules whose imports are not all there: traps, defaults, shadowing, aliases, and looking at what is defined.

use std::collections::BTreeSet;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "env" "known" (func $known (result i32)))
  (import "env" "missing" (func $missing (param i32) (result i64)))
  (import "env" "limit" (global $limit i32))
  (import "env" "memory" (memory 1))
  (import "env" "table" (table 2 funcref))
  (func (export "known") (result i32) (call $known))
  (func (export "missing") (result i64) (call $missing (i32.const 3)))
  (func (export "limit") (result i32) (global.get $limit))
  (func (export "size") (result i32 i32) (memory.size) (table.size 0)))
"#;

fn names(linker: &Linker<()>, store: &mut Store<()>) -> BTreeSet<String> {
    linker
        .iter(store)
        .map(|(module, name, item)| {
            let kind = match item {
                Extern::Func(_) => "func",
                Extern::Global(_) => "global",
                Extern::Memory(_) => "memory",
                Extern::Table(_) => "table",
                _ => "something else",
            };
            format!("{module}.{name}: {kind}")
        })
        .collect()
}

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());

    // Defaults for all that is missing.
    let mut linker = Linker::new(&engine);
    linker.func_wrap("env", "known", || 1)?;
    linker.define_unknown_imports_as_default_values(&mut store, &module)?;
    println!("{:?}", names(&linker, &mut store));
    let instance = linker.instantiate(&mut store, &module)?;
    println!(
        "known {}",
        instance
            .get_typed_func::<(), i32>(&mut store, "known")?
            .call(&mut store, ())?
    );
    println!(
        "missing {}",
        instance
            .get_typed_func::<(), i64>(&mut store, "missing")?
            .call(&mut store, ())?
    );
    println!(
        "limit {}",
        instance
            .get_typed_func::<(), i32>(&mut store, "limit")?
            .call(&mut store, ())?
    );
    println!(
        "size {:?}",
        instance
            .get_typed_func::<(), (i32, i32)>(&mut store, "size")?
            .call(&mut store, ())?
    );

    // Traps for functions that are missing; the rest has to be there.
    let functions = Module::new(
        &engine,
        r#"(module
      (import "env" "known" (func $known (result i32)))
      (import "env" "missing" (func $missing (param i32) (result i64)))
      (func (export "known") (result i32) (call $known))
      (func (export "missing") (result i64) (call $missing (i32.const 3))))"#,
    )?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("env", "known", || 2)?;
    linker.define_unknown_imports_as_traps(&functions)?;
    let instance = linker.instantiate(&mut store, &functions)?;
    println!(
        "known {}",
        instance
            .get_typed_func::<(), i32>(&mut store, "known")?
            .call(&mut store, ())?
    );
    let error = instance
        .get_typed_func::<(), i64>(&mut store, "missing")?
        .call(&mut store, ())
        .unwrap_err();
    let unknown = error.downcast_ref::<UnknownImportError>().unwrap();
    println!(
        "{} {}, {} params",
        unknown.module(),
        unknown.name(),
        unknown.ty().unwrap_func().params().len()
    );

    // Names are taken unless shadowing is allowed.
    println!("twice: {}", linker.func_wrap("env", "known", || 3).is_err());
    linker.allow_shadowing(true);
    linker.func_wrap("env", "known", || 3)?;
    linker.allow_shadowing(false);
    let instance = linker.instantiate(&mut store, &functions)?;
    println!(
        "known {}",
        instance
            .get_typed_func::<(), i32>(&mut store, "known")?
            .call(&mut store, ())?
    );

    // Aliases and lookups.
    linker.alias("env", "known", "other", "renamed")?;
    linker.alias_module("env", "copy")?;
    println!("{:?}", names(&linker, &mut store));
    println!(
        "no such: {}",
        linker.alias("env", "nothing", "a", "b").is_err()
    );
    println!(
        "no such: {}",
        linker.get(&mut store, "env", "nothing").is_err()
    );
    let renamed = linker
        .get(&mut store, "other", "renamed")?
        .into_func()
        .unwrap();
    println!(
        "renamed {}",
        renamed.typed::<(), i32>(&store)?.call(&mut store, ())?
    );
    for import in module.imports() {
        let found = linker.get_by_import(&mut store, &import).is_some();
        println!("{}.{}: {found}", import.module(), import.name());
    }

    // A module as a whole under a name; commands and reactors.
    let mut linker = Linker::new(&engine);
    let library = Module::new(
        &engine,
        r#"(module
      (func (export "f") (result i32) (i32.const 8))
      (func (export "") (result i32) (i32.const 9))
      (global (export "g") i32 (i32.const 10)))"#,
    )?;
    linker.module(&mut store, "library", &library)?;
    println!("{:?}", names(&linker, &mut store));
    let default = linker.get_default(&mut store, "library")?;
    println!(
        "default {}",
        default.typed::<(), i32>(&store)?.call(&mut store, ())?
    );
    let command = Module::new(
        &engine,
        r#"(module
      (global $runs (mut i32) (i32.const 0))
      (func (export "_start")
        (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
        (if (i32.gt_u (global.get $runs) (i32.const 1)) (then unreachable))))"#,
    )?;
    linker.module(&mut store, "command", &command)?;
    let start = linker
        .get_default(&mut store, "command")?
        .typed::<(), ()>(&store)?;
    println!(
        "each run has an instance of its own: {:?} {:?}",
        start.call(&mut store, ()).is_ok(),
        start.call(&mut store, ()).is_ok()
    );
    println!(
        "no default: {}",
        linker
            .get_default(&mut store, "nothing")?
            .typed::<(), ()>(&store)?
            .call(&mut store, ())
            .is_ok()
    );
    Ok(())
}
