//! Computations driven by polling: asynchronous host functions, nested, dropped and forgotten futures.

use crate::engine::*;
use cowling_vm::*;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it woke somebody.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn poll<F: Future>(future: Pin<&mut F>, task: &Arc<Task>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(task.clone())))
}

/// Polls until it is ready; returns how often it was pending, too.
fn finish<F: Future>(mut future: Pin<&mut F>) -> (usize, F::Output) {
    let task = Arc::new(Task::default());
    for pending in 0..1000 {
        if let Poll::Ready(output) = poll(future.as_mut(), &task) {
            return (pending, output);
        }
        assert!(task.0.load(Relaxed) > pending, "nobody will wake it");
    }
    panic!("never ready")
}

/// A gate that futures wait for.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        if let Some(waker) = gate.1.take() {
            waker.wake();
        }
    }

    fn passed(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.clone();
        poll_fn(move |context| {
            let mut gate = gate.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1 = Some(context.waker().clone());
            Poll::Pending
        })
    }
}

/// Pending so many times, waking its task at once.
async fn rounds(mut count: i32) {
    poll_fn(move |context| {
        if count == 0 {
            return Poll::Ready(());
        }
        count -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Waits that many rounds and returns the number plus 1.
fn waits<T: Send + 'static>() -> ImportValue<T> {
    host(|mut caller: HostCaller<'_, T>, count: i32| {
        Ok(caller.store.await_future(|_| {
            Box::pin(async move {
                rounds(count).await;
                count + 1
            })
        })?)
    })
}

const WAITS: &str = r#"(module
    (import "" "waits" (func $waits (param i32) (result i32)))
    (func (export "f") (param i32) (result i32)
        (i32.add (call $waits (local.get 0)) (call $waits (i32.const 2)))))"#;

fn result<T>(store: &mut Store<T>) -> Value {
    let mut results = [Value::I32(0)];
    store.as_mut().take_results(&mut results).unwrap();
    results[0]
}

#[test]
fn a_pending_host_function_makes_the_call_pending() {
    let mut s = store(());
    let instance = instantiate(&mut s, WAITS, &[waits()]);
    let f = func(&mut s, instance, "f");
    for count in [0, 1, 5] {
        let (pending, progress) =
            finish(pin!(CallFuture::call(s.as_mut(), f, &[Value::I32(count)])));
        assert!(matches!(progress.unwrap(), Progress::Returned));
        assert_eq!(pending, count as usize + 2);
        assert_eq!(result(&mut s), Value::I32(count + 1 + 3));
    }
}

#[test]
fn the_future_is_send_and_each_poll_may_be_on_another_thread() {
    fn send<F: Send>(future: F) -> F {
        future
    }
    let mut s = store(());
    let instance = instantiate(&mut s, WAITS, &[waits()]);
    let f = func(&mut s, instance, "f");
    let mut future = Box::pin(send(CallFuture::call(s.as_mut(), f, &[Value::I32(5)])));
    let task = Arc::new(Task::default());
    let polls = (1..).find(|_| {
        std::thread::scope(|scope| {
            let polled = scope.spawn(|| poll(future.as_mut(), &task).is_ready());
            polled.join().unwrap()
        })
    });
    assert_eq!(polls, Some(8));
    drop(future);
    assert_eq!(result(&mut s), Value::I32(9));
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let gate = Gate::default();
    let opened = gate.clone();
    let mut s = store(());
    let waits: ImportValue<()> = host(move |mut caller: HostCaller<'_, ()>, n: i32| {
        let passed = gate.passed();
        caller.store.await_future(|_| Box::pin(passed))?;
        Ok(n)
    });
    let instance = instantiate(&mut s, WAITS, &[waits]);
    let f = func(&mut s, instance, "f");
    let mut future = pin!(CallFuture::call(s.as_mut(), f, &[Value::I32(1)]));
    let tasks = [(); 3].map(|()| Arc::new(Task::default()));
    for task in &tasks {
        assert!(poll(future.as_mut(), task).is_pending());
    }
    opened.open();
    assert_eq!(tasks.each_ref().map(|task| task.0.load(Relaxed)), [0, 0, 1]);
    assert!(poll(future.as_mut(), &tasks[0]).is_ready());
    // Nothing keeps a waker.
    assert_eq!(tasks.map(|task| Arc::strong_count(&task)), [1, 1, 1]);
}

#[test]
fn only_a_call_that_is_polled_can_wait() {
    let mut s = store(());
    let instance = instantiate(&mut s, WAITS, &[waits()]);
    let f = func(&mut s, instance, "f");
    let mut place = [Value::I32(0)];
    let plain = s
        .as_mut()
        .call(f, &[Value::I32(0)], &mut place)
        .unwrap_err();
    assert_eq!(plain.downcast_ref(), Some(&CannotSuspend::PlainCall));
    let started = s.as_mut().start(f, &[Value::I32(0)]).unwrap_err();
    assert_eq!(started.downcast_ref(), Some(&CannotSuspend::NoTask));
    let outside = s.as_mut().await_future(|_| Box::pin(rounds(0)));
    assert_eq!(outside, Err(CannotSuspend::PlainCall));
}

#[test]
fn a_waiting_computation_belongs_to_its_future() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut s = store(dropped.clone());
    let waits = host(|mut caller: HostCaller<'_, Arc<AtomicUsize>>, n: i32| {
        let witness = Dropped(caller.store.data().clone());
        let waited = caller.store.await_future(|store| {
            Box::pin(async move {
                let _borrowed = store.data();
                std::future::pending::<()>().await;
            })
        });
        assert_eq!(waited, Err(CannotSuspend::Cancelled(Cancelled)));
        drop(witness);
        Ok(n)
    });
    let instance = instantiate(&mut s, WAITS, &[waits]);
    let f = func(&mut s, instance, "f");
    let task = Arc::new(Task::default());

    // Never polled: nothing has happened.
    drop(CallFuture::call(s.as_mut(), f, &[Value::I32(1)]));
    // Dropped midway: cancelled.
    for round in 1..4 {
        let mut future = Box::pin(CallFuture::call(s.as_mut(), f, &[Value::I32(1)]));
        assert!(poll(future.as_mut(), &task).is_pending());
        drop(future);
        assert_eq!(dropped.load(Relaxed), round);
        assert!(!s.as_mut().is_suspended());
    }
    // Forgotten midway: never touched again.
    let mut future = Box::pin(CallFuture::call(s.as_mut(), f, &[Value::I32(1)]));
    assert!(poll(future.as_mut(), &task).is_pending());
    std::mem::forget(future);
    assert!(s.as_mut().is_suspended());
    let refused = s.as_mut().resume(None).unwrap_err();
    assert_eq!(refused.downcast_ref(), Some(&ResumeError::Awaiting));
    let refused = s.as_mut().start(f, &[Value::I32(1)]).unwrap_err();
    assert_eq!(refused.downcast_ref(), Some(&StoreSuspended));
    s.as_mut().cancel();
    assert!(!s.as_mut().is_suspended());
    assert_eq!(dropped.load(Relaxed), 3);
    // The store has another stack now, and works as before.
    let mut future = Box::pin(CallFuture::call(s.as_mut(), f, &[Value::I32(1)]));
    assert!(poll(future.as_mut(), &task).is_pending());
    drop(future);
    assert_eq!(dropped.load(Relaxed), 4);
    // A store may be dropped with a forgotten future.
    let mut future = Box::pin(CallFuture::call(s.as_mut(), f, &[Value::I32(1)]));
    assert!(poll(future.as_mut(), &task).is_pending());
    std::mem::forget(future);
    drop(s);
    assert_eq!(dropped.load(Relaxed), 4);
}

#[test]
fn errors_and_panics_of_futures_end_the_call() {
    let text = r#"(module (import "" "" (func $h (param i32))) (func $f (export "f") (param i32) (call $h (local.get 0))))"#;
    let fails = host(|mut caller: HostCaller<'_, ()>, n: i32| {
        caller.store.await_future(|_| {
            Box::pin(async move {
                rounds(1).await;
                if n == 0 {
                    return Err::<(), _>(Error::msg("failed"));
                }
                std::panic::panic_any("panicked")
            })
        })?
    });
    let mut s = store(());
    let instance = instantiate(&mut s, text, &[fails]);
    let f = func(&mut s, instance, "f");
    let (_, error) = finish(pin!(CallFuture::call(s.as_mut(), f, &[Value::I32(0)])));
    let error = error.unwrap_err();
    assert_eq!(error.root_cause().to_string(), "failed");
    assert_eq!(frames(&error), ["f"]);
    let future = CallFuture::call(s.as_mut(), f, &[Value::I32(1)]);
    let panic = catch_unwind(AssertUnwindSafe(|| finish(pin!(future)).0)).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "panicked");
    assert!(!s.as_mut().is_suspended());
}

/// `outer` calls the host, which calls `inner`, which calls `waits`.
const NESTED: &str = r#"(module
    (import "" "again" (func $again (param i32) (result i32)))
    (import "" "waits" (func $waits (param i32) (result i32)))
    (func (export "outer") (param i32) (result i32)
        (i32.add (i32.const 1000) (call $again (local.get 0))))
    (func (export "inner") (param i32) (result i32)
        (i32.add (i32.const 100) (call $waits (local.get 0)))))"#;

fn inner<T>(caller: &mut HostCaller<'_, T>) -> FuncHandle {
    let instance = caller.instance.unwrap();
    let inner = caller.store.inner_mut().instance_export(instance, "inner");
    match inner {
        Ok(Some(ExternHandle::Func(inner))) => inner,
        other => panic!("{other:?}"),
    }
}

/// Calls `inner` in a future, with another beside it.
fn beside<T: Send + 'static>(
    other: impl Fn() -> Pin<Box<dyn Future<Output = i32> + Send>> + Send + Sync + 'static,
) -> ImportValue<T> {
    host(move |mut caller: HostCaller<'_, T>, n: i32| {
        let inner = inner(&mut caller);
        let mut other = other();
        caller.store.await_future(|store| {
            Box::pin(async move {
                let mut call = Box::pin(CallFuture::call(store, inner, &[Value::I32(n)]));
                poll_fn(move |context| {
                    if let Poll::Ready(value) = other.as_mut().poll(context) {
                        return Poll::Ready(Ok(value));
                    }
                    call.as_mut().poll(context).map(|progress| {
                        assert!(matches!(progress?, Progress::Returned));
                        let mut results = [Value::I32(0)];
                        call.store().take_results(&mut results)?;
                        match results {
                            [Value::I32(value)] => Ok(value),
                            other => panic!("{other:?}"),
                        }
                    })
                })
                .await
            })
        })?
    })
}

#[test]
fn a_future_inside_may_poll_a_call_of_the_same_store() {
    let mut s = store(());
    let never = || Box::pin(std::future::pending()) as Pin<Box<dyn Future<Output = i32> + Send>>;
    let instance = instantiate(&mut s, NESTED, &[beside(never), waits()]);
    let f = func(&mut s, instance, "outer");
    for count in [0, 3, 1] {
        let (pending, progress) =
            finish(pin!(CallFuture::call(s.as_mut(), f, &[Value::I32(count)])));
        assert!(matches!(progress.unwrap(), Progress::Returned));
        assert_eq!(pending, count as usize);
        assert_eq!(result(&mut s), Value::I32(1101 + count));
    }
}

#[test]
fn a_call_inside_is_cancelled_when_its_future_gives_it_up() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut s = store(dropped.clone());
    // Loses against the other after 2 rounds.
    let timeout = || {
        Box::pin(async {
            rounds(2).await;
            -1
        }) as Pin<Box<dyn Future<Output = i32> + Send>>
    };
    let waits = host(|mut caller: HostCaller<'_, Arc<AtomicUsize>>, n: i32| {
        let _witness = Dropped(caller.store.data().clone());
        caller.store.await_future(|_| Box::pin(rounds(n)))?;
        Ok(n + 1)
    });
    let instance = instantiate(&mut s, NESTED, &[beside(timeout), waits]);
    let f = func(&mut s, instance, "outer");
    for (count, expected) in [(10, 999), (1, 1102), (3, 999)] {
        let (_, progress) = finish(pin!(CallFuture::call(s.as_mut(), f, &[Value::I32(count)])));
        assert!(matches!(progress.unwrap(), Progress::Returned));
        assert_eq!(result(&mut s), Value::I32(expected));
        assert!(!s.as_mut().is_suspended());
    }
    assert_eq!(dropped.load(Relaxed), 3);
    // All of it is cancelled from outside.
    let task = Arc::new(Task::default());
    let mut future = Box::pin(CallFuture::call(s.as_mut(), f, &[Value::I32(10)]));
    assert!(poll(future.as_mut(), &task).is_pending());
    drop(future);
    assert_eq!(dropped.load(Relaxed), 4);
    assert!(!s.as_mut().is_suspended());
    assert_eq!(Arc::strong_count(&task), 1);
}

#[test]
fn a_plain_call_inside_a_future_waits_with_the_task_of_the_latest_poll() {
    let gate = Gate::default();
    let opened = gate.clone();
    let mut s = store(());
    let again: ImportValue<()> = host(|mut caller: HostCaller<'_, ()>, n: i32| {
        let inner = inner(&mut caller);
        caller.store.await_future(|mut store| {
            Box::pin(async move {
                rounds(1).await;
                let mut results = [Value::I32(0)];
                store.call(inner, &[Value::I32(n)], &mut results)?;
                // The context that this future was polled with last is of a task that is over.
                rounds(1).await;
                match results {
                    [Value::I32(value)] => Ok(value),
                    other => panic!("{other:?}"),
                }
            })
        })?
    });
    let waits: ImportValue<()> = host(move |mut caller: HostCaller<'_, ()>, n: i32| {
        let passed = gate.passed();
        caller.store.await_future(|_| Box::pin(passed))?;
        Ok(n)
    });
    let instance = instantiate(&mut s, NESTED, &[again, waits]);
    let f = func(&mut s, instance, "outer");
    let tasks = [(); 5].map(|()| Arc::new(Task::default()));
    let mut future = Box::pin(CallFuture::call(s.as_mut(), f, &[Value::I32(1)]));
    assert!(poll(future.as_mut(), &tasks[0]).is_pending());
    assert_eq!(tasks[0].0.load(Relaxed), 1);
    assert!(poll(future.as_mut(), &tasks[1]).is_pending());
    assert!(poll(future.as_mut(), &tasks[2]).is_pending());
    opened.open();
    assert_eq!((tasks[1].0.load(Relaxed), tasks[2].0.load(Relaxed)), (0, 1));
    // The second round of waiting wakes the task that polls then, whatever context the future has.
    match poll(future.as_mut(), &tasks[3]) {
        Poll::Ready(_) => {}
        Poll::Pending => {
            assert!(tasks[3].0.load(Relaxed) > 0);
            assert!(poll(future.as_mut(), &tasks[4]).is_ready());
        }
    }
    drop(future);
    assert_eq!(result(&mut s), Value::I32(1101));
    assert_eq!(tasks.map(|task| Arc::strong_count(&task)), [1; 5]);
}

#[test]
fn a_yield_ends_the_future_and_the_computation_goes_on_with_another() {
    let text = r#"(module
        (import "" "yields" (func $yields (result i32)))
        (import "" "waits" (func $waits (param i32) (result i32)))
        (func (export "f") (result i32)
            (call $waits (i32.add (call $waits (i32.const 1)) (call $yields)))))"#;
    let yields: ImportValue<()> = host(|mut caller: HostCaller<'_, ()>, ()| {
        let expects = Some(Expects::of::<i32>());
        let value = caller.store.yield_now(Some(Box::new("some")), expects)?;
        Ok(*value.unwrap().downcast::<i32>().unwrap())
    });
    let mut s = store(());
    let instance = instantiate(&mut s, text, &[yields, waits()]);
    let f = func(&mut s, instance, "f");
    let (pending, progress) = finish(pin!(CallFuture::call(s.as_mut(), f, &[])));
    assert_eq!(pending, 1);
    let Ok(Progress::Suspended(Suspension::Yielded(yielded))) = progress else {
        panic!("{progress:?}")
    };
    assert!(yielded.value.unwrap().is::<&str>());
    assert!(s.as_mut().is_suspended());

    let (_, wrong) = finish(pin!(CallFuture::resume(s.as_mut(), None)));
    assert_eq!(
        wrong.unwrap_err().downcast_ref(),
        Some(&ResumeError::Missing { expected: "i32" })
    );
    assert!(s.as_mut().is_suspended());
    let (pending, progress) = finish(pin!(CallFuture::resume(s.as_mut(), Some(Box::new(3i32)))));
    assert!(matches!(progress.unwrap(), Progress::Returned));
    assert_eq!((pending, result(&mut s)), (5, Value::I32(6)));
}

#[test]
fn a_yield_in_a_call_inside_goes_all_the_way_out() {
    let mut s = store(());
    let never = || Box::pin(std::future::pending()) as Pin<Box<dyn Future<Output = i32> + Send>>;
    let yields = host(|mut caller: HostCaller<'_, ()>, n: i32| {
        caller.store.await_future(|_| Box::pin(rounds(1)))?;
        let expects = Some(Expects::of::<i32>());
        let value = caller.store.yield_now(Some(Box::new(n)), expects)?;
        // The first round is waited for in the poll that was given up by the yield; with the new task it is polled again.
        caller.store.await_future(|_| Box::pin(rounds(2)))?;
        Ok(*value.unwrap().downcast::<i32>().unwrap())
    });
    let instance = instantiate(&mut s, NESTED, &[beside(never), yields]);
    let f = func(&mut s, instance, "outer");
    for end in 0..2 {
        let (pending, progress) = finish(pin!(CallFuture::call(s.as_mut(), f, &[Value::I32(7)])));
        assert_eq!(pending, 1);
        let Ok(Progress::Suspended(Suspension::Yielded(yielded))) = progress else {
            panic!("{progress:?}")
        };
        assert_eq!(*yielded.value.unwrap().downcast::<i32>().unwrap(), 7);
        if end == 1 {
            s.as_mut().cancel();
            assert!(!s.as_mut().is_suspended());
            break;
        }
        let (pending, progress) =
            finish(pin!(CallFuture::resume(s.as_mut(), Some(Box::new(3i32)))));
        assert!(matches!(progress.unwrap(), Progress::Returned));
        assert_eq!((pending, result(&mut s)), (1, Value::I32(1103)));
    }
}

#[test]
fn a_function_of_the_host_is_polled() {
    let mut s = store(0);
    let instance = instantiate(&mut s, WAITS, &[waits()]);
    let f = func(&mut s, instance, "f");
    let body: ComputationBody<i32> = Box::new(move |mut store| {
        let mut results = [Value::I32(0)];
        store.call(f, &[Value::I32(1)], &mut results)?;
        let Value::I32(result) = results[0] else {
            panic!("{results:?}")
        };
        *store.data_mut() = result;
        Ok(())
    });
    let (pending, progress) = finish(pin!(CallFuture::run(s.as_mut(), body)));
    assert!(matches!(progress.unwrap(), Progress::Returned));
    assert_eq!((pending, *s.data()), (3, 5));
}
