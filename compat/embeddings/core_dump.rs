//! A core dump of a guest that trapped: what was in it, written in the format that tools read.

use wasmparser::{KnownCustom, Parser, Payload};
use wasmtime::error::Context as _;
use wasmtime::*;

const LIBRARY: &str = r#"
(module $library
  (memory (export "memory") 1)
  (global $calls (export "calls") (mut i32) (i32.const 0))
  (func (export "poke") (param $at i32) (param $value i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (local.get $at) (local.get $value))))
"#;

const GUEST: &str = r#"
(module $guest
  (import "library" "poke" (func $poke (param i32 i32)))
  (global $state (export "state") (mut i64) (i64.const -5))
  (func $step (param $at i32)
    (call $poke (local.get $at) (i32.const 0x2a)))
  (func (export "run") (param $at i32)
    (call $step (local.get $at))
    (global.set $state (i64.const 77))))
"#;

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.coredump_on_trap(true);
    let engine = Engine::new(&config)?;
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.module(&mut store, "library", &Module::new(&engine, LIBRARY)?)?;
    let guest = Module::new(&engine, GUEST)?;
    let instance = linker.instantiate(&mut store, &guest)?;
    let run = instance.get_typed_func::<u32, ()>(&mut store, "run")?;
    run.call(&mut store, 1000)?;
    let error = run.call(&mut store, 1 << 16).unwrap_err();
    println!("{:?}", error.downcast_ref::<Trap>());

    // Looked at.
    let dump = error
        .downcast_ref::<WasmCoreDump>()
        .context("no core dump")?;
    println!(
        "{} instances of {} modules",
        dump.instances().len(),
        dump.modules().len()
    );
    let mut names: Vec<_> = dump.modules().iter().map(|module| module.name()).collect();
    names.sort();
    println!("{names:?}");
    for frame in dump.frames() {
        println!("  {:?} of {:?}", frame.func_name(), frame.module().name());
    }
    let mut globals: Vec<_> = dump
        .globals()
        .iter()
        .map(|global| match global.get(&mut store) {
            Val::I32(x) => i64::from(x),
            other => other.unwrap_i64(),
        })
        .collect();
    globals.sort();
    println!("globals {globals:?}");
    for memory in dump.memories() {
        println!(
            "memory of {} bytes, {}",
            memory.data_size(&store),
            memory.data(&store)[1000]
        );
    }

    // Written, and read again.
    let bytes = dump.serialize(&mut store, "the guest");
    let mut stored = 0;
    // Sections come in any order.
    let mut counts = Vec::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload? {
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::CoreDump(core) => println!("core of {:?}", core.name),
                KnownCustom::CoreDumpModules(modules) => {
                    counts.push(("modules", modules.modules.len()))
                }
                KnownCustom::CoreDumpInstances(instances) => {
                    counts.push(("instances", instances.instances.len()))
                }
                KnownCustom::CoreDumpStack(stack) => {
                    println!("stack of {:?}, {} frames", stack.name, stack.frames.len());
                    let functions: Vec<_> =
                        stack.frames.iter().map(|frame| frame.funcidx).collect();
                    println!("functions {functions:?}");
                }
                _ => {}
            },
            Payload::MemorySection(memories) => {
                counts.push(("memories", memories.count() as usize))
            }
            Payload::GlobalSection(globals) => counts.push(("globals", globals.count() as usize)),
            Payload::DataSection(data) => {
                for segment in data {
                    stored += segment?.data.iter().filter(|&&byte| byte == 0x2a).count();
                }
            }
            _ => {}
        }
    }
    counts.sort();
    println!("{counts:?}, found what was stored: {}", stored == 1);

    // Nobody asked for one.
    let engine = Engine::default();
    let module = Module::new(&engine, "(module (func (export \"f\") unreachable))")?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let error = instance
        .get_typed_func::<(), ()>(&mut store, "f")?
        .call(&mut store, ())
        .unwrap_err();
    println!(
        "without: {}",
        error.downcast_ref::<WasmCoreDump>().is_none()
    );
    Ok(())
}
