//! Objects of the host that guests hold without seeing into them.
//!
//! ```sh
//! cargo run --example externref
//! ```

use cowling::{
    Caller, Engine, ExternRef, Linker, Module, OwnedRooted, Result, Rooted, Store, bail,
};
use std::sync::Mutex;

// ANCHOR: guest
/// Opens two logs, writes to them, and keeps one of them in a global.
const GUEST: &str = r#"(module
    (import "log" "open" (func $open (param i32) (result externref)))
    (import "log" "write" (func $write (param externref i32)))
    (global $kept (mut externref) (ref.null extern))
    (func (export "run")
        (local $a externref) (local $b externref)
        (local.set $a (call $open (i32.const 1)))
        (local.set $b (call $open (i32.const 2)))
        (call $write (local.get $a) (i32.const 10))
        (call $write (local.get $b) (i32.const 20))
        (call $write (local.get $b) (i32.const 21))
        (global.set $kept (local.get $b)))
    (func (export "kept") (result externref) (global.get $kept))
    (func (export "keep") (param externref) (global.set $kept (local.get 0)))
    (func (export "write_to_kept") (param i32) (call $write (global.get $kept) (local.get 0))))"#;
// ANCHOR_END: guest

// ANCHOR: object
/// What is behind a reference: any type that is `Send`, `Sync` and `'static`.
struct Log {
    number: i32,
    lines: Mutex<Vec<i32>>,
}

impl Drop for Log {
    fn drop(&mut self) {
        println!(
            "log {} is closed with {:?}",
            self.number,
            self.lines.lock().unwrap()
        );
    }
}
// ANCHOR_END: object

// ANCHOR: host
fn open(mut caller: Caller<'_, ()>, number: i32) -> Result<Option<Rooted<ExternRef>>> {
    let lines = Mutex::new(Vec::new());
    ExternRef::new(&mut caller, Log { number, lines }).map(Some)
}

fn write(caller: Caller<'_, ()>, log: Option<Rooted<ExternRef>>, line: i32) -> Result<()> {
    let Some(log) = log else {
        bail!("the guest writes to a log that is null");
    };
    let Some(log) = log
        .data(&caller)?
        .and_then(|object| object.downcast_ref::<Log>())
    else {
        bail!("the guest writes to something that is no log");
    };
    log.lines.lock().unwrap().push(line);
    Ok(())
}
// ANCHOR_END: host

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("log", "open", open)?;
    linker.func_wrap("log", "write", write)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;

    // ANCHOR: run
    instance
        .get_typed_func::<(), ()>(&mut store, "run")?
        .call(&mut store, ())?;
    println!("the guest has returned");
    store.gc(None)?;
    println!("what the guest did not keep is gone");
    // ANCHOR_END: run

    // ANCHOR: kept
    let kept = instance.get_typed_func::<(), Option<Rooted<ExternRef>>>(&mut store, "kept")?;
    let log = kept.call(&mut store, ())?.expect("the guest keeps one");
    let object = log
        .data(&store)?
        .and_then(|object| object.downcast_ref::<Log>());
    println!("the guest keeps log {:?}", object.map(|log| log.number));
    let mine: OwnedRooted<ExternRef> = log.to_owned_rooted(&mut store)?;
    // ANCHOR_END: kept

    // ANCHOR: null
    let keep = instance.get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut store, "keep")?;
    keep.call(&mut store, None)?;
    let write_to_kept = instance.get_typed_func::<i32, ()>(&mut store, "write_to_kept")?;
    let error = write_to_kept.call(&mut store, 22).unwrap_err();
    println!("{}", error.root_cause());

    let number = ExternRef::new(&mut store, 5_i32)?;
    keep.call(&mut store, Some(number))?;
    let error = write_to_kept.call(&mut store, 22).unwrap_err();
    println!("{}", error.root_cause());
    // ANCHOR_END: null

    // ANCHOR: owned
    store.gc(None)?;
    let again = mine.to_rooted(&mut store);
    keep.call(&mut store, Some(again))?;
    write_to_kept.call(&mut store, 23)?;
    drop(mine);
    println!("the store is dropped");
    drop(store);
    // ANCHOR_END: owned
    Ok(())
}
