//! A generator: a guest as an iterator.
//!
//! ```sh
//! cargo run --example generator
//! ```
//!
//! The guest is a plain loop that calls `emit` with each number it finds, for ever. The host function yields the number, so the
//! loop stands still until the iterator is asked for the next one. Dropping the iterator ends the guest in the middle of its loop.

use cowling::{
    Caller, Engine, Error, Guest, Linker, Module, Region, Result, RunResult, Val, format_err,
};

// ANCHOR: guest
/// Finds prime numbers from a number on.
const PRIMES: &str = r#"(module
    (import "host" "emit" (func $emit (param i64)))
    (func $is_prime (param $n i64) (result i32) (local $d i64)
        (if (i64.lt_u (local.get $n) (i64.const 2)) (then (return (i32.const 0))))
        (local.set $d (i64.const 2))
        (loop $next
            (if (i64.gt_u (i64.mul (local.get $d) (local.get $d)) (local.get $n))
                (then (return (i32.const 1))))
            (if (i64.eqz (i64.rem_u (local.get $n) (local.get $d)))
                (then (return (i32.const 0))))
            (local.set $d (i64.add (local.get $d) (i64.const 1)))
            (br $next))
        (unreachable))
    (func (export "from") (param $n i64)
        (loop $next
            (if (call $is_prime (local.get $n)) (then (call $emit (local.get $n))))
            (local.set $n (i64.add (local.get $n) (i64.const 1)))
            (br $next))))"#;
// ANCHOR_END: guest

// ANCHOR: iterator
/// What a guest emits, one by one.
struct Generator {
    guest: Guest<()>,
    argument: i64,
}

impl Generator {
    fn new(region: &Region, pre: &cowling::InstancePre<()>, argument: i64) -> Result<Generator> {
        let guest = region.guest(pre, ()).build()?;
        Ok(Generator { guest, argument })
    }

    fn step(&mut self) -> Result<Option<i64>> {
        let result = if self.guest.state().is_suspended() {
            self.guest.resume()?
        } else {
            self.guest.run("from", &[Val::I64(self.argument)])?
        };
        match result {
            RunResult::Yielded(value) => match value.downcast() {
                Ok(number) => Ok(Some(*number)),
                Err(_) => Err(format_err!("a guest yielded something other than a number")),
            },
            _ => Ok(None),
        }
    }
}

impl Iterator for Generator {
    type Item = Result<i64, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
// ANCHOR_END: iterator

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, PRIMES)?;
    let mut linker = Linker::new(&engine);
    // ANCHOR: host
    linker.func_wrap("host", "emit", |mut caller: Caller<'_, ()>, n: i64| {
        caller.yield_val(n)
    })?;
    // ANCHOR_END: host
    // ANCHOR: use
    let pre = linker.instantiate_pre(&module)?;
    let region = Region::builder().slots(2).build()?;

    let first: Vec<i64> = Generator::new(&region, &pre, 0)?
        .take(10)
        .collect::<Result<_>>()?;
    println!("the first ten: {first:?}");

    let large = Generator::new(&region, &pre, 1_000_000)?
        .next()
        .transpose()?;
    println!("the first from 1,000,000 on: {}", large.unwrap_or_default());

    // Two guests, each halfway through its loop, take turns.
    let low = Generator::new(&region, &pre, 0)?;
    let high = Generator::new(&region, &pre, 100)?;
    for pair in low.zip(high).take(3) {
        let (low, high) = pair;
        println!("{} and {}", low?, high?);
    }
    println!("guests that are left: {}", region.used());
    // ANCHOR_END: use
    Ok(())
}
