//! Runs an artifact: what a program needs that deploys precompiled guests and contains no compiler.
//!
//! ```sh
//! cowling compile add.wat -o add.cowling
//! cargo run -p cowling --no-default-features --example run_artifact -- add.cowling add 1 2
//! ```

use cowling::{Context, Engine, Instance, Module, Result, Store, Val, ensure};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, function, args @ ..] = &args[..] else {
        eprintln!("usage: run_artifact FILE FUNCTION [I64...]");
        std::process::exit(2);
    };
    let engine = Engine::default();
    let module = Module::deserialize_file(&engine, file)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let function = instance
        .get_func(&mut store, function)
        .context("no such function")?;
    let args: Vec<Val> = args
        .iter()
        .map(|arg| Ok(Val::I64(arg.parse()?)))
        .collect::<Result<_>>()?;
    let mut results = vec![Val::I64(0); function.ty(&store).results().len()];
    function.call(&mut store, &args, &mut results)?;
    for result in results {
        ensure!(result.i64().is_some(), "a result is not an i64: {result:?}");
        println!("{}", result.unwrap_i64());
    }
    Ok(())
}
