//! Compiled ahead of time, kept in a file, loaded elsewhere, refused where it does not fit.

use std::fs;
use wasmtime::*;

const GUEST: &str = r#"
(module $calculator
  (import "host" "add" (func $add (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "embedded")
  (func (export "triple") (param i32) (result i32)
    (call $add (local.get 0) (call $add (local.get 0) (local.get 0)))))
"#;

fn run(engine: &Engine, module: &Module) -> Result<i32> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))?;
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, module)?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    ensure!(&memory.data(&store)[8..16] == b"embedded", "no data");
    let triple = instance.get_typed_func::<i32, i32>(&mut store, "triple")?;
    triple.call(&mut store, 14)
}

pub fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::default();

    // On the machine that builds.
    let artifact = engine.precompile_module(GUEST.as_bytes())?;
    let path = directory.path().join("calculator.cwasm");
    fs::write(&path, &artifact)?;
    println!("precompiled: {:?}", Engine::detect_precompiled(&artifact));
    println!("file: {:?}", Engine::detect_precompiled_file(&path)?);
    println!("source: {:?}", Engine::detect_precompiled(GUEST.as_bytes()));
    println!(
        "binary: {:?}",
        Engine::detect_precompiled(b"\0asm\x01\0\0\0")
    );

    // On the machine that runs, in a new engine.
    let engine = Engine::default();
    // SAFETY: the artifact was made above and nobody else had it.
    let module = unsafe { Module::deserialize(&engine, &artifact)? };
    println!(
        "from bytes: {}, {:?}",
        run(&engine, &module)?,
        module.name()
    );
    // SAFETY: as above, and the file is not changed while the module lives.
    let module = unsafe { Module::deserialize_file(&engine, &path)? };
    println!("from file: {}", run(&engine, &module)?);
    println!(
        "imports: {}, exports: {}",
        module.imports().len(),
        module.exports().len()
    );

    // A module that was compiled to run can be kept as well.
    let module = Module::new(&engine, GUEST)?;
    let artifact = module.serialize()?;
    // SAFETY: as above.
    let module = unsafe { Module::deserialize(&engine, &artifact)? };
    println!("serialized: {}", run(&engine, &module)?);
    // Whoever does not know what a file holds asks first.
    let source = directory.path().join("calculator.wasm");
    fs::write(&source, wat::parse_str(GUEST)?)?;
    let module = match Engine::detect_precompiled(&fs::read(&source)?) {
        Some(Precompiled::Module) => bail!("it is not"),
        _ => Module::from_file(&engine, &source)?,
    };
    println!("compiled: {}", run(&engine, &module)?);

    // What does not fit is refused.
    let metered = Engine::new(Config::new().consume_fuel(true))?;
    // SAFETY: an artifact of ours, even if for other settings.
    println!(
        "other settings: {}",
        unsafe { Module::deserialize(&metered, &artifact) }.is_err()
    );
    // SAFETY: cut off, but not made by someone else.
    println!(
        "truncated: {}",
        unsafe { Module::deserialize(&engine, &artifact[..100]) }.is_err()
    );
    // SAFETY: no code at all.
    println!(
        "a binary: {}",
        unsafe { Module::deserialize(&engine, b"\0asm\x01\0\0\0") }.is_err()
    );
    // SAFETY: there is no such file.
    println!(
        "no file: {}",
        unsafe { Module::deserialize_file(&engine, directory.path().join("none")) }.is_err()
    );
    println!(
        "no wasm: {}",
        engine
            .precompile_module(b"(module (func (result i32)))")
            .is_err()
    );
    println!(
        "validate: {}",
        Module::validate(&engine, b"\0asm\x01\0\0\0").is_ok()
    );
    println!(
        "validate: {}",
        Module::validate(&engine, b"\0asm\x09\0\0\0").is_ok()
    );
    Ok(())
}
