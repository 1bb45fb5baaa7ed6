//! A pool of slots for many short-lived guests, used from several threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (memory (export "memory") 1 8)
  (data (i32.const 0) "clean slate")
  (global $runs (mut i32) (i32.const 0))
  (func (export "handle") (param $request i32) (result i32)
    (local $i i32)
    ;; Dirties its memory, so that a slot that is not cleaned shows.
    (loop $next
      (i32.store (i32.shl (local.get $i) (i32.const 2)) (local.get $request))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
    (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
    (drop (memory.grow (i32.const 1)))
    (i32.add (i32.load (i32.const 400)) (global.get $runs))))
"#;

fn serve(engine: &Engine, pre: &InstancePre<u32>, request: u32) -> Result<u32> {
    let mut store = Store::new(engine, request);
    let instance = pre.instantiate(&mut store)?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    ensure!(
        memory.data(&store).starts_with(b"clean slate\0"),
        "not clean"
    );
    ensure!(memory.size(&store) == 1, "not small");
    let handle = instance.get_typed_func::<u32, u32>(&mut store, "handle")?;
    handle.call(&mut store, request)
}

pub fn main() -> Result<()> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(8)
        .total_memories(8)
        .total_tables(8)
        .total_stacks(8)
        .max_memory_size(4 << 16)
        .max_unused_warm_slots(4)
        .linear_memory_keep_resident(1 << 16)
        .table_elements(100);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let needs = module.resources_required();
    println!(
        "{} memory, {} tables, {:?} bytes",
        needs.num_memories, needs.num_tables, needs.max_initial_memory_size
    );
    let pre = Linker::new(&engine).instantiate_pre(&module)?;

    // Many guests after one another and beside each other: never more than there are slots.
    let sum = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|id| {
                let (engine, pre, sum) = (&engine, &pre, &sum);
                scope.spawn(move || -> Result<()> {
                    for i in 0..50 {
                        let result = serve(engine, pre, id * 1000 + i)?;
                        sum.fetch_add(result.into(), Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap())
    })?;
    println!("sum {}", sum.into_inner());

    // Slots run out, and come back.
    let mut stores = Vec::new();
    let error = loop {
        let mut store = Store::new(&engine, 0);
        match pre.instantiate(&mut store) {
            Ok(_) => stores.push(store),
            Err(error) => break error,
        }
    };
    println!(
        "{} guests, then {}",
        stores.len(),
        error.is::<PoolConcurrencyLimitError>()
    );
    stores.truncate(6);
    println!("{} {}", serve(&engine, &pre, 1)?, serve(&engine, &pre, 2)?);
    let metrics = engine.pooling_allocator_metrics().unwrap();
    println!(
        "{} instances, {} memories",
        metrics.core_instances(),
        metrics.memories()
    );
    drop(stores);
    println!(
        "{} instances, {} memories",
        metrics.core_instances(),
        metrics.memories()
    );

    // What does not fit into a slot is refused, whether from the start or later.
    for text in ["(module (memory 5))", "(module (table 101 funcref))"] {
        let fits = || {
            let module = Module::new(&engine, text)?;
            Instance::new(&mut Store::new(&engine, 0), &module, &[])
        };
        println!("{text}: {}", fits().is_ok());
    }
    let grow = Module::new(
        &engine,
        r#"(module (memory 1)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    )?;
    let mut store = Store::new(&engine, 0);
    let grow =
        Instance::new(&mut store, &grow, &[])?.get_typed_func::<u32, i32>(&mut store, "grow")?;
    println!(
        "grow: {} {}",
        grow.call(&mut store, 3)?,
        grow.call(&mut store, 1)?
    );
    println!(
        "metrics without a pool: {}",
        Engine::default().pooling_allocator_metrics().is_none()
    );
    Ok(())
}
