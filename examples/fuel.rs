//! Fuel: how much a guest may execute, counted exactly.
//!
//! ```sh
//! cargo run --example fuel
//! ```

use cowling::{Caller, Config, Engine, Linker, Module, Result, Store, Trap};

// ANCHOR: guest
/// Adds up the numbers to `n`, and asks the host for something that has a price of its own.
const GUEST: &str = r#"(module
    (import "host" "hash" (func $hash (param i32) (result i32)))
    (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (local.get $n)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "hash_all") (param $n i32)
        (loop $next
            (drop (call $hash (local.get $n)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
// ANCHOR_END: guest

// ANCHOR: host
const PRICE_OF_A_HASH: u64 = 1000;

fn hash(mut caller: Caller<'_, ()>, n: i32) -> Result<i32> {
    let left = caller.get_fuel()?.checked_sub(PRICE_OF_A_HASH);
    caller.set_fuel(left.ok_or(Trap::OutOfFuel)?)?;
    Ok(n.wrapping_mul(0x9E37_79B1_u32 as i32))
}
// ANCHOR_END: host

fn main() -> Result<()> {
    // ANCHOR: config
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config)?;
    // ANCHOR_END: config
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "hash", hash)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;

    // ANCHOR: count
    let sum = instance.get_typed_func::<i32, i32>(&mut store, "sum")?;
    for n in [1, 10, 100] {
        store.set_fuel(10_000)?;
        let result = sum.call(&mut store, n)?;
        println!(
            "sum({n}) = {result} took {} units",
            10_000 - store.get_fuel()?
        );
    }
    // ANCHOR_END: count

    // ANCHOR: out
    store.set_fuel(10_000)?;
    let error = sum.call(&mut store, 1_000_000).unwrap_err();
    println!(
        "a million: {}",
        error.downcast_ref::<Trap>().expect("it trapped")
    );
    println!("left: {}", store.get_fuel()?);
    // ANCHOR_END: out

    // ANCHOR: charge
    let hash_all = instance.get_typed_func::<i32, ()>(&mut store, "hash_all")?;
    store.set_fuel(10_000)?;
    hash_all.call(&mut store, 9)?;
    println!("nine hashes took {} units", 10_000 - store.get_fuel()?);
    let error = hash_all.call(&mut store, 9).unwrap_err();
    println!(
        "nine more: {}",
        error.downcast_ref::<Trap>().expect("it trapped")
    );
    // ANCHOR_END: charge

    // ANCHOR: off
    let mut store = Store::new(&Engine::default(), ());
    println!("without the setting: {:#}", store.set_fuel(1).unwrap_err());
    // ANCHOR_END: off
    Ok(())
}
