//! Watching every transition between host and guest.
//!
//! ```sh
//! cargo run --example call_hooks
//! ```

use cowling::{CallHook, Caller, Engine, Linker, Module, Result, Store, bail};
use std::time::{Duration, Instant};

// ANCHOR: guest
/// Calls the host as often as it is told.
const GUEST: &str = r#"(module
    (import "host" "work" (func $work))
    (func (export "run") (param $times i32)
        (loop $again
            (call $work)
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))"#;
// ANCHOR_END: guest

// ANCHOR: meter
/// How long guests have run, and how often they have called the host.
struct Meter {
    entered: Option<Instant>,
    in_guests: Duration,
    host_calls: u32,
    allowed: u32,
}

impl Meter {
    fn transition(&mut self, hook: CallHook) -> Result<()> {
        if hook.exiting_host() {
            self.entered = Some(Instant::now());
        } else if let Some(entered) = self.entered.take() {
            self.in_guests += entered.elapsed();
        }
        if hook == CallHook::CallingHost {
            self.host_calls += 1;
            if self.host_calls > self.allowed {
                bail!("the guest may call the host {} times", self.allowed);
            }
        }
        Ok(())
    }
}
// ANCHOR_END: meter

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "work", |_: Caller<'_, Meter>| {
        std::thread::sleep(Duration::from_millis(5));
    })?;

    // ANCHOR: hook
    let meter = Meter {
        entered: None,
        in_guests: Duration::ZERO,
        host_calls: 0,
        allowed: 5,
    };
    let mut store = Store::new(&engine, meter);
    store.call_hook(|mut store, hook| store.data_mut().transition(hook));
    // ANCHOR_END: hook

    // ANCHOR: run
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<i32, ()>(&mut store, "run")?;
    let start = Instant::now();
    run.call(&mut store, 4)?;
    let elapsed = start.elapsed();
    let in_guests = store.data().in_guests;
    println!(
        "the guest has called the host {} times",
        store.data().host_calls
    );
    println!(
        "at least 20 ms of its time went elsewhere: {}",
        elapsed - in_guests >= Duration::from_millis(20)
    );
    // ANCHOR_END: run

    // ANCHOR: refuse
    let error = run.call(&mut store, 4).unwrap_err();
    println!("calls 5 to 8: {}", error.root_cause());
    // ANCHOR_END: refuse
    Ok(())
}
