//! Functions as values: a guest registers callbacks in a table, the host calls them and adds its own.
//!
//! ```sh
//! cargo run --example tables
//! ```

use cowling::{Caller, Engine, Func, Linker, Module, Ref, Result, Store, Table, TypedFunc, Val};

// ANCHOR: guest
/// Registers two functions for events of the host, and can call whatever is in its table.
const GUEST: &str = r#"(module
    (type $handler (func (param i32) (result i32)))
    (import "events" "on" (func $on (param funcref)))
    (table (export "handlers") 3 10 funcref)
    (elem (i32.const 0) $double $square)
    (func $double (type $handler) (i32.mul (local.get 0) (i32.const 2)))
    (func $square (type $handler) (i32.mul (local.get 0) (local.get 0)))
    (func (export "register")
        (call $on (ref.func $double))
        (call $on (ref.func $square)))
    (func (export "call") (param $which i32) (param $n i32) (result i32)
        (call_indirect (type $handler) (local.get $n) (local.get $which))))"#;
// ANCHOR_END: guest

type Handler = TypedFunc<i32, i32>;

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;

    // ANCHOR: register
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "events",
        "on",
        |mut caller: Caller<'_, Vec<Handler>>, f: Option<Func>| {
            let Some(f) = f else {
                cowling::bail!("a handler is null");
            };
            let handler = f.typed::<i32, i32>(&caller)?;
            caller.data_mut().push(handler);
            Ok(())
        },
    )?;
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &module)?;
    instance
        .get_typed_func::<(), ()>(&mut store, "register")?
        .call(&mut store, ())?;
    for handler in store.data().clone() {
        println!("a handler makes of 7: {}", handler.call(&mut store, 7)?);
    }
    // ANCHOR_END: register

    // ANCHOR: table
    let table: Table = instance
        .get_table(&mut store, "handlers")
        .expect("it is exported");
    println!(
        "{} elements, of type {}",
        table.size(&store),
        table.ty(&store)
    );
    let negate = Func::wrap(&mut store, |n: i32| -n);
    table.set(&mut store, 2, Ref::from(negate))?;
    let before = table.grow(&mut store, 2, Ref::Func(None))?;
    println!("grown from {before} to {}", table.size(&store));
    let call = instance.get_typed_func::<(i32, i32), i32>(&mut store, "call")?;
    for which in 0..3 {
        println!(
            "element {which} makes of 7: {}",
            call.call(&mut store, (which, 7))?
        );
    }
    // ANCHOR_END: table

    // ANCHOR: traps
    let other = Func::wrap(&mut store, || println!("not called"));
    table.set(&mut store, 4, Ref::from(other))?;
    for (which, what) in [(3, "null"), (4, "of another type"), (5, "beyond the end")] {
        let error = call.call(&mut store, (which, 7)).unwrap_err();
        println!("element {which}, {what}: {}", error.root_cause());
    }
    // ANCHOR_END: traps

    // ANCHOR: get
    if let Some(Ref::Func(Some(square))) = table.get(&mut store, 1) {
        let mut results = [Val::I32(0)];
        square.call(&mut store, &[Val::I32(9)], &mut results)?;
        println!(
            "{} makes of 9: {}",
            square.ty(&store),
            results[0].unwrap_i32()
        );
    }
    println!(
        "beyond the end there is {:?}",
        table.get(&mut store, 5).is_some()
    );
    // ANCHOR_END: get
    Ok(())
}
