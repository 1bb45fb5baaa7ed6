//! A profile of a guest: in which functions it spends its time.
//!
//! ```sh
//! cargo run --example profiler                  # says what is in the profile
//! cargo run --example profiler -- profile.json  # writes it; open it at https://profiler.firefox.com
//! ```

use cowling::{Engine, GuestProfiler, Instance, Module, Result, Store, UpdateDeadline};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

// ANCHOR: guest
/// Two functions, one of which takes its time.
const GUEST: &str = r#"(module $worker
    (func $slow (param $n i32)
        (loop $next (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func $fast (call $slow (i32.const 1)))
    (func (export "run") (param $rounds i32)
        (loop $next
            (call $fast)
            (call $slow (i32.const 1000000))
            (br_if $next (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))"#;
// ANCHOR_END: guest

const TICK: Duration = Duration::from_millis(2);

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;

    // ANCHOR: profiler
    let modules = [("worker".to_string(), module.clone())];
    let profiler = GuestProfiler::new(&engine, "worker", TICK, modules)?;
    let mut store = Store::new(&engine, Some(profiler));
    // ANCHOR_END: profiler

    // ANCHOR: sample
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        // Taken out, as it looks at the store that it is in.
        if let Some(mut profiler) = store.data_mut().take() {
            profiler.sample(&store, TICK);
            *store.data_mut() = Some(profiler);
        }
        Ok(UpdateDeadline::Continue(1))
    });
    store.call_hook(|mut store, kind| {
        if let Some(mut profiler) = store.data_mut().take() {
            profiler.call_hook(&store, kind);
            *store.data_mut() = Some(profiler);
        }
        Ok(())
    });
    // ANCHOR_END: sample

    // ANCHOR: run
    let instance = Instance::new(&mut store, &module, &[])?;
    let run = instance.get_typed_func::<i32, ()>(&mut store, "run")?;
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        });
        let result = run.call(&mut store, 300);
        running.store(false, Ordering::Relaxed);
        result
    })?;
    // ANCHOR_END: run

    // ANCHOR: finish
    let mut profile = Vec::new();
    if let Some(profiler) = store.data_mut().take() {
        profiler.finish(&mut profile)?;
    }
    let text = String::from_utf8(profile)?;
    println!(
        "the slow function is in the profile: {}",
        text.contains("slow")
    );
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(&file, text)?;
        println!("{file} is written");
    }
    // ANCHOR_END: finish
    Ok(())
}
