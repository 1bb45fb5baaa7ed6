//! Tracing and billing at the boundary: a hook runs whenever guest and host call each other.

use std::time::{Duration, Instant};
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "host" "log" (func $log (param i32)))
  (import "host" "twice" (func $twice (param i32) (result i32)))
  (func (export "leaf") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "run") (param i32) (result i32)
    (call $log (local.get 0))
    (call $twice (local.get 0)))
  (func (export "trap") unreachable))
"#;

/// Time in guest code, without that of the host functions it calls.
#[derive(Default)]
struct Bill {
    since: Option<Instant>,
    guest: Duration,
    events: Vec<CallHook>,
    budget: Option<usize>,
}

impl Bill {
    fn note(&mut self, event: CallHook) -> Result<()> {
        match event {
            CallHook::CallingWasm | CallHook::ReturningFromHost => {
                self.since = Some(Instant::now())
            }
            CallHook::ReturningFromWasm | CallHook::CallingHost => {
                self.guest += self
                    .since
                    .take()
                    .map_or(Duration::ZERO, |since| since.elapsed());
            }
        }
        self.events.push(event);
        match self.budget {
            Some(budget) if self.events.len() > budget => bail!("more than {budget} events"),
            _ => Ok(()),
        }
    }

    fn show(&mut self) -> String {
        let letters = self.events.drain(..).map(|event| match event {
            CallHook::CallingWasm => '>',
            CallHook::ReturningFromWasm => '<',
            CallHook::CallingHost => '(',
            CallHook::ReturningFromHost => ')',
        });
        letters.collect()
    }
}

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::<Bill>::new(&engine);
    linker.func_wrap("host", "log", |number: i32| -> Result<()> {
        ensure!(number >= 0, "negative");
        Ok(())
    })?;
    linker.func_wrap(
        "host",
        "twice",
        |mut caller: Caller<'_, Bill>, number: i32| -> Result<i32> {
            let leaf = caller
                .get_export("leaf")
                .and_then(Extern::into_func)
                .unwrap();
            let leaf = leaf.typed::<i32, i32>(&caller)?;
            let once = leaf.call(&mut caller, number)?;
            leaf.call(&mut caller, once)
        },
    )?;
    let mut store = Store::new(&engine, Bill::default());
    let instance = linker.instantiate(&mut store, &module)?;
    let leaf = instance.get_typed_func::<i32, i32>(&mut store, "leaf")?;
    println!(
        "without a hook: {} {:?}",
        leaf.call(&mut store, 1)?,
        store.data_mut().show()
    );

    store.call_hook(|mut store, event| store.data_mut().note(event));
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
    println!(
        "leaf: {} {}",
        leaf.call(&mut store, 1)?,
        store.data_mut().show()
    );
    println!(
        "run: {} {}",
        run.call(&mut store, 5)?,
        store.data_mut().show()
    );
    let mut results = [Val::I32(0)];
    run.func().call(&mut store, &[Val::I32(7)], &mut results)?;
    println!(
        "untyped: {} {}",
        results[0].unwrap_i32(),
        store.data_mut().show()
    );
    println!("time was taken: {}", store.data().guest > Duration::ZERO);

    // Errors and traps are returns like others.
    println!(
        "{} {}",
        run.call(&mut store, -1).unwrap_err().root_cause(),
        store.data_mut().show()
    );
    let trap = instance.get_typed_func::<(), ()>(&mut store, "trap")?;
    println!(
        "{:?} {}",
        trap.call(&mut store, ())
            .unwrap_err()
            .downcast_ref::<Trap>(),
        store.data_mut().show()
    );

    // A hook that says no.
    for budget in 0..4 {
        store.data_mut().budget = Some(budget);
        let result = run
            .call(&mut store, 5)
            .map_err(|error| error.root_cause().to_string());
        store.data_mut().budget = None;
        let count = store.data().events.len();
        println!("budget {budget}: {result:?} after {}", count > budget);
        store.data_mut().events.clear();
    }

    // Instantiation is a call only if there is a start function.
    let start = Module::new(&engine, "(module (func $start) (start $start))")?;
    linker.instantiate(&mut store, &start)?;
    println!("start: {}", store.data_mut().show());
    linker.instantiate(&mut store, &module)?;
    println!("none: {:?}", store.data_mut().show());
    println!(
        "{} {}",
        CallHook::CallingHost.entering_host(),
        CallHook::CallingWasm.exiting_host()
    );
    Ok(())
}
