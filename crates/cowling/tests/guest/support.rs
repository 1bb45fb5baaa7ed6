//! What the tests share.

use cowling::{
    Caller, Config, Engine, Guest, GuestError, Linker, Module, Region, Result, RunResult,
    TerminationDetails, Val,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A region with room for a few guests.
pub(crate) fn region() -> Region {
    Region::builder().slots(8).build().unwrap()
}

/// A guest of its own engine and region, with host functions.
pub(crate) fn guest_with<T: Default + 'static>(
    wat: &str,
    define: impl FnOnce(&mut Linker<T>),
) -> Guest<T> {
    guest_of(&Engine::default(), wat, define)
}

/// A guest of an engine, in a region of its own.
pub(crate) fn guest_of<T: Default + 'static>(
    engine: &Engine,
    wat: &str,
    define: impl FnOnce(&mut Linker<T>),
) -> Guest<T> {
    let mut linker = Linker::new(engine);
    define(&mut linker);
    let module = Module::new(engine, wat).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    region().guest(&pre, T::default()).build().unwrap()
}

/// A guest without host functions.
pub(crate) fn guest(wat: &str) -> Guest<()> {
    guest_with(wat, |_| {})
}

/// An engine whose code counts what it executes.
pub(crate) fn counting_engine() -> Engine {
    let mut config = Config::new();
    config.consume_fuel(true);
    Engine::new(&config).unwrap()
}

/// What a run that must return has returned.
#[track_caller]
pub(crate) fn returned(result: Result<RunResult, GuestError>) -> Vec<Val> {
    match result {
        Ok(RunResult::Returned(values)) => values,
        other => panic!("did not return: {other:?}"),
    }
}

/// The one `i32` that a run must return.
#[track_caller]
pub(crate) fn returned_i32(result: Result<RunResult, GuestError>) -> i32 {
    match returned(result)[..] {
        [Val::I32(value)] => value,
        ref other => panic!("not one i32: {other:?}"),
    }
}

/// Asserts that a run has yielded nothing.
#[track_caller]
pub(crate) fn assert_yielded(result: Result<RunResult, GuestError>) {
    assert!(
        matches!(&result, Ok(RunResult::Yielded(value)) if value.is_none()),
        "did not yield: {result:?}"
    );
}

/// Why a run that must be terminated was.
#[track_caller]
pub(crate) fn terminated<R: std::fmt::Debug>(result: Result<R, GuestError>) -> TerminationDetails {
    match result {
        Err(GuestError::Terminated(details)) => details,
        other => panic!("was not terminated: {other:?}"),
    }
}

/// Asserts that a result is an error, of the variant that `pattern` shows, and says all of this.
#[track_caller]
pub(crate) fn assert_fails<R: std::fmt::Debug>(
    result: Result<R, GuestError>,
    variant: &str,
    says: &[&str],
) {
    let error = result.unwrap_err();
    let shown = format!("{error:?}");
    assert!(shown.starts_with(variant), "{shown} is not {variant}");
    let message = error.to_string();
    for part in says {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Counts how many of it are alive.
#[derive(Debug)]
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Defines `host.yield`, which yields nothing.
pub(crate) fn define_yield<T: 'static>(linker: &mut Linker<T>) {
    let yields = |mut caller: Caller<'_, T>| caller.yield_();
    linker.func_wrap("host", "yield", yields).unwrap();
}
