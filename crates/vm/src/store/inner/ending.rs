//! The end of a store, or of what is in it: everything is retired, whatever a destructor does, and the shell goes to the next.

use super::StoreInner;
use crate::instance::Instance;
use crate::instance::recycle::Life;
use crate::pool;
use crate::stack::GuestStack;
use crate::store::places::Thing;
use crate::store::shell::Shell;
use crate::store::{StoreId, StoreSpec};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

impl StoreInner {
    /// Makes it an empty one with the same settings, limiter and call hook.
    ///
    /// # Panics
    /// When it has become one, if a destructor of what was in it does.
    pub(in crate::store) fn renew(&mut self) {
        let (shell, dropped) = self.end();
        let Some(shell) = shell else { return };
        let spec = StoreSpec {
            quota: self.quota,
            pool: self.pool.take(),
        };
        let mut inner = StoreInner::new(shell, StoreId::next(), spec);
        (inner.this, inner.limiter) = (self.this, self.limiter);
        inner.answers = self.answers.take();
        if let Some(access) = self.call_hook {
            inner.set_call_hook(access);
        }
        *self = inner;
        dropped.unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// Drops what is in it, for good. What it leaves to the next store, `None` if it did so before; and the panic of a destructor.
    fn end(&mut self) -> (Option<Shell>, std::thread::Result<()>) {
        let small_frames = self.shell.is_some()
            && !self.execution.had_host_frames()
            && self.instances().all(|instance| instance.has_small_frames());
        let heap = self.end_heap();
        let Some(mut shell) = self.shell.take() else {
            return (None, Ok(()));
        };
        let life = Life {
            touched: self.execution.is_touched(),
            small_frames,
        };
        // SAFETY: nothing runs in the store or ever will: computations were cancelled. The first may be in the slot that will be another
        // store's.
        let mut stack = unsafe {
            self.execution.computations().clear();
            self.execution.take_stack()
        };
        // SAFETY: the store owns it, and nobody can use it any more: handles need the store, and what else refers to it goes
        // as well, without looking at it.
        let dropped = unsafe { retire_all(self.places.take(), life, &mut stack) };
        self.brought = None;
        shell.heap = heap;
        (Some(shell), dropped)
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        let (shell, dropped) = self.end();
        if let Some(shell) = shell {
            // What there is no room for is dropped here.
            drop(pool::cache::local(|cached| cached.put_shell(shell)));
        }
        if let Err(panic) = dropped
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

/// Frees what was in a store. All of it, whatever panics: a destructor of a host function is the embedder's code. The first panic is
/// returned.
///
/// # Safety
/// Nobody uses it any more. `stack` is as for [`Instance::retire`].
pub(super) unsafe fn retire_all(
    things: impl IntoIterator<Item = Thing>,
    life: Life,
    stack: &mut Option<GuestStack>,
) -> std::thread::Result<()> {
    let mut things = things.into_iter();
    let mut all = Ok(());
    loop {
        let retired = catch_unwind(AssertUnwindSafe(|| {
            for thing in &mut things {
                // SAFETY: as the caller says.
                unsafe { retire(thing, life, stack) };
            }
        }));
        match retired {
            Ok(()) => return all,
            Err(panic) => all = all.and(Err(panic)),
        }
    }
}

/// Frees one thing.
///
/// # Safety
/// As for [`retire_all`].
unsafe fn retire(thing: Thing, life: Life, stack: &mut Option<GuestStack>) {
    match thing {
        // SAFETY: as the caller says.
        Thing::Instance(instance) | Thing::Made(instance) => unsafe {
            Instance::retire(instance, life, stack);
        },
        // SAFETY: as the caller says; it came from a box.
        Thing::Func(record) => drop(unsafe { Box::from_raw(record.as_ptr()) }),
    }
}
