//! Call hooks: code of the embedder's that runs whenever a guest is entered or left.
//!
//! What is told when is drawn in the runtime's file of the same name.

use super::{Store, StoreContextMut, StoreData};
use crate::error::Result;
use cowling_vm::{CallHook, StoreMut};
use std::pin::Pin;
use std::sync::Arc;

/// A call hook that may wait: for [`Store::call_hook_async`].
///
/// The method is written as the macro `#[async_trait]` writes it, with which it is simply an `async fn`:
///
/// ```
/// # use cowling::*;
/// # use std::pin::Pin;
/// struct Meter;
///
/// impl CallHookHandler<u32> for Meter {
///     // With the macro: async fn handle_call_event(&self, mut store: StoreContextMut<'_, u32>, hook: CallHook) -> Result<()>
///     fn handle_call_event<'life0, 'life1, 'async_trait>(
///         &'life0 self,
///         mut store: StoreContextMut<'life1, u32>,
///         hook: CallHook,
///     ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'async_trait>>
///     where
///         Self: 'async_trait,
///         'life0: 'async_trait,
///         'life1: 'async_trait,
///     {
///         Box::pin(async move {
///             *store.data_mut() += u32::from(hook.entering_host());
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait CallHookHandler<T: 'static>: Send {
    /// Called at a transition between host and guests.
    ///
    /// # Errors
    /// Any of the implementation's choice; it stops the call.
    fn handle_call_event<'life0, 'life1, 'async_trait>(
        &'life0 self,
        t: StoreContextMut<'life1, T>,
        ch: CallHook,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'async_trait>>
    where
        Self: 'async_trait,
        'life0: 'async_trait,
        'life1: 'async_trait;
}

impl<T: 'static> Store<T> {
    /// Calls `hook` at every transition between the host and guests of this store, in place of the hook it had.
    ///
    /// Every call of a function by the host is a [`CallingWasm`](CallHook::CallingWasm), a start function included, and its return or
    /// trap a [`ReturningFromWasm`](CallHook::ReturningFromWasm). Every call of a host function by a guest is a
    /// [`CallingHost`](CallHook::CallingHost), and its return, with results or an error, a
    /// [`ReturningFromHost`](CallHook::ReturningFromHost). A host function that the host calls is told of as all four. Not told of are:
    /// suspensions and resumptions; what the runtime does for guests, such as growing memories; and a host function's panic.
    ///
    /// An error before a call is what the call fails with, which is not made. An error on a return takes the place of what is
    /// returned, and the hook is still told of the returns further out. The hook is not called for what it does itself. No garbage is
    /// collected while it runs.
    ///
    /// Calls in a store with a hook take longer: they go the way of calls whose values are passed in memory.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (func (export "f")))"#)?;
    /// let mut store = Store::new(&engine, Vec::new());
    /// store.call_hook(|mut store, hook| {
    ///     store.data_mut().push(hook);
    ///     Ok(())
    /// });
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ())?;
    /// assert_eq!(*store.data(), [CallHook::CallingWasm, CallHook::ReturningFromWasm]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn call_hook(
        &mut self,
        mut hook: impl FnMut(StoreContextMut<'_, T>, CallHook) -> Result<()> + Send + Sync + 'static,
    ) {
        self.inner
            .set_call_hook(move |store, transition| hook(StoreContextMut(store), transition));
    }

    /// As [`call_hook`](Self::call_hook), with a hook that may wait: the call that it is told of is suspended meanwhile, like one that
    /// waits for an asynchronous host function.
    ///
    /// From then on functions of this store must be called by asynchronous calls: all others fail with
    /// [`NeedsAsync`](crate::NeedsAsync).
    pub fn call_hook_async(&mut self, hook: impl CallHookHandler<T> + Sync + 'static)
    where
        T: Send,
    {
        let hook = Arc::new(hook);
        self.inner
            .set_call_hook(move |mut store: StoreMut<'_, StoreData<T>>, transition| {
                let hook = hook.clone();
                let waited = store.await_future(|store| {
                    let store = StoreContextMut(store);
                    Box::pin(async move { hook.handle_call_event(store, transition).await })
                });
                waited.map_err(|error| error.waiting_for("call hook"))?
            });
    }
}
