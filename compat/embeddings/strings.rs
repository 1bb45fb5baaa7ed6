//! Strings across the boundary: the host writes into memory that the guest allocates, the guest hands back pointer and length.

use anyhow::{Context, Result, anyhow};
use wasmtime::{Caller, Engine, Extern, Instance, Linker, Memory, Module, Store, TypedFunc};

const GUEST: &str = r#"
(module
  (import "env" "log" (func $log (param i32 i32)))
  (memory (export "memory") 1 4)
  (data (i32.const 16) "upper-casing")
  (global $top (mut i32) (i32.const 4096))
  (func (export "alloc") (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.add (local.get $at) (local.get $len)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.const 1)))))
    (local.get $at))
  (func (export "shout") (param $at i32) (param $len i32) (result i32 i32)
    (local $i i32) (local $c i32)
    (call $log (i32.const 16) (i32.const 12))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $len)))
        (local.set $c (i32.load8_u (i32.add (local.get $at) (local.get $i))))
        (if (i32.and (i32.ge_u (local.get $c) (i32.const 97)) (i32.le_u (local.get $c) (i32.const 122)))
          (then
            (i32.store8
              (i32.add (local.get $at) (local.get $i))
              (i32.sub (local.get $c) (i32.const 32)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $at) (local.get $len)))
"#;

/// What a plug-in's exports look like to its host.
struct Plugin {
    store: Store<Vec<String>>,
    memory: Memory,
    alloc: TypedFunc<u32, u32>,
    shout: TypedFunc<(u32, u32), (u32, u32)>,
}

impl Plugin {
    fn load(engine: &Engine) -> Result<Plugin> {
        let mut linker = Linker::new(engine);
        linker.func_wrap("env", "log", log)?;
        let module = Module::new(engine, GUEST)?;
        let mut store = Store::new(engine, Vec::new());
        let instance: Instance = linker.instantiate(&mut store, &module)?;
        Ok(Plugin {
            memory: instance
                .get_memory(&mut store, "memory")
                .context("the plug-in exports no memory")?,
            alloc: instance.get_typed_func(&mut store, "alloc")?,
            shout: instance.get_typed_func(&mut store, "shout")?,
            store,
        })
    }

    fn shout(&mut self, text: &str) -> Result<String> {
        let at = self.alloc.call(&mut self.store, text.len() as u32)?;
        self.memory
            .write(&mut self.store, at as usize, text.as_bytes())?;
        let (at, len) = self.shout.call(&mut self.store, (at, text.len() as u32))?;
        let mut bytes = vec![0; len as usize];
        self.memory.read(&self.store, at as usize, &mut bytes)?;
        Ok(String::from_utf8(bytes)?)
    }
}

/// A host function that reads a string of the guest's.
fn log(mut caller: Caller<'_, Vec<String>>, at: u32, len: u32) -> wasmtime::Result<()> {
    let memory = match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => memory,
        _ => wasmtime::bail!("no memory to read from"),
    };
    let (data, lines) = memory.data_and_store_mut(&mut caller);
    let bytes = data
        .get(at as usize..)
        .and_then(|rest| rest.get(..len as usize))
        .ok_or_else(|| wasmtime::format_err!("{at}+{len} is out of bounds"))?;
    lines.push(std::str::from_utf8(bytes)?.to_string());
    Ok(())
}

pub fn main() -> Result<()> {
    let mut plugin = Plugin::load(&Engine::default())?;
    println!("{}", plugin.shout("hello, memory")?);
    println!("{}", plugin.shout("Grüße, Wëlt")?);

    // Enough that the guest grows its memory: views are taken anew.
    let before = plugin.memory.size(&plugin.store);
    let long = plugin.shout(&"la ".repeat(30_000))?;
    println!(
        "{} bytes, pages {before} -> {}",
        long.len(),
        plugin.memory.size(&plugin.store)
    );
    println!("{} lines logged", plugin.store.data().len());
    println!("{}", plugin.store.data()[0]);

    // The host may look at all of it at once.
    let data = plugin.memory.data(&plugin.store);
    println!("{:?}", std::str::from_utf8(&data[16..28])?);
    plugin.memory.data_mut(&mut plugin.store)[16] = b'U';

    // Accesses out of bounds are errors.
    let size = plugin.memory.data_size(&plugin.store);
    let refused = plugin
        .memory
        .write(&mut plugin.store, size - 2, b"abc")
        .unwrap_err();
    println!(
        "write: {}",
        refused
            .to_string()
            .starts_with("out of bounds memory access")
    );
    println!(
        "read: {}",
        plugin
            .memory
            .read(&plugin.store, usize::MAX, &mut [0])
            .is_err()
    );
    println!(
        "grow: {}",
        plugin.memory.grow(&mut plugin.store, 100).is_err()
    );
    println!(
        "grow: {}",
        plugin
            .memory
            .grow(&mut plugin.store, 1)
            .map_err(|e| anyhow!("{e}"))?
    );
    Ok(())
}
