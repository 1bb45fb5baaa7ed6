//! A call's future that owns what lends it the store.
//!
//! ```text
//!   OwningCall (pinned)
//!   | call: CallFuture ---- borrows the store from ----+     made by the first poll, dropped first
//!   | lender                        <------------------+     asked once, untouched while the call exists
//!   | driver: what the call is, and what becomes of its end
//! ```
//!
//! An `async` function is the same in fewer words. But its `poll` is a function of its own wherever the compiler thinks it too large,
//! and each function that returns between the executor's loop and the switch of stacks costs two mispredicted returns: an
//! awaited host call then takes more than twice as long (see `arch::switch`). This `poll` always goes into whoever polls.
//!
//! # Invariant
//!
//! From the first poll on the lender is neither moved, because the future is pinned, nor used, until the call has been dropped: it
//! stands before the lender in the structure. So the borrow that `call` has, whatever its written lifetime, holds.

use super::task::CallFuture;
use crate::store::StoreMut;
use std::fmt;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Something that a store can be borrowed from.
pub trait StoreLender {
    /// The embedder's data in that store.
    type Data: 'static;

    /// The store.
    fn lend(&mut self) -> StoreMut<'_, Self::Data>;
}

/// What an [`OwningCall`] calls, and what it makes of the end.
pub trait CallDriver<T: 'static>: Unpin {
    /// What the future is ready with.
    type Output;

    /// The call. Asked for once, by the first poll.
    ///
    /// # Errors
    /// What the future is to be ready with instead.
    fn begin<'a>(&mut self, store: StoreMut<'a, T>) -> Result<CallFuture<'a, T>, Self::Output>;

    /// Polls the call. To be inlined always, down to the call's own `poll`.
    fn poll(
        &mut self,
        call: &mut CallFuture<'_, T>,
        context: &mut Context<'_>,
    ) -> Poll<Self::Output>;
}

/// A call in a store that the future owns, or owns the borrow of. Nothing happens before the first poll; dropping it
/// [cancels](StoreMut::cancel) the call.
pub struct OwningCall<S: StoreLender, D> {
    call: Option<CallFuture<'static, S::Data>>,
    driver: D,
    lender: S,
    // While the call exists it borrows from the lender.
    _pinned: PhantomPinned,
}

impl<S: StoreLender, D: CallDriver<S::Data>> OwningCall<S, D> {
    /// A call in the store that `lender` lends.
    pub fn new(lender: S, driver: D) -> Self {
        OwningCall {
            call: None,
            driver,
            lender,
            _pinned: PhantomPinned,
        }
    }

    #[cold]
    #[inline(never)]
    fn begin(&mut self) -> Result<(), D::Output> {
        let call = self.driver.begin(self.lender.lend())?;
        // SAFETY: this changes a lifetime only. The borrow holds as long as the call exists: by the invariant at the top nobody moves
        // or uses the lender before the call is dropped. (Only pinned futures come here.)
        self.call = Some(unsafe {
            std::mem::transmute::<CallFuture<'_, S::Data>, CallFuture<'static, S::Data>>(call)
        });
        Ok(())
    }
}

impl<S: StoreLender, D: CallDriver<S::Data>> Future for OwningCall<S, D> {
    type Output = D::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<D::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        if this.call.is_none()
            && let Err(output) = this.begin()
        {
            return Poll::Ready(output);
        }
        match &mut this.call {
            Some(call) => this.driver.poll(call, context),
            None => unreachable!("a call that has begun"),
        }
    }
}

impl<S: StoreLender, D> fmt::Debug for OwningCall<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwningCall")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
