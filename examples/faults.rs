//! A guest's life: contexts, faults that the host looks into, and one that it repairs.
//!
//! ```sh
//! cargo run --example faults
//! ```

use cowling::{
    Caller, Contexts, Engine, FaultAction, Guest, GuestError, Linker, Module, Region, Result,
    RunResult, Val, format_err,
};

// ANCHOR: guest
/// Writes into its memory wherever it is told, and logs.
const GUEST: &str = r#"(module $writer
    (import "host" "log" (func $log (param i32)))
    (memory (export "memory") 1 10)
    (global $writes (export "writes") (mut i32) (i32.const 0))
    (func $write (export "write") (param $at i32) (result i32)
        (global.set $writes (i32.add (global.get $writes) (i32.const 1)))
        (i32.store (local.get $at) (global.get $writes))
        (call $log (local.get $at))
        (global.get $writes)))"#;
// ANCHOR_END: guest

// ANCHOR: contexts
/// What a guest has logged.
#[derive(Default)]
struct Log(Vec<i32>);

fn log(mut caller: Caller<'_, ()>, at: i32) -> Result<()> {
    caller.contexts().get_mut::<Log>()?.0.push(at);
    Ok(())
}
// ANCHOR_END: contexts

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "log", log)?;
    let pre = linker.instantiate_pre(&module)?;

    // ANCHOR: build
    let region = Region::builder().slots(2).memory(1 << 20).build()?;
    let mut guest = region
        .guest(&pre, ())
        .with_context(Log::default())
        .build()?;
    println!("write(100) returned {}", write(&mut guest, 100)?);
    println!(
        "{} bytes of memory, of which one is {}",
        guest.heap().len(),
        guest.heap()[100]
    );
    // ANCHOR_END: build

    // ANCHOR: fault
    match write(&mut guest, 100_000) {
        Err(GuestError::Faulted(fault)) => {
            println!("it faulted: {}", fault.trap());
            if let Some(memory) = fault.memory() {
                println!(
                    "  at {} of a memory of {} bytes",
                    memory.offset(),
                    memory.size()
                );
            }
            println!(
                "  in {:?}",
                fault.symbol().and_then(|frame| frame.func_name())
            );
        }
        other => return Err(format_err!("it should have faulted: {other:?}")),
    }
    println!(
        "its state: {:?}, its globals: {:?}",
        guest.state(),
        guest.globals()
    );
    // ANCHOR_END: fault

    // ANCHOR: handler
    guest.set_fault_handler(|mut caller, fault| {
        let Some(memory) = fault.memory() else {
            return FaultAction::Default;
        };
        let missing = memory.offset().saturating_sub(memory.size()) / 65536 + 1;
        match caller.grow_memory(missing) {
            Ok(_) => FaultAction::Continue,
            Err(_) => FaultAction::Terminate(Box::new("it wants too much")),
        }
    })?;
    println!("write(100000) returned {}", write(&mut guest, 100_000)?);
    println!("{} bytes of memory", guest.heap().len());
    // ANCHOR_END: handler

    // ANCHOR: terminated
    match write(&mut guest, 100_000_000) {
        Err(GuestError::Terminated(details)) => println!("it was terminated: {details}"),
        other => return Err(format_err!("it should have been terminated: {other:?}")),
    }
    println!("once more: {}", write(&mut guest, 0).unwrap_err());
    // ANCHOR_END: terminated

    // ANCHOR: reset
    guest.reset()?;
    println!(
        "reset: {} bytes, globals {:?}",
        guest.heap().len(),
        guest.globals()
    );
    println!("write(200) returned {}", write(&mut guest, 200)?);
    let contexts: &mut Contexts = guest.contexts();
    println!("its log: {:?}", contexts.get::<Log>()?.0);
    // ANCHOR_END: reset
    Ok(())
}

fn write(guest: &mut Guest<()>, at: i32) -> Result<i32, GuestError> {
    match guest.run("write", &[Val::I32(at)])? {
        RunResult::Returned(results) => Ok(results[0].unwrap_i32()),
        other => unreachable!("nothing suspends this guest: {other:?}"),
    }
}
