//! A memory shared between instances on several threads, with atomics, and waiting on both sides.

use std::thread;
use std::time::Duration;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "env" "memory" (memory 1 10 shared))
  ;; Adds to a counter.
  (func (export "count") (param $times i32)
    (loop $again
      (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
  ;; Waits for a flag, then says what it found.
  (func (export "wait") (result i32)
    (block $set
      (loop $again
        (br_if $set (i32.ne (i32.atomic.load (i32.const 64)) (i32.const 0)))
        (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1)))
        (br $again)))
    (i32.atomic.load (i32.const 64)))
  (func (export "set") (param $value i32) (result i32)
    (i32.atomic.store (i32.const 64) (local.get $value))
    (memory.atomic.notify (i32.const 64) (i32.const -1)))
  (func (export "get") (param $at i32) (result i32) (i32.atomic.load (local.get $at)))
  (func (export "timeout") (result i32)
    (memory.atomic.wait64 (i32.const 128) (i64.const 0) (i64.const 1000000)))
  (func (export "grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "size") (result i32) (memory.size))
  (func (export "unaligned") (result i32) (i32.atomic.load (i32.const 1))))
"#;

fn instance(
    engine: &Engine,
    module: &Module,
    memory: &SharedMemory,
) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(engine, ());
    let mut linker = Linker::new(engine);
    linker.define(&store, "env", "memory", memory.clone())?;
    let instance = linker.instantiate(&mut store, module)?;
    Ok((store, instance))
}

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.wasm_threads(true).shared_memory(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 10))?;
    println!(
        "{} pages of {}, shared {}",
        memory.size(),
        memory.page_size(),
        memory.ty().is_shared()
    );

    let (mut store, main) = instance(&engine, &module, &memory)?;
    let get = main.get_typed_func::<u32, u32>(&mut store, "get")?;
    let set = main.get_typed_func::<u32, u32>(&mut store, "set")?;

    // Everyone counts.
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (mut store, instance) = instance(&engine, &module, &memory).unwrap();
                let count = instance
                    .get_typed_func::<u32, ()>(&mut store, "count")
                    .unwrap();
                count.call(&mut store, 10_000).unwrap();
            });
        }
        main.get_typed_func::<u32, ()>(&mut store, "count")?
            .call(&mut store, 10_000)
    })?;
    println!("counted: {}", get.call(&mut store, 0)?);

    // Guests wait for a guest.
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let (engine, module, memory) = (engine.clone(), module.clone(), memory.clone());
            thread::spawn(move || -> Result<i32> {
                let (mut store, instance) = instance(&engine, &module, &memory)?;
                instance
                    .get_typed_func::<(), i32>(&mut store, "wait")?
                    .call(&mut store, ())
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(5));
    set.call(&mut store, 99)?;
    for waiter in waiters {
        println!("waited for {}", waiter.join().unwrap()?);
    }

    // The host waits for a guest, and wakes one.
    set.call(&mut store, 0)?;
    thread::scope(|scope| -> Result<()> {
        let guest = scope.spawn(|| {
            thread::sleep(Duration::from_millis(5));
            let (mut store, instance) = instance(&engine, &module, &memory).unwrap();
            let set = instance
                .get_typed_func::<u32, u32>(&mut store, "set")
                .unwrap();
            set.call(&mut store, 5).unwrap();
        });
        while get.call(&mut store, 64)? == 0 {
            let result = memory
                .atomic_wait32(64, 0, Some(Duration::from_secs(5)))
                .unwrap();
            assert_ne!(result, WaitResult::TimedOut);
        }
        guest.join().unwrap();
        Ok(())
    })?;
    println!("the host saw {}", get.call(&mut store, 64)?);
    println!("{:?}", memory.atomic_wait32(64, 0, None)?);
    println!(
        "{:?}",
        memory.atomic_wait64(128, 0, Some(Duration::from_millis(1)))?
    );
    println!(
        "{:?} {:?}",
        memory.atomic_notify(64, 1),
        memory.atomic_notify(66, 1)
    );
    println!("{:?}", memory.atomic_wait32(10 << 16, 0, None));
    println!(
        "timeout: {}",
        main.get_typed_func::<(), i32>(&mut store, "timeout")?
            .call(&mut store, ())?
    );

    // Growth is seen by all.
    println!("grown by the host at {}", memory.grow(2)?);
    println!(
        "size {}",
        main.get_typed_func::<(), i32>(&mut store, "size")?
            .call(&mut store, ())?
    );
    println!(
        "grown by a guest at {}",
        main.get_typed_func::<(), i32>(&mut store, "grow")?
            .call(&mut store, ())?
    );
    println!("{} pages, {} bytes", memory.size(), memory.data_size());
    println!("too much: {}", memory.grow(100).is_err());
    let unaligned = main.get_typed_func::<(), i32>(&mut store, "unaligned")?;
    println!(
        "{:?}",
        unaligned
            .call(&mut store, ())
            .unwrap_err()
            .downcast_ref::<Trap>()
    );
    println!(
        "not shared: {}",
        SharedMemory::new(&engine, MemoryType::new(1, Some(2))).is_err()
    );
    Ok(())
}
