//! A guest that greets through its host.
//!
//! ```sh
//! cargo run --example hello
//! ```

use cowling::{Caller, Engine, Linker, Module, Result, Store};

// ANCHOR: guest
/// Calls the host as often as it is told, and returns how often that was in all.
const GUEST: &str = r#"(module
    (import "host" "greet" (func $greet (param i32)))
    (global $total (mut i32) (i32.const 0))
    (func (export "run") (param $times i32) (result i32)
        (local $i i32)
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (call $greet (local.get $i))
            (br_if $again (i32.lt_s (local.get $i) (local.get $times))))
        (global.set $total (i32.add (global.get $total) (local.get $times)))
        (global.get $total)))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    // ANCHOR: module
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    // ANCHOR_END: module

    // ANCHOR: linker
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "greet", |caller: Caller<'_, String>, n: i32| {
        println!("{n}: hello, {}!", caller.data());
    })?;
    // ANCHOR_END: linker

    // ANCHOR: store
    let mut store = Store::new(&engine, "world".to_string());
    let instance = linker.instantiate(&mut store, &module)?;
    // ANCHOR_END: store

    // ANCHOR: call
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
    println!("greetings so far: {}", run.call(&mut store, 2)?);
    *store.data_mut() = "again".to_string();
    println!("greetings so far: {}", run.call(&mut store, 1)?);
    // ANCHOR_END: call
    Ok(())
}
