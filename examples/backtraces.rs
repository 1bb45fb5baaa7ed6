//! Where a guest was: functions, files and lines.
//!
//! ```sh
//! cargo run --example backtraces
//! ```

use cowling::{
    Caller, Config, Engine, Instance, Linker, Module, Result, Store, Trap, WasmBacktrace,
    WasmBacktraceDetails,
};
use std::path::Path;

fn main() -> Result<()> {
    // ANCHOR: config
    let mut config = Config::new();
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    let engine = Engine::new(&config)?;
    // ANCHOR_END: config

    // ANCHOR: trap
    // A program in C, compiled with -g.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/ledger.wasm");
    let module = Module::from_file(&engine, file)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let broken = instance.get_typed_func::<(), i32>(&mut store, "broken")?;
    let error = broken.call(&mut store, ()).unwrap_err();
    println!("{}", error.downcast_ref::<Trap>().expect("it trapped"));
    println!(
        "{}",
        error
            .downcast_ref::<WasmBacktrace>()
            .expect("guest code was running")
    );
    // ANCHOR_END: trap

    // ANCHOR: frames
    let backtrace = error.downcast_ref::<WasmBacktrace>().expect("as above");
    for frame in backtrace.frames() {
        let module = frame.module_name().unwrap_or("a module without a name");
        println!("function {} of {module}:", frame.func_index());
        for symbol in frame.symbols() {
            let name = symbol.name().unwrap_or("?");
            let file = symbol
                .file()
                .and_then(|file| file.rsplit('/').next())
                .unwrap_or("?");
            println!("  {name}, line {} of {file}", symbol.line().unwrap_or(0));
        }
    }
    // ANCHOR_END: frames

    // ANCHOR: capture
    // A host function asks who calls it.
    let module = Module::new(
        &engine,
        r#"(module $caller
            (import "host" "who" (func $who))
            (func $inner (call $who))
            (func $outer (export "run") (call $inner)))"#,
    )?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "who", |caller: Caller<'_, ()>| {
        let backtrace = WasmBacktrace::capture(&caller);
        let names = backtrace
            .frames()
            .iter()
            .filter_map(|frame| frame.func_name());
        println!(
            "called by {}",
            names.collect::<Vec<_>>().join(", called by ")
        );
    })?;
    let instance = linker.instantiate(&mut store, &module)?;
    instance
        .get_typed_func::<(), ()>(&mut store, "run")?
        .call(&mut store, ())?;
    // ANCHOR_END: capture
    Ok(())
}
