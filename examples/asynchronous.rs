//! Guests that wait for the host without blocking its thread.
//!
//! ```sh
//! cargo run --example asynchronous
//! ```

use cowling::{Caller, CannotSuspend, Engine, InstancePre, Linker, Module, Result, Store};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

// ANCHOR: guest
/// Fetches three numbers, one after the other, and adds them up. It does not know that it waits.
const GUEST: &str = r#"(module
    (import "net" "fetch" (func $fetch (param i32) (result i32)))
    (func (export "run") (result i32)
        (i32.add (call $fetch (i32.const 1))
            (i32.add (call $fetch (i32.const 2)) (call $fetch (i32.const 3)))))
    (func (export "spin") (loop (br 0))))"#;
// ANCHOR_END: guest

// ANCHOR: host
/// What a guest has: a network of some speed.
struct Net {
    latency: Duration,
    fetched: u32,
}

/// Requests under way, and the most that there were at a time.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
static AT_ONCE: AtomicUsize = AtomicUsize::new(0);

/// What the guest calls: to it, a function like any other.
async fn fetch(mut caller: Caller<'_, Net>, key: i32) -> i32 {
    let under_way = UNDER_WAY.fetch_add(1, Ordering::Relaxed) + 1;
    AT_ONCE.fetch_max(under_way, Ordering::Relaxed);
    tokio::time::sleep(caller.data().latency).await;
    UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    caller.data_mut().fetched += 1;
    key * 10
}
// ANCHOR_END: host

// ANCHOR: run
/// One guest, from its beginning to its end.
async fn run(pre: &InstancePre<Net>, latency: Duration) -> Result<i32> {
    let mut store = Store::new(
        pre.module().engine(),
        Net {
            latency,
            fetched: 0,
        },
    );
    let instance = pre.instantiate_async(&mut store).await?;
    let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    let sum = run.call_async(&mut store, ()).await?;
    assert_eq!(store.data().fetched, 3);
    Ok(sum)
}
// ANCHOR_END: run

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    // ANCHOR: link
    linker.func_wrap_async("net", "fetch", |caller: Caller<'_, Net>, (key,): (i32,)| {
        Box::new(fetch(caller, key))
    })?;
    // ANCHOR_END: link
    let pre = linker.instantiate_pre(&module)?;

    // ANCHOR: join
    let latency = Duration::from_millis(20);
    let (a, b) = tokio::join!(run(&pre, latency), run(&pre, latency));
    let at_once = AT_ONCE.load(Ordering::Relaxed);
    println!(
        "two guests on one thread: {} and {}, with {at_once} requests at once",
        a?, b?
    );
    // ANCHOR_END: join

    // ANCHOR: timeout
    let latency = Duration::from_secs(3600);
    let mut store = Store::new(
        &engine,
        Net {
            latency,
            fetched: 0,
        },
    );
    let instance = pre.instantiate_async(&mut store).await?;
    let call = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    let patience = Duration::from_millis(20);
    match tokio::time::timeout(patience, call.call_async(&mut store, ())).await {
        Ok(sum) => println!("that was quick: {}", sum?),
        Err(_) => println!("a guest waits for too long and is cancelled"),
    }
    store.data_mut().latency = Duration::ZERO;
    println!(
        "its store is good for another call: {}",
        call.call_async(&mut store, ()).await?
    );
    // ANCHOR_END: timeout

    // ANCHOR: quantum
    store.set_async_quantum(Duration::from_millis(1))?;
    let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
    tokio::select! {
        _ = spin.call_async(&mut store, ()) => println!("a loop without an end has ended"),
        () = tokio::time::sleep(patience) => println!("others run beside a loop without an end"),
    }
    // ANCHOR_END: quantum

    // ANCHOR: plain
    let error = call.call(&mut store, ()).unwrap_err();
    println!("called plainly: {}", error.root_cause());
    println!("that is CannotSuspend: {}", error.is::<CannotSuspend>());
    // ANCHOR_END: plain
    Ok(())
}
