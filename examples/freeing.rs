//! A store that lives on: instances come and go, and what they had comes back.
//!
//! ```sh
//! cargo run --example freeing
//! ```

use cowling::{
    Engine, Instance, Linker, Module, Removal, Removed, Result, Store, StoreLimitsBuilder,
};

// ANCHOR: guests
/// A plug-in with a memory of its own.
const PLUGIN: &str = r#"(module
    (memory (export "memory") 16)
    (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))"#;

/// Another one, which is built on the first.
const USER: &str = r#"(module
    (import "plugin" "double" (func $double (param i32) (result i32)))
    (func (export "quadruple") (param i32) (result i32) (call $double (call $double (local.get 0)))))"#;
// ANCHOR_END: guests

fn main() -> Result<()> {
    let engine = Engine::default();
    let plugin = Module::new(&engine, PLUGIN)?;
    let user = Module::new(&engine, USER)?;

    // ANCHOR: loop
    // Room for two instances, and it runs for weeks.
    let limits = StoreLimitsBuilder::new()
        .instances(2)
        .memory_size(1 << 20)
        .build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let mut sum = 0;
    for request in 0..10_000 {
        let instance = Instance::new(&mut store, &plugin, &[])?;
        let double = instance.get_typed_func::<i32, i32>(&mut store, "double")?;
        sum += double.call(&mut store, request)?;
        instance.remove(&mut store)?;
    }
    println!("ten thousand instances, one after the other: {sum}");
    // ANCHOR_END: loop

    // ANCHOR: removed
    let instance = Instance::new(&mut store, &plugin, &[])?;
    let double = instance.get_typed_func::<i32, i32>(&mut store, "double")?;
    println!("removed: {:?}", instance.remove(&mut store)?);
    let error = double.call(&mut store, 1).unwrap_err();
    println!("called afterwards: {error:#}");
    println!("that is Removed: {}", error.is::<Removed>());
    // ANCHOR_END: removed

    // ANCHOR: kept
    let instance = Instance::new(&mut store, &plugin, &[])?;
    let mut linker = Linker::new(&engine);
    linker.instance(&mut store, "plugin", instance)?;
    let user = linker.instantiate(&mut store, &user)?;
    match instance.remove(&mut store)? {
        Removal::Freed => println!("freed"),
        Removal::Kept(holder) => println!("kept by another instance: {}", is_instance(&holder)),
        _ => println!("something new"),
    }
    let quadruple = user.get_typed_func::<i32, i32>(&mut store, "quadruple")?;
    println!("which still works: {}", quadruple.call(&mut store, 5)?);
    println!("the other one is removed: {:?}", user.remove(&mut store)?);
    // ANCHOR_END: kept

    // ANCHOR: room
    for _ in 0..2 {
        Instance::new(&mut store, &plugin, &[])?;
    }
    println!("and there is room for two");
    // ANCHOR_END: room
    Ok(())
}

fn is_instance(holder: &cowling::Holder) -> bool {
    matches!(holder, cowling::Holder::Instance(_))
}
