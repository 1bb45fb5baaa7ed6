//! Guests that wait in a shared memory and are interrupted meanwhile.

use crate::executor::poll_once;
use cowling::*;
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

const GUEST: &str = r#"(module (memory (import "" "") 1 1 shared)
    (func (export "wait") (param i64) (result i32)
        (memory.atomic.wait32 (i32.const 0) (i32.const 0) (local.get 0))))"#;

fn guest() -> (SharedMemory, Store<()>, TypedFunc<i64, i32>) {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
    let wait = instance.get_typed_func(&mut store, "wait").unwrap();
    (memory, store, wait)
}

#[test]
fn a_guest_that_waits_lets_the_executor_run_and_still_waits_afterwards() {
    let (memory, mut store, wait) = guest();
    store.set_async_quantum(Duration::from_millis(1)).unwrap();
    let mut call = pin!(wait.call_async(&mut store, -1));
    for _ in 0..3 {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    // It is woken while it is not even running.
    assert_eq!(memory.atomic_notify(0, u32::MAX).unwrap(), 1);
    let woken = loop {
        if let Poll::Ready(result) = poll_once(call.as_mut()) {
            break result.unwrap();
        }
    };
    assert_eq!(woken, 0);
}

#[test]
fn an_epoch_reaches_a_guest_that_waits() {
    let (memory, mut store, wait) = guest();
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let engine = store.engine().clone();
    let mut call = pin!(wait.call_async(&mut store, -1));
    for _ in 0..3 {
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(2));
                engine.increment_epoch();
            });
            assert!(poll_once(call.as_mut()).is_pending());
        });
    }
    assert_eq!(memory.atomic_notify(0, 1).unwrap(), 1);
    assert!(matches!(poll_once(call.as_mut()), Poll::Ready(Ok(0))));
}

#[test]
fn dropping_the_call_of_a_guest_that_waits_takes_it_out_of_its_queue() {
    let (memory, mut store, wait) = guest();
    store.set_async_quantum(Duration::from_millis(1)).unwrap();
    {
        let mut call = pin!(wait.call_async(&mut store, -1));
        assert!(poll_once(call.as_mut()).is_pending());
    }
    assert_eq!(memory.atomic_notify(0, u32::MAX).unwrap(), 0);
    // The store is as usable as after any other call that was cancelled; time goes on for a wait that is suspended.
    let mut call = pin!(wait.call_async(&mut store, 5_000_000));
    let result = loop {
        if let Poll::Ready(result) = poll_once(call.as_mut()) {
            break result.unwrap();
        }
    };
    assert_eq!(result, 2);
}
