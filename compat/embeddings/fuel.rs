//! Metering: guests pay for what they execute, some stop for lack of fuel, some give way to others every so often.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "host" "expensive" (func $expensive))
  (func (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else
        (i32.add
          (call 1 (i32.sub (local.get $n) (i32.const 1)))
          (call 1 (i32.sub (local.get $n) (i32.const 2)))))))
  (func (export "forever") (loop $again (br $again)))
  (func (export "pay") (call $expensive) (call $expensive)))
"#;

/// Drives a future by hand. Returns what came out of it and how often it was polled.
fn poll_to_end<F: Future>(future: F) -> (F::Output, u32) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let mut polls = 0;
    loop {
        polls += 1;
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return (output, polls);
        }
    }
}

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "expensive",
        |mut caller: Caller<'_, u64>| -> Result<()> {
            let left = caller.get_fuel()?;
            let price = *caller.data();
            caller.set_fuel(left.checked_sub(price).ok_or(Trap::OutOfFuel)?)
        },
    )?;
    let mut store = Store::new(&engine, 10_000);

    // A store begins with an empty tank.
    println!("fuel: {}", store.get_fuel()?);
    store.set_fuel(1_000_000)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let fib = instance.get_typed_func::<u32, u32>(&mut store, "fib")?;

    // What is used does not depend on when.
    let mut used = Vec::new();
    for n in [10, 10, 15] {
        store.set_fuel(1_000_000)?;
        println!("fib {n}: {}", fib.call(&mut store, n)?);
        used.push(1_000_000 - store.get_fuel()?);
    }
    println!("the same twice: {}", used[0] == used[1]);
    println!("more for more: {}", used[2] > 10 * used[0]);

    // Enough is enough, one unit less is not.
    store.set_fuel(100)?;
    let error = fib.call(&mut store, 20).unwrap_err();
    println!(
        "{:?}, {} left",
        error.downcast_ref::<Trap>(),
        store.get_fuel()?
    );
    store.set_fuel(0)?;
    println!(
        "{:?}",
        fib.call(&mut store, 1).unwrap_err().downcast_ref::<Trap>()
    );
    store.set_fuel(used[0] * 2)?;
    println!("fib 10: {}", fib.call(&mut store, 10)?);
    let forever = instance.get_typed_func::<(), ()>(&mut store, "forever")?;
    store.set_fuel(1_000_000)?;
    println!(
        "{:?}",
        forever
            .call(&mut store, ())
            .unwrap_err()
            .downcast::<Trap>()?
    );

    // Host functions have a price, too.
    let pay = instance.get_typed_func::<(), ()>(&mut store, "pay")?;
    store.set_fuel(25_000)?;
    pay.call(&mut store, ())?;
    println!(
        "5000 are left, but for some: {}",
        (4_900..5_000).contains(&store.get_fuel()?)
    );
    store.set_fuel(15_000)?;
    println!(
        "{:?}",
        pay.call(&mut store, ()).unwrap_err().downcast_ref::<Trap>()
    );

    // Guests that give way.
    store.set_fuel(10_000_000)?;
    store.fuel_async_yield_interval(Some(10_000))?;
    let (result, polls) = poll_to_end(fib.call_async(&mut store, 20));
    let used = 10_000_000 - store.get_fuel()?;
    println!("fib 20: {}", result?);
    println!(
        "yielded as often as said: {}",
        u64::from(polls).abs_diff(used / 10_000) <= 1 + used / 100_000
    );
    store.set_fuel(100_000)?;
    let (result, polls) = poll_to_end(forever.call_async(&mut store, ()));
    println!("{:?}", result.unwrap_err().downcast_ref::<Trap>());
    println!("{}", (9..=11).contains(&polls));
    store.fuel_async_yield_interval(None)?;
    store.set_fuel(10_000_000)?;
    println!("{}", poll_to_end(fib.call_async(&mut store, 20)).1);
    println!(
        "no interval of nothing: {}",
        store.fuel_async_yield_interval(Some(0)).is_err()
    );

    // Where nothing is counted there is nothing to set.
    let mut store = Store::new(&Engine::default(), ());
    println!(
        "{} {}",
        store.set_fuel(1).is_err(),
        store.get_fuel().is_err()
    );
    Ok(())
}
