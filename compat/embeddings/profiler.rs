//! A sampling profiler for one guest, driven by epochs and call hooks, whose output the Firefox profiler shows.

use std::cell::Cell;
use std::time::Duration;
use wasmtime::error::Context as _;
use wasmtime::*;

const GUEST: &str = r#"
(module $busy
  (import "host" "tick" (func $tick))
  (func $spin (param $n i32)
    (loop $again
      (call $tick)
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func $work (call $spin (i32.const 10)))
  (func $main (export "run") (call $work) (call $work)))
"#;

struct State {
    profiler: Option<GuestProfiler>,
    samples: u32,
}

thread_local! {
    static HOOKS: Cell<u32> = const { Cell::new(0) };
}

/// Runs `with` on the profiler while the store is borrowed as well.
fn with_profiler(
    mut store: StoreContextMut<'_, State>,
    with: impl FnOnce(&mut GuestProfiler, StoreContextMut<'_, State>),
) {
    if let Some(mut profiler) = store.data_mut().profiler.take() {
        with(&mut profiler, store.as_context_mut());
        store.data_mut().profiler = Some(profiler);
    }
}

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let interval = Duration::from_millis(1);
    let modules = [("busy".to_string(), module.clone())];
    let profiler = GuestProfiler::new(&engine, "guest.wasm", interval, modules)?;
    let state = State {
        profiler: Some(profiler),
        samples: 0,
    };
    let mut store = Store::new(&engine, state);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut store| {
        store.data_mut().samples += 1;
        with_profiler(store.as_context_mut(), |profiler, store| {
            profiler.sample(store, interval)
        });
        Ok(UpdateDeadline::Continue(1))
    });
    store.call_hook(|store, kind| {
        HOOKS.set(HOOKS.get() + 1);
        with_profiler(store, |profiler, store| profiler.call_hook(store, kind));
        Ok(())
    });

    let mut linker = Linker::new(&engine);
    let clock = engine.clone();
    linker.func_wrap("host", "tick", move || clock.increment_epoch())?;
    let instance = linker.instantiate(&mut store, &module)?;
    instance
        .get_typed_func::<(), ()>(&mut store, "run")?
        .call(&mut store, ())?;
    println!(
        "hooks: {}, samples: {}",
        // Around the call, and around each of the host's functions.
        HOOKS.get() >= 2 + 2 * 20,
        // One at each loop.
        (10..=20).contains(&store.data().samples)
    );

    let profiler = store
        .data_mut()
        .profiler
        .take()
        .context("the profiler is gone")?;
    let mut json = Vec::new();
    profiler.finish(&mut json)?;
    let profile: serde_json::Value = serde_json::from_slice(&json)?;
    println!("interval {}", profile["meta"]["interval"]);
    let thread = &profile["threads"][0];
    println!(
        "process {}, thread {}",
        thread["processName"], thread["name"]
    );
    let strings = match thread["stringArray"].as_array() {
        Some(strings) => strings,
        None => profile["shared"]["stringArray"]
            .as_array()
            .context("no strings")?,
    };
    let all: Vec<&str> = strings
        .iter()
        .filter_map(|string| string.as_str())
        .collect();
    for name in ["main", "work", "spin"] {
        println!("{name}: {}", all.iter().any(|string| string.contains(name)));
    }
    println!(
        "samples: {}",
        thread["samples"]["length"].as_u64() >= Some(10)
    );
    println!(
        "markers: {}",
        thread["markers"]["length"].as_u64() > Some(0)
    );
    Ok(())
}
