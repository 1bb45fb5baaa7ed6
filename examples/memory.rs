//! Strings in and out of a guest's memory.
//!
//! ```sh
//! cargo run --example memory
//! ```

use cowling::{Caller, Engine, Extern, Linker, Memory, Module, Result, Store, Trap, bail};

// ANCHOR: guest
/// Makes letters capital where they lie, and prints what lies somewhere.
const GUEST: &str = r#"(module
    (import "host" "print" (func $print (param i32 i32)))
    (memory (export "memory") 1 3)
    (data (i32.const 16) "from a data segment")
    (func (export "shout") (param $at i32) (param $len i32)
        (local $end i32) (local $c i32)
        (local.set $end (i32.add (local.get $at) (local.get $len)))
        (loop $next
            (if (i32.lt_u (local.get $at) (local.get $end)) (then
                (local.set $c (i32.load8_u (local.get $at)))
                (if (i32.and (i32.ge_u (local.get $c) (i32.const 97))
                             (i32.le_u (local.get $c) (i32.const 122)))
                    (then (i32.store8 (local.get $at) (i32.sub (local.get $c) (i32.const 32)))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br $next)))))
    (func (export "introduce") (call $print (i32.const 16) (i32.const 19)))
    (func (export "lie") (call $print (i32.const 65530) (i32.const 100)))
    (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
// ANCHOR_END: guest

// ANCHOR: print
/// Prints what the guest says is a string. Nothing that a guest says about its memory is believed.
fn print(mut caller: Caller<'_, ()>, at: u32, len: u32) -> Result<()> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        bail!("the guest has no memory");
    };
    let bytes = memory.data(&caller);
    let text = bytes
        .get(at as usize..)
        .and_then(|rest| rest.get(..len as usize));
    match text.map(std::str::from_utf8) {
        Some(Ok(text)) => println!("the guest prints: {text}"),
        Some(Err(_)) => bail!("what the guest prints is no text"),
        None => bail!("{len} bytes from {at} on are not in the guest's memory"),
    }
    Ok(())
}
// ANCHOR_END: print

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "print", print)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let call = |store: &mut Store<()>, name: &str| {
        instance
            .get_typed_func::<(), ()>(&mut *store, name)?
            .call(store, ())
    };

    // ANCHOR: call
    call(&mut store, "introduce")?;
    let error = call(&mut store, "lie").unwrap_err();
    println!("a lie: {}", error.root_cause());
    // ANCHOR_END: call

    // ANCHOR: copy
    let memory: Memory = instance
        .get_memory(&mut store, "memory")
        .expect("it is exported");
    let text = "hello from the host";
    memory.write(&mut store, 1024, text.as_bytes())?;
    let shout = instance.get_typed_func::<(u32, u32), ()>(&mut store, "shout")?;
    shout.call(&mut store, (1024, text.len() as u32))?;
    let mut bytes = vec![0; text.len()];
    memory.read(&store, 1024, &mut bytes)?;
    println!("shouted: {}", String::from_utf8(bytes)?);
    // ANCHOR_END: copy

    // ANCHOR: slice
    memory.data_mut(&mut store)[1024..1029].copy_from_slice(b"HALLO");
    let bytes = &memory.data(&store)[1024..1043];
    println!("changed in place: {}", String::from_utf8_lossy(bytes));
    // ANCHOR_END: slice

    // ANCHOR: grow
    let peek = instance.get_typed_func::<u32, u32>(&mut store, "peek")?;
    println!(
        "{} page, {} bytes",
        memory.size(&store),
        memory.data_size(&store)
    );
    let error = peek.call(&mut store, 65536).unwrap_err();
    println!(
        "beyond the end: {}",
        error.downcast_ref::<Trap>().expect("it trapped")
    );
    let before = memory.grow(&mut store, 2)?;
    println!(
        "grown from {before} to {} pages; there is {}",
        memory.size(&store),
        peek.call(&mut store, 65536)?
    );
    println!("once more: {:#}", memory.grow(&mut store, 1).unwrap_err());
    // ANCHOR_END: grow

    // ANCHOR: host_error
    println!(
        "too far: {}",
        memory.write(&mut store, 200_000, b"text").unwrap_err()
    );
    // ANCHOR_END: host_error
    Ok(())
}
