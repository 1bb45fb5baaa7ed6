//! Suspending a guest and resuming it.

use super::Group;
use crate::engines::{cowling, failed, wasmtime};
use crate::lab::Lab;
use crate::measure::{Case, Run, Table, Target, timed};
use anyhow::Result;
use cowling_bench_harness::guests;

pub const GROUP: Group = Group {
    name: "suspend",
    about: "What it costs to suspend a guest inside a host function and to resume it.",
    tables,
};

/// How often the guest calls the host in one call of ours: so often that entering it does not count.
const CALLS: i32 = 1000;

fn tables(_: &Lab) -> Result<Vec<Table>> {
    Ok(vec![yielding(), awaiting()])
}

macro_rules! await_case {
    ($engine:ident) => {
        Case::prepared($engine::NAME, "asynchronous host function", || {
            let mut guest = $engine::awaiting()?;
            let calls = guest.func("calls")?;
            Ok(timed(CALLS as u64, move || {
                $engine::block_on(calls.call_async(&mut guest.store, CALLS)).map_err(failed)?;
                Ok(())
            }))
        })
    };
}

/// A host function that yields nothing and expects nothing: yield, resume.
fn yielding() -> Table {
    let case = Case::prepared(cowling::NAME, "yield and resume", prepare_yielding);
    Table::new(
        "A host function that yields",
        "yield and resumption",
        vec![case.target(Target::Nanoseconds(15.0))],
    )
}

fn prepare_yielding() -> Result<Run> {
    use ::cowling::{Caller, Engine, Linker, Module, Region, RunResult};

    let engine = Engine::default();
    let module = Module::new(&engine, guests::WORK)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "call",
        |mut caller: Caller<'_, ()>, x: i32| -> ::cowling::Result<i32> {
            caller.yield_()?;
            Ok(x)
        },
    )?;
    let region = Region::builder().build()?;
    let mut guest = region
        .guest(&linker.instantiate_pre(&module)?, ())
        .build()?;
    Ok(timed(CALLS as u64, move || {
        let mut progress = guest.run("calls", &[CALLS.into()])?;
        while let RunResult::Yielded(_) = progress {
            progress = guest.resume()?;
        }
        Ok(())
    }))
}

/// An asynchronous host function that is pending once: call, suspend, resume, return.
fn awaiting() -> Table {
    Table::new(
        "An asynchronous host function that has to wait",
        "call",
        vec![
            await_case!(cowling)
                .compared_with(1)
                .target(Target::Nanoseconds(25.0)),
            await_case!(wasmtime),
        ],
    )
}
