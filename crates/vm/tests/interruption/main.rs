//! Guests that are ended and stopped from outside. Races are forced: [`Gate`](cowling_vm::test_points::Gate) stops a thread at a
//! named point while another one asks.

mod clocks;
mod kill;
mod preempt;
mod signals;
mod stress;

#[path = "../runtime/engine.rs"]
#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod engine;

use cowling_vm::test_points::{Gate, Point};
use cowling_vm::*;
use engine::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the tests' guests do.
pub(crate) const TEXT: &str = r#"(module
    (import "" "host" (func $host (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $entered (export "entered") (mut i32) (i32.const 0))
    (func (export "spin") (result i32)
        (global.set $entered (i32.const 1))
        (loop (br 0)) (unreachable))
    (func (export "seven") (result i32)
        (global.set $entered (i32.const 1))
        (i32.const 7))
    (func (export "trap") (result i32) (unreachable))
    (func (export "host") (result i32) (call $host (i32.const 1)))
    (func (export "host_then_spin") (result i32)
        (drop (call $host (i32.const 1)))
        (loop (br 0)) (unreachable))
    (func (export "hosts_for_ever") (result i32)
        (loop (drop (call $host (i32.const 1))) (br 0)) (unreachable)))"#;

pub(crate) struct Data {
    pub(crate) instance: Option<InstanceHandle>,
}

/// A store with an instance of [`TEXT`].
pub(crate) struct Guest {
    pub(crate) store: Store<Data>,
    pub(crate) instance: InstanceHandle,
    pub(crate) control: Arc<Control>,
}

impl Guest {
    pub(crate) fn new(
        body: impl Fn(HostCaller<'_, Data>, i32) -> Result<i32> + Send + Sync + 'static,
    ) -> Guest {
        let mut store = store(Data { instance: None });
        let host = host(move |caller: HostCaller<'_, Data>, n: i32| body(caller, n));
        let instance = instantiate(&mut store, TEXT, &[host]);
        store.data_mut().instance = Some(instance);
        let control = store.as_ref().inner().control();
        Guest {
            store,
            instance,
            control,
        }
    }

    /// A guest whose host function just returns.
    pub(crate) fn plain() -> Guest {
        Guest::new(|_, n| Ok(n))
    }

    pub(crate) fn call(&mut self, name: &str) -> Result<i32> {
        call::<_, (), i32>(&mut self.store, self.instance, name, ())
    }

    pub(crate) fn start(&mut self, name: &str) -> Result<Progress> {
        let func = func(&mut self.store, self.instance, name);
        self.store.as_mut().start(func, &[])
    }

    /// Starts a function, and resumes it as often as it is suspended.
    pub(crate) fn run_to_end(&mut self, name: &str) -> Result<i32> {
        let mut progress = self.start(name)?;
        while let Progress::Suspended(_) = progress {
            progress = self.store.as_mut().resume(None)?;
        }
        self.take()
    }

    pub(crate) fn take(&mut self) -> Result<i32> {
        let mut results = [Value::I32(0)];
        self.store.as_mut().take_results(&mut results)?;
        match results {
            [Value::I32(result)] => Ok(result),
            other => panic!("{other:?}"),
        }
    }

    /// The store still works.
    #[track_caller]
    pub(crate) fn assert_usable(&mut self) {
        assert_eq!(self.call("seven").unwrap(), 7);
        assert_eq!(self.run_to_end("seven").unwrap(), 7);
    }
}

/// Calls a function in another thread, which gives the guest back.
pub(crate) fn call_in_thread(
    mut guest: Guest,
    name: &'static str,
) -> JoinHandle<(Guest, Result<i32>)> {
    std::thread::spawn(move || {
        let result = guest.call(name);
        (guest, result)
    })
}

/// Lets the guest run until it is about to be in its code.
pub(crate) fn until_entered(gate: Gate) {
    gate.wait_reached();
    drop(gate);
}

pub(crate) fn gate(point: Point, guest: &Guest) -> Gate {
    Gate::arm(point, &guest.control)
}

/// The reason for which an execution was ended.
#[track_caller]
pub(crate) fn terminated<R: std::fmt::Debug>(result: Result<R>) -> Terminated {
    let error = result.expect_err("to be terminated");
    assert_eq!(
        error.downcast_ref::<cowling_abi::Trap>(),
        Some(&cowling_abi::Trap::Interrupt),
        "{error:?}"
    );
    match error.downcast_ref::<Terminated>() {
        Some(why) => *why,
        None => panic!("another error: {error:?}"),
    }
}

/// A host function that says when it has begun and waits until it may return.
pub(crate) struct Blocking {
    pub(crate) begun: Receiver<()>,
    pub(crate) go_on: Sender<()>,
}

pub(crate) fn blocking() -> (Blocking, impl Fn() + Send + Sync + 'static) {
    let (began, begun) = channel();
    let (go_on, may_go_on) = channel();
    let (began, may_go_on) = (Mutex::new(began), Mutex::new(may_go_on));
    let wait = move || {
        began.lock().unwrap().send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
    };
    (Blocking { begun, go_on }, wait)
}
