//! What went wrong: traps, backtraces, and errors that host functions return.
//!
//! ```sh
//! cargo run --example errors
//! ```

use cowling::{Engine, Error, Instance, Linker, Module, Result, Store, Trap, WasmBacktrace};

// ANCHOR: guest
/// Parses a number and divides by it; everything that can go wrong there does.
const GUEST: &str = r#"(module $calculator
    (import "host" "parse" (func $parse (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func $evaluate (param i32) (result i32) (call $divide (i32.const 100) (call $parse (local.get 0))))
    (func $run (export "run") (param i32) (result i32) (call $evaluate (local.get 0))))"#;
// ANCHOR_END: guest

// ANCHOR: host_error
/// An error of the embedder's own.
#[derive(Debug, PartialEq)]
struct NotANumber(i32);

impl std::fmt::Display for NotANumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "input {} is not a number", self.0)
    }
}

impl std::error::Error for NotANumber {}

fn parse(input: i32) -> Result<i32> {
    match input {
        0..10 => Ok(input),
        _ => Err(NotANumber(input).into()),
    }
}
// ANCHOR_END: host_error

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "parse", parse)?;
    let mut store = Store::new(&engine, ());
    let instance: Instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;

    for input in [5, 0, 12] {
        match run.call(&mut store, input) {
            Ok(result) => println!("run({input}) = {result}"),
            Err(error) => explain(input, &error),
        }
    }

    // ANCHOR: print
    let error = run.call(&mut store, 0).unwrap_err();
    println!("\nthe whole error, as `{{:?}}` prints it:\n{error:?}");
    // ANCHOR_END: print

    // ANCHOR: compile
    let error = Module::new(&engine, "(module (func (result i32) (i64.const 1)))").unwrap_err();
    println!("\nnot valid: {error:#}");
    let error = Module::new(&engine, "(module (func (call $nobody)))").unwrap_err();
    println!("\nnot even text: {error:#}");
    // ANCHOR_END: compile
    Ok(())
}

// ANCHOR: explain
fn explain(input: i32, error: &Error) {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        println!("run({input}) trapped: {trap}");
        if *trap == Trap::IntegerDivisionByZero {
            println!("  that was a division by zero");
        }
    } else if let Some(not_a_number) = error.downcast_ref::<NotANumber>() {
        println!("run({input}) failed in the host: {not_a_number}");
    }
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        for frame in backtrace.frames() {
            println!(
                "  in {}, function {} of {}",
                frame.func_name().unwrap_or("a function without a name"),
                frame.func_index(),
                frame.module_name().unwrap_or("a module without a name"),
            );
        }
    }
}
// ANCHOR_END: explain
