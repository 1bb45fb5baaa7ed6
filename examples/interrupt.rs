//! Deadlines and epochs: guests that do not stop are stopped.
//!
//! ```sh
//! cargo run --example interrupt
//! ```

use cowling::{Engine, Instance, Module, Result, Store, Terminated, Trap, UpdateDeadline};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

// ANCHOR: guest
/// Counts in its memory, for ever. Nothing in its code helps to stop it.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "count")
        (loop
            (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
            (br 0))))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;

    // ANCHOR: timeout
    let mut store = Store::new(&engine, 0_u32);
    let instance = Instance::new(&mut store, &module, &[])?;
    let count = instance.get_typed_func::<(), ()>(&mut store, "count")?;
    store.set_timeout(Duration::from_millis(20))?;
    let error = count.call(&mut store, ()).unwrap_err();
    println!("trap: {:?}", error.downcast_ref::<Trap>());
    println!("why: {:?}", error.downcast_ref::<Terminated>());
    let memory = instance
        .get_memory(&mut store, "memory")
        .expect("it is exported");
    println!(
        "the guest has counted: {}",
        memory.data(&store)[..8] != [0; 8]
    );
    store.set_deadline(None)?;
    // ANCHOR_END: timeout

    let ticking = AtomicBool::new(true);
    thread::scope(|scope| {
        // ANCHOR: ticker
        scope.spawn(|| {
            while ticking.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
                engine.increment_epoch();
            }
        });
        // ANCHOR_END: ticker
        let result = epochs(&mut store, &instance);
        ticking.store(false, Ordering::Relaxed);
        result
    })
}

fn epochs(store: &mut Store<u32>, instance: &Instance) -> Result<()> {
    let count = instance.get_typed_func::<(), ()>(&mut *store, "count")?;
    // ANCHOR: epoch
    store.set_epoch_deadline(2);
    store.epoch_deadline_trap();
    let error = count.call(&mut *store, ()).unwrap_err();
    println!("after two epochs: {:?}", error.downcast_ref::<Trap>());
    // ANCHOR_END: epoch

    // ANCHOR: callback
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        *store.data_mut() += 1;
        Ok(match *store.data() {
            3 => UpdateDeadline::Interrupt,
            _ => UpdateDeadline::Continue(1),
        })
    });
    let error = count.call(&mut *store, ()).unwrap_err();
    println!(
        "the callback was asked {} times: {:?}",
        store.data(),
        error.downcast_ref::<Trap>()
    );
    // ANCHOR_END: callback
    Ok(())
}
