//! Four threads, four stores, one memory.
//!
//! ```sh
//! cargo run --example threads
//! ```

use cowling::{
    Engine, InstancePre, Linker, MemoryType, Module, Result, SharedMemory, Store, WaitResult,
};
use std::thread;
use std::time::Duration;

// ANCHOR: guest
/// A worker takes numbers from a counter that all share, until none is left, and adds up their squares. At the end it tells
/// whoever waits.
const WORKER: &str = r#"(module
    (import "env" "memory" (memory 1 16 shared))
    (func (export "work") (param $limit i32) (result i32)
        (local $n i32) (local $mine i32)
        (loop $next
            (local.set $n (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (if (i32.lt_u (local.get $n) (local.get $limit)) (then
                (local.set $mine (i32.add (local.get $mine) (i32.const 1)))
                (drop (i64.atomic.rmw.add (i32.const 8)
                    (i64.mul (i64.extend_i32_u (local.get $n)) (i64.extend_i32_u (local.get $n)))))
                (br $next))))
        (drop (i32.atomic.rmw.add (i32.const 16) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 16) (i32.const 1)))
        (local.get $mine))
    (func (export "wait_forever")
        (drop (memory.atomic.wait32 (i32.const 24) (i32.const 0) (i64.const -1)))))"#;
// ANCHOR_END: guest

const WORKERS: u32 = 4;
const LIMIT: i32 = 10_000;

fn main() -> Result<()> {
    // ANCHOR: memory
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 16))?;
    let module = Module::new(&engine, WORKER)?;
    let mut linker = Linker::new(&engine);
    linker.define(&Store::new(&engine, ()), "env", "memory", memory.clone())?;
    let pre = linker.instantiate_pre(&module)?;
    // ANCHOR_END: memory

    // ANCHOR: spawn
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let pre = pre.clone();
            thread::spawn(move || work(&pre))
        })
        .collect();
    // ANCHOR_END: spawn

    // ANCHOR: wait
    let mut bytes = [0; 4];
    loop {
        memory.read(16, &mut bytes)?;
        let done = u32::from_le_bytes(bytes);
        if done == WORKERS {
            break;
        }
        match memory.atomic_wait32(16, done, Some(Duration::from_secs(10)))? {
            WaitResult::Ok | WaitResult::Mismatch => {}
            WaitResult::TimedOut => println!("still waiting for {} workers", WORKERS - done),
        }
    }
    // ANCHOR_END: wait

    // ANCHOR: result
    let mut taken = 0;
    for worker in workers {
        taken += worker.join().expect("it does not panic")?;
    }
    let mut sum = [0; 8];
    memory.read(8, &mut sum)?;
    println!("{WORKERS} workers took {taken} numbers");
    println!("the sum of their squares is {}", u64::from_le_bytes(sum));
    // ANCHOR_END: result

    // ANCHOR: stuck
    let mut store = Store::new(&engine, ());
    let instance = pre.instantiate(&mut store)?;
    let wait = instance.get_typed_func::<(), ()>(&mut store, "wait_forever")?;
    store.set_timeout(Duration::from_millis(20))?;
    println!(
        "one that waits for ever: {}",
        wait.call(&mut store, ()).unwrap_err().root_cause()
    );
    // ANCHOR_END: stuck
    Ok(())
}

// ANCHOR: work
/// One worker, in a store of its own.
fn work(pre: &InstancePre<()>) -> Result<i32> {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store)?;
    let work = instance.get_typed_func::<i32, i32>(&mut store, "work")?;
    work.call(&mut store, LIMIT)
}
// ANCHOR_END: work
