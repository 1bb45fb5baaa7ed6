//! Modules that import from each other, and what happens when something is missing.
//!
//! ```sh
//! cargo run --example linking
//! ```

use cowling::{Engine, Linker, Module, Result, Store, UnknownImportError};

// ANCHOR: guests
/// A library: a stack of numbers in its memory.
const STACK: &str = r#"(module
    (memory 1)
    (global $top (mut i32) (i32.const 0))
    (func (export "push") (param $n i32)
        (i32.store (global.get $top) (local.get $n))
        (global.set $top (i32.add (global.get $top) (i32.const 4))))
    (func (export "pop") (result i32)
        (global.set $top (i32.sub (global.get $top) (i32.const 4)))
        (i32.load (global.get $top))))"#;

/// A program that uses it: (3 + 4) * 5, as a pocket calculator of 1972 would.
const CALCULATOR: &str = r#"(module
    (import "stack" "push" (func $push (param i32)))
    (import "stack" "pop" (func $pop (result i32)))
    (import "screen" "show" (func $show (param i32)))
    (func $add (call $push (i32.add (call $pop) (call $pop))))
    (func $mul (call $push (i32.mul (call $pop) (call $pop))))
    (func (export "run")
        (call $push (i32.const 3))
        (call $push (i32.const 4))
        (call $add)
        (call $push (i32.const 5))
        (call $mul)
        (call $show (call $pop))))"#;
// ANCHOR_END: guests

fn main() -> Result<()> {
    let engine = Engine::default();
    let stack = Module::new(&engine, STACK)?;
    let calculator = Module::new(&engine, CALCULATOR)?;
    let mut linker = Linker::new(&engine);

    // ANCHOR: missing
    let error = linker.instantiate_pre(&calculator).map(drop).unwrap_err();
    println!("without a stack: {error:#}");
    if let Some(import) = error.downcast_ref::<UnknownImportError>() {
        println!("that was {}.{}", import.module(), import.name());
    }
    // ANCHOR_END: missing

    // ANCHOR: link
    linker.func_wrap("screen", "show", |n: i32| println!("the screen shows {n}"))?;
    let mut store = Store::new(&engine, ());
    let library = linker.instantiate(&mut store, &stack)?;
    linker.instance(&mut store, "stack", library)?;
    let program = linker.instantiate(&mut store, &calculator)?;
    program
        .get_typed_func::<(), ()>(&mut store, "run")?
        .call(&mut store, ())?;
    // ANCHOR_END: link

    // ANCHOR: pre
    let mut linker = Linker::<u32>::new(&engine);
    linker.func_wrap("screen", "show", |n: i32| {
        println!("another screen shows {n}")
    })?;
    let mut store = Store::new(&engine, 0);
    linker.module(&mut store, "stack", &stack)?;
    let pre = linker.instantiate_pre(&calculator)?;
    for _ in 0..2 {
        let program = pre.instantiate(&mut store)?;
        let run = program.get_typed_func::<(), ()>(&mut store, "run")?;
        run.call(&mut store, ())?;
    }
    // ANCHOR_END: pre

    // ANCHOR: wrong
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("screen", "show", |_: i64| ())?;
    linker.func_wrap("stack", "push", |_: i32| ())?;
    linker.func_wrap("stack", "pop", || 0)?;
    let error = linker.instantiate_pre(&calculator).map(drop).unwrap_err();
    println!("with a screen for wide numbers: {error:#}");
    // ANCHOR_END: wrong
    Ok(())
}
