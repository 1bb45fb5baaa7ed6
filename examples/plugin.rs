//! A host of plug-ins that it does not trust: each call has a deadline; a plug-in that misses it is killed, reset and used again.
//!
//! ```sh
//! cargo run --example plugin
//! ```

use cowling::{
    Engine, Guest, GuestError, Linker, Module, Region, Result, RunResult, TerminationDetails, Val,
    ensure,
};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(20);

// ANCHOR: guest
/// Counts its calls in a global and returns the sum of the numbers up to its argument. Negative numbers send it into a loop
/// without an end, zero makes it divide by zero.
const PLUGIN: &str = r#"(module
    (memory (export "memory") 1)
    (global $calls (mut i64) (i64.const 0))
    (func (export "sum") (param $n i64) (result i64 i64)
        (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
        (loop $forever (br_if $forever (i64.lt_s (local.get $n) (i64.const 0))))
        (drop (i64.div_u (i64.const 1) (local.get $n)))
        (i64.div_u (i64.mul (local.get $n) (i64.add (local.get $n) (i64.const 1))) (i64.const 2))
        (global.get $calls)))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, PLUGIN)?;
    // ANCHOR: build
    let pre = Linker::new(&engine).instantiate_pre(&module)?;
    let region = Region::builder().slots(1).build()?;
    let mut plugin = region.guest(&pre, ()).build()?;
    // ANCHOR_END: build

    let mut killed = 0;
    for n in [10, 100, -1, 1000, 0, 1001, -7, 4] {
        let start = Instant::now();
        // ANCHOR: outcomes
        match call(&mut plugin, n) {
            Ok((sum, calls)) => println!("sum({n}) = {sum}, its call number {calls}"),
            Err(GuestError::Faulted(fault)) => {
                println!("sum({n}) trapped: {}; it can be called again", fault.trap());
            }
            Err(GuestError::Terminated(TerminationDetails::Deadline)) => {
                println!(
                    "sum({n}) took too long: killed after {:.0?}, reset",
                    start.elapsed()
                );
                ensure!(start.elapsed() >= PATIENCE, "it was killed too early");
                plugin.reset()?;
                killed += 1;
            }
            Err(error) => return Err(error.into()),
        }
        // ANCHOR_END: outcomes
    }
    ensure!(killed == 2, "{killed} calls were killed, not 2");
    Ok(())
}

// ANCHOR: call
fn call(plugin: &mut Guest<()>, n: i64) -> Result<(i64, i64), GuestError> {
    let result = plugin.run_for(PATIENCE, "sum", &[Val::I64(n)])?;
    Ok(match result {
        RunResult::Returned(results) => (results[0].unwrap_i64(), results[1].unwrap_i64()),
        other => unreachable!("nothing suspends this guest: {other:?}"),
    })
}
// ANCHOR_END: call
