//! Modules that import each other's functions and memories, found by name in a linker.

use wasmtime::*;

/// A library: owns the memory and a bump allocator in it.
const ALLOCATOR: &str = r#"
(module $allocator
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 1024))
  (func (export "alloc") (param $bytes i32) (result i32)
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get $bytes)))))
"#;

/// A library that uses the first one and the host.
const VECTOR: &str = r#"
(module $vector
  (import "allocator" "memory" (memory 1))
  (import "allocator" "alloc" (func $alloc (param i32) (result i32)))
  (import "host" "trace" (func $trace (param i32 i32)))
  (func (export "squares") (param $n i32) (result i32)
    (local $at i32) (local $i i32)
    (local.set $at (call $alloc (i32.shl (local.get $n) (i32.const 2))))
    (call $trace (local.get $at) (local.get $n))
    (loop $again
      (i32.store
        (i32.add (local.get $at) (i32.shl (local.get $i) (i32.const 2)))
        (i32.mul (local.get $i) (local.get $i)))
      (br_if $again
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $at)))
"#;

/// The program.
const MAIN: &str = r#"
(module
  (import "allocator" "memory" (memory 1))
  (import "vector" "squares" (func $squares (param i32) (result i32)))
  (func (export "sum") (param $n i32) (result i32)
    (local $at i32) (local $end i32) (local $sum i32)
    (local.set $at (call $squares (local.get $n)))
    (local.set $end (i32.add (local.get $at) (i32.shl (local.get $n) (i32.const 2))))
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
      (br_if $again
        (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (local.get $end))))
    (local.get $sum)))
"#;

pub fn main() -> anyhow::Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, Vec::<String>::new());
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "trace",
        |mut caller: Caller<'_, Vec<String>>, at: u32, n: u32| {
            let line = format!("{n} numbers at {at}");
            caller.data_mut().push(line);
        },
    )?;

    // One module as an instance under a name, one by the linker itself.
    let allocator = Module::new(&engine, ALLOCATOR)?;
    let allocator = linker.instantiate(&mut store, &allocator)?;
    linker.instance(&mut store, "allocator", allocator)?;
    linker.module(&mut store, "vector", &Module::new(&engine, VECTOR)?)?;

    let main = Module::new(&engine, MAIN)?;
    let instance = linker.instantiate(&mut store, &main)?;
    let sum = instance.get_typed_func::<i32, i32>(&mut store, "sum")?;
    for n in [1, 4, 10] {
        println!("sum of {n} squares: {}", sum.call(&mut store, n)?);
    }
    println!("{}", store.data().join("\n"));

    // Two instances share the library, and so its memory.
    let twin = linker.instantiate(&mut store, &main)?;
    println!(
        "twin: {}",
        twin.get_typed_func::<i32, i32>(&mut store, "sum")?
            .call(&mut store, 3)?
    );
    println!("{}", store.data().last().unwrap());

    // What is missing is named.
    let other = Linker::<Vec<String>>::new(&engine);
    let error = other.instantiate(&mut store, &main).unwrap_err();
    let unknown = error.downcast_ref::<UnknownImportError>().unwrap();
    println!(
        "missing: {}::{}: {}",
        unknown.module(),
        unknown.name(),
        unknown.ty().memory().is_some()
    );

    // What is there under another type does not link.
    let mut wrong = Linker::new(&engine);
    wrong.func_wrap("vector", "squares", |n: f64| n)?;
    let memory = allocator.get_memory(&mut store, "memory").unwrap();
    wrong.define(&mut store, "allocator", "memory", memory)?;
    println!(
        "wrong type refused: {}",
        wrong.instantiate(&mut store, &main).is_err()
    );
    Ok(())
}
