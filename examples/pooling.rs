//! An instance for each request: slots are used again, and there is a limit to them.
//!
//! ```sh
//! cargo run --release --example pooling
//! ```

use cowling::{
    Config, Engine, InstanceAllocationStrategy, Linker, Module, PoolConcurrencyLimitError,
    PoolingAllocationConfig, Result, Store,
};
use std::thread;
use std::time::Instant;

// ANCHOR: guest
/// Handles a request, and leaves something behind in memory and globals.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "\2a")
    (global $requests (mut i32) (i32.const 0))
    (func (export "handle") (param $n i32) (result i32)
        (global.set $requests (i32.add (global.get $requests) (i32.const 1)))
        (i32.store8 (i32.const 0) (i32.const 255))
        (i32.store (i32.const 1000) (local.get $n))
        (i32.mul (local.get $n) (global.get $requests)))
    (func (export "first") (result i32) (i32.load8_u (i32.const 0))))"#;
// ANCHOR_END: guest

const REQUESTS: i32 = 5000;
const THREADS: i32 = 2;

fn main() -> Result<()> {
    // ANCHOR: config
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(100).max_memory_size(1 << 20);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    // ANCHOR_END: config

    // ANCHOR: serve
    let module = Module::new(&engine, GUEST)?;
    let pre = Linker::new(&engine).instantiate_pre(&module)?;
    let serve = |request: i32| -> Result<i32> {
        let mut store = Store::new(&engine, ());
        let instance = pre.instantiate(&mut store)?;
        let first = instance.get_typed_func::<(), i32>(&mut store, "first")?;
        assert_eq!(
            first.call(&mut store, ())?,
            42,
            "another request left something"
        );
        let handle = instance.get_typed_func::<i32, i32>(&mut store, "handle")?;
        handle.call(&mut store, request)
    };
    // ANCHOR_END: serve

    // ANCHOR: threads
    let start = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| (0..REQUESTS).map(serve).collect::<Result<Vec<_>>>()))
            .collect();
        for thread in threads {
            let answers = thread.join().expect("it does not panic")?;
            assert!(
                answers.into_iter().eq(0..REQUESTS),
                "each request was its instance's first"
            );
        }
        Ok::<_, cowling::Error>(())
    })?;
    let each = start.elapsed() / (REQUESTS * THREADS).unsigned_abs() * THREADS.unsigned_abs();
    println!("{} requests, {each:?} each", REQUESTS * THREADS);
    // ANCHOR_END: threads

    // ANCHOR: metrics
    let metrics = engine.pool_metrics();
    println!("slots that were mapped: {}", metrics.mapped);
    println!("instances that were given a warm one: {}", metrics.reused);
    println!("in use now: {}", metrics.used);
    // ANCHOR_END: metrics

    // ANCHOR: full
    let mut store = Store::new(&engine, ());
    let result = (0..).try_for_each(|_| pre.instantiate(&mut store).map(drop));
    let error = result.unwrap_err();
    println!("all at once: {error:#}");
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        println!("the limit is {} {}", full.limit, full.what);
    }
    // ANCHOR_END: full
    Ok(())
}
