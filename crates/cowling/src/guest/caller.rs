//! What host functions can do to the guest that called them, besides calling it back: yield and terminate it.

use super::termination::{Payload, Terminate};
use crate::error::{Result, format_err};
use crate::func::Caller;
use cowling_vm::Expects;
use std::any::{Any, type_name};

impl<T: 'static> Caller<'_, T> {
    /// Suspends the guest, with everything that runs in it: the innermost `run` or `resume` around this call returns
    /// [`RunResult::Yielded`](crate::RunResult::Yielded). Returns when the guest is resumed.
    ///
    /// **Perhaps on another thread**, with all that this host function, and those further out, have in variables. No bound can check
    /// these: nothing that must stay on its thread may be kept across the call, such as a borrow from a thread-local variable, one of
    /// several `Rc`s, or a lock's guard. Where host functions do that, guests must be resumed and dropped on the thread that runs them.
    ///
    /// # Errors
    /// [`CannotSuspend`](crate::CannotSuspend): when no [`Guest`](crate::Guest) runs but a plain call, when another store's guest
    /// or another thread is in between, or when the guest is reset or dropped instead of being resumed. The host function
    /// should return then.
    #[inline(always)]
    pub fn yield_(&mut self) -> Result<()> {
        self.vm_mut().yield_now(None, None)?;
        Ok(())
    }

    /// [Yields](Self::yield_) and hands out a value. Like that it may return on another thread, where what the host function keeps
    /// in variables goes with it.
    ///
    /// # Errors
    /// As [`yield_`](Self::yield_).
    #[inline]
    pub fn yield_val<A: Any + Send>(&mut self, value: A) -> Result<()> {
        self.vm_mut().yield_now(Some(Box::new(value)), None)?;
        Ok(())
    }

    /// [Yields](Self::yield_) and waits for a value: the guest can be resumed only with one of this type. Like that it may return on
    /// another thread, where what the host function keeps in variables goes with it.
    ///
    /// # Errors
    /// As [`yield_`](Self::yield_).
    pub fn yield_expecting_val<R: Any + Send>(&mut self) -> Result<R> {
        self.yield_both(None)
    }

    /// [Yields](Self::yield_), hands out a value and waits for one. Like that it may return on another thread, where what the host
    /// function keeps in variables goes with it.
    ///
    /// # Errors
    /// As [`yield_`](Self::yield_).
    pub fn yield_val_expecting_val<A: Any + Send, R: Any + Send>(&mut self, value: A) -> Result<R> {
        self.yield_both(Some(Box::new(value)))
    }

    fn yield_both<R: Any + Send>(&mut self, value: Option<Box<dyn Any + Send>>) -> Result<R> {
        let given = self.vm_mut().yield_now(value, Some(Expects::of::<R>()))?;
        // What the guest is resumed with was checked before anything ran.
        let given = given.and_then(|given| given.downcast::<R>().ok());
        let wrong = || format_err!("resumed without the value of type {}", type_name::<R>());
        given.map(|given| *given).ok_or_else(wrong)
    }

    /// The error by which a host function terminates the guest that called it: `run` or `resume` fails with
    /// [`TerminationDetails::Provided`](crate::TerminationDetails::Provided) and this payload.
    ///
    /// Whatever the host function holds is dropped as it returns. If a guest called the host function through another host
    /// function, that gets the error first, and should return it.
    ///
    /// ```
    /// # use cowling::*;
    /// # fn wrap(linker: &mut Linker<()>) -> Result<()> {
    /// linker.func_wrap("env", "exit", |mut caller: Caller<'_, ()>, code: i32| -> Result<()> {
    ///     caller.terminate(code)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Always.
    pub fn terminate<R>(&mut self, payload: impl Any + Send) -> Result<R> {
        Err(Terminate(Payload::new(Box::new(payload))).into())
    }
}
