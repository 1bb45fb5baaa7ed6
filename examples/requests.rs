//! A guest that asks the embedder for things, in the middle of its work, without callbacks and without `async`.
//!
//! ```sh
//! cargo run --example requests
//! ```

use cowling::{
    Caller, Engine, Guest, Linker, Module, Region, Result, RunResult, Val, YieldedValue, bail,
};
use std::collections::VecDeque;

// ANCHOR: guest
/// Converts an amount of money with two rates that it asks for, and reports how far it is.
const GUEST: &str = r#"(module
    (import "host" "rate" (func $rate (param i32) (result f64)))
    (import "host" "progress" (func $progress (param i32)))
    (func (export "convert") (param $amount f64) (result f64)
        (local.set $amount (f64.mul (local.get $amount) (call $rate (i32.const 0))))
        (call $progress (i32.const 50))
        (local.set $amount (f64.mul (local.get $amount) (call $rate (i32.const 1))))
        (call $progress (i32.const 100))
        (local.get $amount)))"#;
// ANCHOR_END: guest

// ANCHOR: questions
/// What a guest asks.
struct Rate(i32);

/// What it tells.
struct Progress(i32);
// ANCHOR_END: questions

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;

    // ANCHOR: host
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "rate", |mut caller: Caller<'_, i32>, pair: i32| {
        caller.yield_val_expecting_val::<Rate, f64>(Rate(pair))
    })?;
    linker.func_wrap(
        "host",
        "progress",
        |mut caller: Caller<'_, i32>, percent: i32| caller.yield_val(Progress(percent)),
    )?;
    // ANCHOR_END: host

    // ANCHOR: start
    let pre = linker.instantiate_pre(&module)?;
    let region = Region::builder().slots(3).build()?;
    let mut waiting = VecDeque::new();
    for (number, amount) in [100.0, 2000.0, 1.0].into_iter().enumerate() {
        let mut guest = region.guest(&pre, number as i32).build()?;
        let result = guest.run("convert", &[Val::from(amount)])?;
        waiting.push_back((guest, result));
    }
    // ANCHOR_END: start

    // ANCHOR: loop
    while let Some((mut guest, result)) = waiting.pop_front() {
        match result {
            RunResult::Yielded(value) => {
                let result = answer(&mut guest, value)?;
                waiting.push_back((guest, result));
            }
            RunResult::Returned(results) => {
                println!("guest {}: {:.2}", guest.data(), results[0].unwrap_f64());
            }
            other => bail!("nothing else stops these guests: {other:?}"),
        }
    }
    // ANCHOR_END: loop

    // ANCHOR: wrong
    let mut guest = region.guest(&pre, 3).build()?;
    let RunResult::Yielded(question) = guest.run("convert", &[Val::from(1.0)])? else {
        bail!("the guest does not ask");
    };
    println!("it expects a value of type {:?}", question.expected_type());
    println!("resumed without: {}", guest.resume().unwrap_err());
    println!(
        "resumed with a string: {}",
        guest.resume_with_val("0.5").unwrap_err()
    );
    println!("it still waits: {:?}", guest.state());
    // ANCHOR_END: wrong
    Ok(())
}

// ANCHOR: answer
/// Gives a guest what it asks for, and lets it go on.
fn answer(guest: &mut Guest<i32>, value: YieldedValue) -> Result<RunResult> {
    let number = *guest.data();
    Ok(if let Some(Rate(pair)) = value.downcast_ref() {
        let rate = [0.9, 160.0][*pair as usize];
        println!("guest {number} asks for rate {pair}: it is {rate}");
        guest.resume_with_val(rate)?
    } else if let Some(Progress(percent)) = value.downcast_ref() {
        println!("guest {number} is at {percent} %");
        guest.resume()?
    } else {
        bail!("a guest yielded something else");
    })
}
// ANCHOR_END: answer
