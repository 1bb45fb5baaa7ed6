//! Another thread ends a guest, or makes it give way.
//!
//! ```sh
//! cargo run --example kill
//! ```

use cowling::{
    Caller, Engine, GuestError, Instance, KillError, KillSuccess, Linker, Module, Region, Result,
    RunResult, Store, Terminated, bail, ensure,
};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

// ANCHOR: guest
/// Says that it has begun, and then counts in its memory, for ever.
const GUEST: &str = r#"(module
    (import "host" "begun" (func $begun))
    (memory (export "memory") 1)
    (func (export "count")
        (call $begun)
        (loop
            (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
            (br 0))))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    // The guest and the other thread meet here.
    let begun = Arc::new(Barrier::new(2));
    linker.func_wrap("host", "begun", |caller: Caller<'_, Arc<Barrier>>| {
        caller.data().wait();
    })?;

    // ANCHOR: kill
    let mut store = Store::new(&engine, begun.clone());
    let instance: Instance = linker.instantiate(&mut store, &module)?;
    let count = instance.get_typed_func::<(), ()>(&mut store, "count")?;
    let switch = store.kill_switch();
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            begun.wait();
            switch.terminate()
        });
        let error = count.call(&mut store, ()).unwrap_err();
        println!("the call fails: {:?}", error.downcast_ref::<Terminated>());
        let killed = killer.join().expect("it does not panic");
        ensure!(
            matches!(killed, Ok(KillSuccess::Signalled | KillSuccess::Pending)),
            "{killed:?}"
        );
        Ok(())
    })?;
    println!("after the call: {:?}", switch.terminate());
    // ANCHOR_END: kill

    // ANCHOR: preempt
    let region = Region::builder().slots(1).build()?;
    let pre = linker.instantiate_pre(&module)?;
    let mut guest = region.guest(&pre, begun.clone()).build()?;
    let preempter = guest.preempter();
    let counted = thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            preempter.preempt()
        });
        let result = guest.run("count", &[])?;
        ensure!(matches!(result, RunResult::Preempted), "{result:?}");
        Ok(number(guest.heap()))
    })?;
    println!("preempted, in state {:?}", guest.state());
    // ANCHOR_END: preempt

    // ANCHOR: quantum
    guest.set_quantum(Some(Duration::from_millis(5)))?;
    let result = guest.resume()?;
    ensure!(matches!(result, RunResult::Preempted), "{result:?}");
    println!(
        "resumed, it has counted on: {}",
        number(guest.heap()) > counted
    );
    // ANCHOR_END: quantum

    // ANCHOR: reset
    let switch = guest.kill_switch();
    println!("a guest that waits: {:?}", switch.terminate());
    match guest.resume() {
        Err(GuestError::Terminated(details)) => println!("resumed, it ends: {details}"),
        other => bail!("{other:?}"),
    }
    guest.reset()?;
    println!("reset: {:?}, {}", guest.state(), number(guest.heap()));
    ensure!(
        matches!(switch.terminate(), Err(KillError::Invalid)),
        "a switch is for one run"
    );
    // ANCHOR_END: reset
    Ok(())
}

/// The number at the beginning of a memory.
fn number(memory: &[u8]) -> u64 {
    memory
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
