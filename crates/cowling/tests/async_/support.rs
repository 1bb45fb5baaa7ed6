//! What the tests share.

#[path = "../common/errors.rs"]
mod errors;

use cowling::{AsContextMut, Engine, Instance, Linker, Module, Result, Store};
pub(crate) use errors::{assert_says, trap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

/// When a [`Wait`] is ready.
#[derive(Copy, Clone, Debug)]
pub(crate) enum When {
    /// At its first poll.
    AtOnce,
    /// After being pending so often; it wakes its task each time.
    After(usize),
    /// When another thread has woken its task.
    OtherThread,
    /// Never, and it wakes nobody.
    Never,
}

/// A future that is ready [when](When) it was told to be.
#[derive(Debug)]
pub(crate) struct Wait {
    when: When,
    woken: Option<Arc<AtomicUsize>>,
}

impl Wait {
    pub(crate) fn until(when: When) -> Wait {
        Wait { when, woken: None }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.when {
            When::AtOnce | When::After(0) => Poll::Ready(()),
            When::After(left) => {
                self.when = When::After(left - 1);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            When::OtherThread => {
                let woken = self.woken.get_or_insert_with(|| {
                    let woken = Arc::new(AtomicUsize::new(0));
                    let (waker, other) = (context.waker().clone(), woken.clone());
                    thread::spawn(move || {
                        thread::sleep(Duration::from_millis(1));
                        other.store(1, Ordering::SeqCst);
                        waker.wake();
                    });
                    woken
                });
                match woken.load(Ordering::SeqCst) {
                    0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            }
            When::Never => Poll::Pending,
        }
    }
}

/// Counts itself down when it is dropped.
#[derive(Debug)]
pub(crate) struct Guard(Arc<AtomicUsize>);

impl Guard {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Guard {
        count.fetch_add(1, Ordering::SeqCst);
        Guard(count.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An instance of a module with imports from a linker, in a store of its own.
pub(crate) fn linked<T: Default>(
    wat: &str,
    define: impl FnOnce(&mut Linker<T>),
) -> (Store<T>, Instance) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    define(&mut linker);
    let mut store = Store::new(&engine, T::default());
    let module = Module::new(&engine, wat).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

/// Calls an export without parameters and results.
pub(crate) fn run(store: impl AsContextMut, instance: &Instance, name: &str) -> Result<()> {
    let mut store = store;
    instance
        .get_typed_func::<(), ()>(&mut store, name)?
        .call(store, ())
}

/// Calls an export without parameters and results asynchronously.
pub(crate) async fn run_async<T: Send>(
    store: &mut Store<T>,
    instance: &Instance,
    name: &str,
) -> Result<()> {
    instance
        .get_typed_func::<(), ()>(&mut *store, name)?
        .call_async(store, ())
        .await
}
