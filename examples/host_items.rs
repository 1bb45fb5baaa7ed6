//! Memories, globals and tables that the host makes, for guests to import and share.
//!
//! ```sh
//! cargo run --example host_items
//! ```

use cowling::{
    Engine, Global, GlobalType, Linker, Memory, MemoryType, Module, Mutability, Result, Store, Val,
    ValType,
};

// ANCHOR: guests
/// Appends a number to a log in a memory that it does not own.
const WRITER: &str = r#"(module
    (import "shared" "memory" (memory 1))
    (import "shared" "length" (global $length (mut i32)))
    (func (export "log") (param i32)
        (i32.store (i32.mul (global.get $length) (i32.const 4)) (local.get 0))
        (global.set $length (i32.add (global.get $length) (i32.const 1)))))"#;

/// Adds up what is there, times a factor that it was given.
const READER: &str = r#"(module
    (import "shared" "memory" (memory 1))
    (import "shared" "length" (global $length (mut i32)))
    (import "config" "factor" (global $factor f64))
    (func (export "sum") (result f64) (local $i i32) (local $sum i32)
        (loop $next
            (if (i32.lt_s (local.get $i) (global.get $length)) (then
                (local.set $sum (i32.add (local.get $sum) (i32.load (i32.mul (local.get $i) (i32.const 4)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next))))
        (f64.mul (global.get $factor) (f64.convert_i32_s (local.get $sum)))))"#;
// ANCHOR_END: guests

fn main() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());

    // ANCHOR: make
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(4)))?;
    let mutable = GlobalType::new(ValType::I32, Mutability::Var);
    let length = Global::new(&mut store, mutable, Val::I32(0))?;
    let constant = GlobalType::new(ValType::F64, Mutability::Const);
    let factor = Global::new(&mut store, constant, Val::from(0.5))?;

    let mut linker = Linker::new(&engine);
    linker.define(&store, "shared", "memory", memory)?;
    linker.define(&store, "shared", "length", length)?;
    linker.define(&store, "config", "factor", factor)?;
    // ANCHOR_END: make

    // ANCHOR: use
    let writer = linker.instantiate(&mut store, &Module::new(&engine, WRITER)?)?;
    let reader = linker.instantiate(&mut store, &Module::new(&engine, READER)?)?;
    let log = writer.get_typed_func::<i32, ()>(&mut store, "log")?;
    for n in 1..=10 {
        log.call(&mut store, n)?;
    }
    let sum = reader.get_typed_func::<(), f64>(&mut store, "sum")?;
    println!("the reader adds up: {}", sum.call(&mut store, ())?);
    println!("the host sees {:?} entries", length.get(&mut store).i32());
    length.set(&mut store, Val::I32(2))?;
    println!(
        "after the host has cut the log: {}",
        sum.call(&mut store, ())?
    );
    // ANCHOR_END: use

    // ANCHOR: wrong
    println!(
        "a constant: {:#}",
        factor.set(&mut store, Val::from(1.0)).unwrap_err()
    );
    println!(
        "a wrong type: {:#}",
        length.set(&mut store, Val::I64(1)).unwrap_err()
    );
    let mut other = Store::new(&engine, ());
    let error = linker
        .instantiate(&mut other, &Module::new(&engine, READER)?)
        .unwrap_err();
    println!("another store: {error:#}");
    // ANCHOR_END: wrong
    Ok(())
}
