//! Stopping a guest that does not stop by itself, and what it costs those that do.

use super::Group;
use crate::engines::{Metering, cowling, failed, wasmtime};
use crate::lab::Lab;
use crate::measure::{Case, Run, Table, Target, median, timed};
use anyhow::{Context, Result, bail, ensure};
use cowling_bench_harness::guests;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{self, Poll, Waker};
use std::time::{Duration, Instant};

pub const GROUP: Group = Group {
    name: "interrupt",
    about: "What deadlines, epochs, preemption and fuel cost guests that are not stopped, and how soon a guest stops that is.",
    tables,
};

fn tables(_: &Lab) -> Result<Vec<Table>> {
    Ok(vec![
        cost("A loop of 1,000,000 byte loads", "sum", 1_000_000, 1.35),
        cost("fib(25), recursive", "fib", 25, 1.05),
        kill(),
    ])
}

/// What a guest that is not stopped pays for the possibility.
fn cost(title: &str, func: &'static str, argument: i32, fuel_target: f64) -> Table {
    macro_rules! metered {
        ($engine:ident, $name:expr, $metering:ident) => {
            Case::prepared($engine::NAME, $name, move || {
                let mut guest = $engine::work(Metering::$metering)?;
                let func = guest.func(func)?;
                Ok(timed(1, move || {
                    func.call(&mut guest.store, argument).map_err(failed)?;
                    Ok(())
                }))
            })
        };
    }
    let deadline = Case::prepared(cowling::NAME, "deadline armed", move || {
        deadline(func, argument)
    });
    let quantum = Case::prepared(cowling::NAME, "preempted every 1 ms", move || {
        quantum(func, argument)
    });
    Table::new(
        title,
        "call",
        vec![
            metered!(cowling, "plain", Plain),
            deadline.compared_with(0).target(Target::Ratio(1.02)),
            quantum.compared_with(0).target(Target::Ratio(1.02)),
            metered!(cowling, "epochs", Epochs)
                .compared_with(0)
                .target(Target::Ratio(1.02)),
            metered!(cowling, "fuel", Fuel)
                .compared_with(0)
                .target(Target::Ratio(fuel_target)),
            metered!(wasmtime, "plain", Plain),
            metered!(wasmtime, "epochs", Epochs).compared_with(5),
            metered!(wasmtime, "fuel", Fuel).compared_with(5),
        ],
    )
}

/// With a deadline that does not come.
fn deadline(func: &str, argument: i32) -> Result<Run> {
    let mut guest = cowling::work(Metering::Plain)?;
    let func = guest.func(func)?;
    guest.store.set_timeout(Duration::from_secs(1 << 20))?;
    Ok(timed(1, move || {
        func.call(&mut guest.store, argument)?;
        Ok(())
    }))
}

/// As asynchronous calls that are preempted every millisecond, which is what an executor would want. They last several.
fn quantum(func: &str, argument: i32) -> Result<Run> {
    const QUANTUM: Duration = Duration::from_millis(1);
    let mut guest = cowling::work(Metering::Plain)?;
    let func = guest.func(&format!("{func} repeated"))?;
    guest.store.set_async_quantum(QUANTUM)?;
    Ok(timed(guests::REPEATED, move || {
        let start = Instant::now();
        let mut call = pin!(func.call_async(&mut guest.store, argument));
        let mut context = task::Context::from_waker(Waker::noop());
        let mut preemptions = 0;
        let result = loop {
            match call.as_mut().poll(&mut context) {
                Poll::Ready(result) => break result,
                Poll::Pending => preemptions += 1,
            }
        };
        result?;
        ensure!(
            preemptions > 0 || start.elapsed() < 20 * QUANTUM,
            "the guest was never preempted"
        );
        Ok(())
    }))
}

/// Runs a guest that spins, asks it to stop once it does, and returns how many nanoseconds later its caller knew.
///
/// `run` calls it and returns whether that ended as it should; `stop` asks.
fn stop_once(
    started: &mpsc::Receiver<()>,
    run: impl FnOnce() -> bool + Send,
    stop: impl FnOnce() -> Result<()>,
) -> Result<f64> {
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| (run(), Instant::now()));
        started.recv().context("the guest did not start")?;
        // It takes a moment from the host function to the loop.
        std::thread::sleep(Duration::from_micros(100));
        let asked = Instant::now();
        stop()?;
        match runner.join() {
            Ok((true, stopped)) => Ok(stopped.duration_since(asked).as_nanos() as f64),
            _ => bail!("the guest did not end as one that is stopped"),
        }
    })
}

/// The median of as many stops as fit into the time.
fn stops(mut stop_once: impl FnMut() -> Result<f64> + 'static) -> Run {
    Box::new(move |budget| {
        let start = Instant::now();
        let mut all = Vec::new();
        while all.is_empty() || start.elapsed() < budget {
            all.push(stop_once()?);
        }
        Ok(vec![median(all)])
    })
}

fn prepare_switch() -> Result<Run> {
    let (started, starts) = mpsc::channel();
    let running = move || started.send(()).unwrap_or_default();
    let mut guest = cowling::spinning(Metering::Plain, running)?;
    let spin = guest
        .instance
        .get_typed_func::<(), ()>(&mut guest.store, "spin")?;
    Ok(stops(move || {
        let switch = guest.store.kill_switch();
        let run = || spin.call(&mut guest.store, ()).is_err();
        stop_once(&starts, run, || Ok(switch.terminate().map(drop)?))
    }))
}

macro_rules! epoch_case {
    ($engine:ident) => {
        Case::prepared($engine::NAME, "epoch deadline", || {
            let (started, starts) = mpsc::channel();
            let running = move || started.send(()).unwrap_or_default();
            let mut guest = $engine::spinning(Metering::Epochs, running)?;
            let spin = (guest.instance)
                .get_typed_func::<(), ()>(&mut guest.store, "spin")
                .map_err(failed)?;
            Ok(stops(move || {
                guest.store.set_epoch_deadline(1);
                let engine = guest.store.engine().clone();
                let run = || spin.call(&mut guest.store, ()).is_err();
                stop_once(&starts, run, || Ok(engine.increment_epoch()))
            }))
        })
    };
}

/// How long it takes from asking that a spinning guest stops until its caller has the error.
fn kill() -> Table {
    let switch = Case::prepared(cowling::NAME, "kill switch", prepare_switch);
    Table::new(
        "From the request to stop a spinning guest to the error in its caller",
        "stop",
        vec![
            switch.target(Target::Nanoseconds(50_000.0)),
            epoch_case!(cowling),
            epoch_case!(wasmtime),
        ],
    )
}
