//! A program for the command line as a guest: it gets arguments, standard streams and one directory, and nothing else.
//!
//! ```sh
//! cargo run --example wasi
//! ```

use cowling::{Engine, Linker, Module, Result, Store};
use cowling_wasi::{DirPerms, FilePerms, I32Exit, MemoryInput, MemoryOutput, WasiCtxBuilder, p1};
use std::path::Path;

fn main() -> Result<()> {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");

    // ANCHOR: link
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |ctx| ctx)?;
    // ANCHOR_END: link

    // ANCHOR: words
    let words = Module::from_file(&engine, guests.join("words.wasm"))?;
    let output = MemoryOutput::new(1 << 20);
    let wasi = WasiCtxBuilder::new()
        .args(&["words", "-t", "3"])
        .stdin(MemoryInput::new(
            "the cat saw the dog and the dog saw the cat\n",
        ))
        .stdout(output.clone())
        .inherit_stderr()
        .build_p1();
    let code = run(&linker, &words, wasi)?;
    println!("words has ended with {code} and printed:");
    print!("{}", String::from_utf8_lossy(&output.contents()));
    // ANCHOR_END: words

    // ANCHOR: files
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&["words", "orders.json"])
        .inherit_stdout()
        .preopened_dir(guests.join("samples"), ".", DirPerms::READ, FilePerms::READ)?;
    let code = run(&linker, &words, wasi.build_p1())?;
    println!("with a directory: {code}");
    // ANCHOR_END: files

    // ANCHOR: denied
    let errors = MemoryOutput::new(1 << 20);
    let wasi = WasiCtxBuilder::new()
        .args(&["words", "orders.json"])
        .stderr(errors.clone())
        .build_p1();
    let code = run(&linker, &words, wasi)?;
    print!(
        "without one: {code}, {}",
        String::from_utf8_lossy(&errors.contents())
    );
    // ANCHOR_END: denied
    Ok(())
}

// ANCHOR: run
/// Runs a program to its end and returns its exit code.
fn run(linker: &Linker<p1::WasiP1Ctx>, module: &Module, wasi: p1::WasiP1Ctx) -> Result<i32> {
    let mut store = Store::new(linker.engine(), wasi);
    let instance = linker.instantiate(&mut store, module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    match start.call(&mut store, ()) {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(error),
        },
    }
}
// ANCHOR_END: run
