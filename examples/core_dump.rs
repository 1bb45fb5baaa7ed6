//! A core dump: what a guest was when it trapped, for tools and for later.
//!
//! ```sh
//! cargo run --example core_dump
//! ```

use cowling::{Config, Engine, Instance, Module, Result, Store, WasmCoreDump};
use std::fs;

// ANCHOR: guest
/// Fills a buffer and runs beyond its memory.
const GUEST: &str = r#"(module $filler
    (memory (export "memory") 1)
    (global $at (export "at") (mut i32) (i32.const 65500))
    (func $fill (param $byte i32)
        (loop $next
            (i32.store8 (global.get $at) (local.get $byte))
            (global.set $at (i32.add (global.get $at) (i32.const 1)))
            (br $next)))
    (func $main (export "main") (call $fill (i32.const 42))))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    // ANCHOR: config
    let mut config = Config::new();
    config.coredump_on_trap(true);
    let engine = Engine::new(&config)?;
    // ANCHOR_END: config

    // ANCHOR: trap
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let main = instance.get_typed_func::<(), ()>(&mut store, "main")?;
    let error = main.call(&mut store, ()).unwrap_err();
    let dump = error
        .downcast_ref::<WasmCoreDump>()
        .expect("the setting is on");
    // ANCHOR_END: trap

    // ANCHOR: look
    for frame in dump.frames() {
        println!("function {} {:?}", frame.func_index(), frame.func_name());
    }
    println!(
        "{} module, {} instance",
        dump.modules().len(),
        dump.instances().len()
    );
    for global in dump.globals() {
        println!("a global is {:?}", global.get(&mut store));
    }
    for memory in dump.memories() {
        let bytes = memory.data(&store);
        println!(
            "a memory of {} bytes ends with {:?}",
            bytes.len(),
            &bytes[65533..]
        );
    }
    // ANCHOR_END: look

    // ANCHOR: write
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("filler.core");
    fs::write(&file, dump.serialize(&mut store, "filler"))?;
    let sections = fs::read(&file)?;
    println!("the dump is a module: {}", sections.starts_with(b"\0asm"));
    // ANCHOR_END: write
    Ok(())
}
