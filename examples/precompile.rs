//! Compile now, run later: artifacts.
//!
//! ```sh
//! cargo run --example precompile
//! ```

use cowling::{Config, Engine, Instance, Module, Result, Store};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const GUEST: &str = r#"(module
    (func (export "answer") (result i32) (i32.mul (i32.const 6) (i32.const 7))))"#;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("guest.cowling");

    // ANCHOR: compile
    let engine = Engine::default();
    let artifact = engine.precompile_module(GUEST.as_bytes())?;
    fs::write(&file, &artifact)?;
    println!(
        "is it an artifact? {:?}",
        Engine::detect_precompiled_file(&file)?
    );
    println!(
        "is this one? {:?}",
        Engine::detect_precompiled(b"\0asm\x01\0\0\0")
    );
    // ANCHOR_END: compile

    // ANCHOR: load
    let module = Module::deserialize_file(&engine, &file)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let answer = instance.get_typed_func::<(), i32>(&mut store, "answer")?;
    println!("the answer is {}", answer.call(&mut store, ())?);
    // ANCHOR_END: load

    // ANCHOR: refused
    let mut config = Config::new();
    config.consume_fuel(true);
    refused("with other settings", &Engine::new(&config)?, &file);

    // Other files: the first one is in use, and what is mapped must not change.
    let other = folder.path().join("other.cowling");
    let mut altered = artifact.clone();
    altered[artifact.len() / 2] ^= 1;
    fs::write(&other, &altered)?;
    refused("altered", &engine, &other);

    fs::write(&other, &artifact[..artifact.len() / 2])?;
    refused("cut short", &engine, &other);

    fs::write(&other, &artifact)?;
    fs::set_permissions(&other, fs::Permissions::from_mode(0o666))?;
    refused("writable by all", &engine, &other);
    // ANCHOR_END: refused
    Ok(())
}

fn refused(what: &str, engine: &Engine, file: &Path) {
    match Module::deserialize_file(engine, file) {
        Ok(_) => println!("{what}: loaded"),
        Err(error) => println!("{what}: {}", error.root_cause()),
    }
}
