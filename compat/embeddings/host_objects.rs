//! Host objects behind `externref`: guests hold files of the host's without ever seeing an address.

use std::sync::Mutex;
use wasmtime::error::Context as _;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "fs" "open" (func $open (param i32) (result externref)))
  (import "fs" "write" (func $write (param externref i32) (result i32)))
  (import "fs" "close" (func $close (param externref)))
  (table $open_files (export "open files") 4 externref)
  (global $last (export "last") (mut externref) (ref.null extern))
  (func (export "open") (param $slot i32) (param $name i32)
    (table.set $open_files (local.get $slot) (call $open (local.get $name))))
  (func (export "write") (param $slot i32) (param $byte i32) (result i32)
    (global.set $last (table.get $open_files (local.get $slot)))
    (call $write (global.get $last) (local.get $byte)))
  (func (export "close") (param $slot i32)
    (call $close (table.get $open_files (local.get $slot)))
    (table.set $open_files (local.get $slot) (ref.null extern))
    (global.set $last (ref.null extern)))
  (func (export "same") (param externref) (result externref) (local.get 0)))
"#;

struct File {
    name: i32,
    contents: Mutex<Vec<u8>>,
}

impl Drop for File {
    fn drop(&mut self) {
        println!(
            "file {} is gone with {} bytes",
            self.name,
            self.contents.lock().unwrap().len()
        );
    }
}

fn file<'a>(
    store: impl Into<StoreContext<'a, ()>>,
    handle: &Rooted<ExternRef>,
) -> Result<&'a File> {
    handle
        .data(store)?
        .context("not the host's")?
        .downcast_ref::<File>()
        .context("not a file")
}

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("fs", "open", |mut caller: Caller<'_, ()>, name: i32| {
        let contents = Mutex::default();
        ExternRef::new(&mut caller, File { name, contents }).map(Some)
    })?;
    linker.func_wrap(
        "fs",
        "write",
        |caller: Caller<'_, ()>, handle: Option<Rooted<ExternRef>>, byte: u32| -> Result<u32> {
            let handle = handle.context("a null handle")?;
            let mut contents = file(&caller, &handle)?.contents.lock().unwrap();
            contents.push(byte as u8);
            Ok(contents.len() as u32)
        },
    )?;
    linker.func_wrap(
        "fs",
        "close",
        |mut caller: Caller<'_, ()>, handle: Option<Rooted<ExternRef>>| -> Result<()> {
            let name = file(&caller, &handle.context("a null handle")?)?.name;
            let table = caller
                .get_export("open files")
                .and_then(Extern::into_table)
                .unwrap();
            println!("closing {name}, one of {}", table.size(&caller));
            Ok(())
        },
    )?;

    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let open = instance.get_typed_func::<(u32, i32), ()>(&mut store, "open")?;
    let write = instance.get_typed_func::<(u32, u32), u32>(&mut store, "write")?;
    let close = instance.get_typed_func::<u32, ()>(&mut store, "close")?;

    {
        // Whatever is rooted in here may be collected afterwards.
        let mut scope = RootScope::new(&mut store);
        open.call(&mut scope, (0, 10))?;
        open.call(&mut scope, (1, 11))?;
        for byte in 0..5 {
            write.call(&mut scope, (byte % 2, byte))?;
        }
        println!("fifth write: {}", write.call(&mut scope, (0, 9))?);

        let last = instance
            .get_global(&mut scope, "last")
            .unwrap()
            .get(&mut scope);
        let last = last
            .unwrap_externref()
            .copied()
            .context("nothing written")?;
        println!("last written to: {}", file(&scope, &last)?.name);

        let same = instance
            .get_typed_func::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(
                &mut scope, "same",
            )?;
        let back = same.call(&mut scope, Some(last))?.unwrap();
        println!("the same: {}", Rooted::ref_eq(&scope, &back, &last)?);
        println!("null: {:?}", same.call(&mut scope, None)?.is_none());

        println!(
            "null: {}",
            write.call(&mut scope, (2, 1)).unwrap_err().root_cause()
        );

        // Something else than a file is told from a file.
        let number = ExternRef::new(&mut scope, 5u32)?;
        let table = instance.get_table(&mut scope, "open files").unwrap();
        table.set(&mut scope, 3, Ref::Extern(Some(number)))?;
        println!(
            "number: {}",
            write.call(&mut scope, (3, 1)).unwrap_err().root_cause()
        );
    }

    // A reference that outlives its scope.
    let kept = {
        let mut scope = RootScope::new(&mut store);
        let file = instance
            .get_table(&mut scope, "open files")
            .unwrap()
            .get(&mut scope, 1)
            .unwrap();
        let file: OwnedRooted<ExternRef> =
            file.unwrap_extern().unwrap().to_owned_rooted(&mut scope)?;
        file
    };
    close.call(&mut store, 0)?;
    close.call(&mut store, 1)?;
    println!("collecting");
    store.gc(None)?;
    {
        let mut scope = RootScope::new(&mut store);
        let kept = kept.to_rooted(&mut scope);
        println!("kept: {}", file(&scope, &kept)?.name);
    }
    drop(kept);
    store.gc(None)?;
    println!("collected");
    Ok(())
}
