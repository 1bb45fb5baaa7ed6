//! Asynchronous calls and asynchronous host functions.
//!
//! ```text
//!   executor ── poll ── call_async's future ── the store's guest stack
//!                  ▲                              └─ guest ── asynchronous host function ── its future: pending
//!                  └───────────── suspends the whole stack, returns pending ◀─────────────────────┘
//! ```
//!
//! The guest's stack is its own, so a host function that has to wait just leaves it as it is: guest code is compiled the same
//! whether it is called asynchronously or not. The machinery is the runtime's [`CallFuture`] and `await_future`; this file puts
//! the types of this crate around them.

use super::caller::Caller;
use super::typed::TypedFunc;
use super::wasm_ty::{WasmParams, WasmResults, WasmRet, WasmTyList};
use super::{Func, HostFunc, registered_host_func};
use crate::error::{CallError, Result};
use crate::store::{AsContextMut, StoreContextMut, StoreData};
use crate::types::FuncType;
use crate::val::{Val, Values};
use cowling_vm::{
    CallDriver, CallFuture, HostCaller, OwningCall, Progress, StoreInner, StoreLender, StoreMut,
    Value,
};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tracing::Span;

/// A host function yielded in an asynchronous call. Such a call waits for futures and for nothing else, so nobody could resume
/// the host function; the call was cancelled.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host function yielded in an asynchronous call, where nobody can resume it")]
pub struct YieldedInAsyncCall;

impl Func {
    /// A host function that may wait, and whose type is known only when the program runs. Otherwise as [`Func::new`]; see
    /// [`Func::wrap_async`] for what waiting means.
    ///
    /// # Panics
    /// As [`Func::new`].
    pub fn new_async<T, F>(mut store: impl AsContextMut<Data = T>, ty: FuncType, func: F) -> Func
    where
        T: Send + 'static,
        F: for<'a> Fn(
                Caller<'a, T>,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let mut store = store.as_context_mut();
        let ty = ty.adopt(store.engine().types()).expect("room for a type");
        let func = dynamic_async_host_func(ty, func);
        Func::from_vm(store.0.host_func(&func))
    }

    /// A host function that may wait, from a closure whose type says all. Its parameters come as one tuple.
    ///
    /// While its future is pending, the guest that called it is suspended, and so is the future of the
    /// [`call_async`](Func::call_async) around it. Called in any other way it fails with
    /// [`CannotSuspend`](crate::CannotSuspend).
    ///
    /// ```
    /// # use cowling::*;
    /// # async fn fetch(_: i32) -> i32 { 21 }
    /// # async fn example() -> Result<()> {
    /// let mut store = Store::<()>::default();
    /// let twice = Func::wrap_async(&mut store, |_caller: Caller<'_, ()>, (key,): (i32,)| {
    ///     Box::new(async move { 2 * fetch(key).await })
    /// });
    /// let twice = twice.typed::<i32, i32>(&store)?;
    /// assert_eq!(twice.call_async(&mut store, 1).await?, 42);
    /// # Ok(())
    /// # }
    /// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// # assert!(matches!(std::pin::pin!(example()).poll(&mut context), std::task::Poll::Ready(Ok(()))));
    /// ```
    pub fn wrap_async<T, F, P, R>(mut store: impl AsContextMut<Data = T>, func: F) -> Func
    where
        T: Send + 'static,
        F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
            + Send
            + Sync
            + 'static,
        P: WasmTyList,
        R: WasmRet,
    {
        let func = async_host_func(func);
        Func::from_vm(store.as_context_mut().0.host_func(&func))
    }

    /// Calls it; asynchronous host functions that it calls may wait. `results` must have as many places as it has results.
    ///
    /// Nothing happens before the future is polled. Dropping it before it is ready cancels the call: host functions that wait
    /// are dropped, and guests do not continue. The store stays usable. The future is `Send` if the store is.
    ///
    /// # Errors
    /// As [`Func::call`]; [`StoreSuspended`](crate::StoreSuspended) if another computation of the store is suspended.
    ///
    /// # Panics
    /// As [`Func::call`], when polled.
    pub fn call_async(
        &self,
        store: impl AsContextMut<Data: Send>,
        params: &[Val],
        results: &mut [Val],
    ) -> impl Future<Output = Result<()>> {
        let untyped = UntypedCall {
            func: *self,
            params,
            results,
            span: Span::none(),
        };
        OwningCall::new(Lender(store), untyped)
    }
}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    /// Calls it; asynchronous host functions that it calls may wait. See [`Func::call_async`].
    ///
    /// # Errors
    /// As [`TypedFunc::call`]; [`StoreSuspended`](crate::StoreSuspended) if another computation of the store is suspended.
    ///
    /// # Panics
    /// As [`TypedFunc::call`], when polled.
    pub fn call_async(
        &self,
        store: impl AsContextMut<Data: Send>,
        params: Params,
    ) -> impl Future<Output = Result<Results>> {
        let typed = TypedCall {
            func: self,
            params: params.into_values(),
            span: Span::none(),
        };
        OwningCall::new(Lender(store), typed)
    }
}

/// What an embedder borrows a store from, for the runtime.
struct Lender<S>(S);

impl<S: AsContextMut> StoreLender for Lender<S> {
    type Data = StoreData<S::Data>;

    fn lend(&mut self) -> StoreMut<'_, StoreData<S::Data>> {
        self.0.as_context_mut().0
    }
}

/// [`Func::call_async`] under way.
struct UntypedCall<'p, 'r> {
    func: Func,
    params: &'p [Val],
    results: &'r mut [Val],
    span: Span,
}

impl<T: 'static> CallDriver<StoreData<T>> for UntypedCall<'_, '_> {
    type Output = Result<()>;

    fn begin<'s>(
        &mut self,
        store: StoreMut<'s, StoreData<T>>,
    ) -> Result<CallFuture<'s, StoreData<T>>, Result<()>> {
        let ty = match store.inner().func_type(self.func.to_vm()) {
            Ok(ty) => ty,
            Err(error) => return Err(Err(error.into())),
        };
        let (expected, found) = (ty.results.len(), self.results.len());
        if expected != found {
            return Err(Err(CallError::ResultCount {
                expected,
                found,
                ty,
            }
            .into()));
        }
        let params: Values<Value> = self.params.iter().map(|v| v.to_vm()).collect();
        self.span = span();
        Ok(begin(store, self.func, &params))
    }

    #[inline(always)]
    fn poll(
        &mut self,
        call: &mut CallFuture<'_, StoreData<T>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        ready!(poll_to_end(call, &self.span, context))?;
        let mut values: Values<Value> = self.results.iter().map(|_| Value::I32(0)).collect();
        call.store().take_results(&mut values)?;
        for (result, value) in self.results.iter_mut().zip(values) {
            *result = Val::from_vm(value);
        }
        Poll::Ready(Ok(()))
    }
}

/// [`TypedFunc::call_async`] under way.
struct TypedCall<'a, Params: WasmParams, Results: WasmResults> {
    func: &'a TypedFunc<Params, Results>,
    params: Values<Value>,
    span: Span,
}

impl<T: 'static, Params: WasmParams, Results: WasmResults> CallDriver<StoreData<T>>
    for TypedCall<'_, Params, Results>
{
    type Output = Result<Results>;

    fn begin<'s>(
        &mut self,
        store: StoreMut<'s, StoreData<T>>,
    ) -> Result<CallFuture<'s, StoreData<T>>, Result<Results>> {
        self.span = span();
        Ok(begin(store, *self.func.func(), &self.params))
    }

    #[inline(always)]
    fn poll(
        &mut self,
        call: &mut CallFuture<'_, StoreData<T>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Results>> {
        ready!(poll_to_end(call, &self.span, context))?;
        let results = call.store().take_typed_results(self.func.handle())?;
        Poll::Ready(Ok(Results::from_abi(results)))
    }
}

fn begin<'s, T: 'static>(
    store: StoreMut<'s, StoreData<T>>,
    func: Func,
    params: &[Value],
) -> CallFuture<'s, StoreData<T>> {
    let mut call = CallFuture::call(store, func.to_vm(), params);
    forget_epoch_wait(&mut call);
    call
}

fn span() -> Span {
    tracing::trace_span!("call_async")
}

/// What an earlier call's epoch callback wanted to wait for is nothing to a new one.
fn forget_epoch_wait<T: 'static>(call: &mut CallFuture<'_, StoreData<T>>) {
    *call.store().data_mut().epoch_wait() = None;
}

/// Polls a computation until it has returned. Not an `async` function, as it has to go into whoever polls it: see [`OwningCall`].
#[inline(always)]
fn poll_to_end<T: 'static>(
    call: &mut CallFuture<'_, StoreData<T>>,
    span: &Span,
    context: &mut Context<'_>,
) -> Poll<Result<()>> {
    // Entered only while something runs: between polls the thread does other things. Nearly always nobody listens.
    let polled = if span.is_disabled() {
        poll_call(call, context)
    } else {
        poll_in_span(call, span, context)
    };
    match polled {
        Poll::Pending => Poll::Pending,
        Poll::Ready(progress) => Poll::Ready(settle(call, progress)),
    }
}

#[cold]
#[inline(never)]
fn poll_in_span<T: 'static>(
    call: &mut CallFuture<'_, StoreData<T>>,
    span: &Span,
    context: &mut Context<'_>,
) -> Poll<Result<Progress>> {
    let _entered = span.enter();
    poll_call(call, context)
}

#[inline(never)]
fn settle<T: 'static>(
    call: &mut CallFuture<'_, StoreData<T>>,
    progress: Result<Progress>,
) -> Result<()> {
    match progress? {
        Progress::Returned => Ok(()),
        Progress::Suspended(_) => {
            call.store().cancel();
            Err(YieldedInAsyncCall.into())
        }
    }
}

/// Polls a computation, or what an epoch callback wants it to wait for.
#[inline(always)]
pub(crate) fn poll_call<T: 'static>(
    call: &mut CallFuture<'_, StoreData<T>>,
    context: &mut Context<'_>,
) -> Poll<Result<Progress>> {
    if call.store().data_mut().epoch_wait().is_some() {
        ready!(poll_epoch_wait(call, context));
    }
    Pin::new(call).poll(context)
}

#[cold]
#[inline(never)]
fn poll_epoch_wait<T: 'static>(
    call: &mut CallFuture<'_, StoreData<T>>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let mut store = call.store();
    let epoch_wait = store.data_mut().epoch_wait();
    if let Some(wait) = epoch_wait {
        ready!(wait.as_mut().poll(context));
        *epoch_wait = None;
    }
    Poll::Ready(())
}

/// Runs a function of the host on the store's guest stack, where it may call guests that wait.
pub(crate) async fn run_on_guest_stack<T: Send + 'static, R: Send + 'static>(
    store: StoreMut<'_, StoreData<T>>,
    body: impl FnOnce(StoreMut<'_, StoreData<T>>) -> Result<R> + Send + 'static,
) -> Result<R> {
    let result = Arc::new(Mutex::new(None));
    let place = result.clone();
    let body = move |store: StoreMut<'_, StoreData<T>>| {
        let returned = body(store)?;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(returned);
        Ok(())
    };
    let mut call = CallFuture::run(store, Box::new(body));
    forget_epoch_wait(&mut call);
    let span = span();
    poll_fn(|context| poll_to_end(&mut call, &span, context)).await?;
    let returned = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(returned.unwrap_or_else(|| unreachable!("a body that has returned has left its result")))
}

/// Does something that may ask the store's limiter, on the guest stack if that has to be waited for. It is done again from its beginning
/// each time that the limiter has answered.
pub(crate) async fn asking<T: Send + 'static, R: Send + 'static>(
    store: &mut StoreContextMut<'_, T>,
    mut work: impl FnMut(&mut StoreInner) -> Result<R> + Send + 'static,
) -> Result<R> {
    if !store.inner().has_async_limiter() {
        return work(store.inner_mut());
    }
    run_on_guest_stack(store.0.reborrow(), move |mut store| store.asking(&mut work)).await
}

/// A host function from a closure that returns a future.
pub(crate) fn async_host_func<T, F, P, R>(func: F) -> HostFunc<T>
where
    T: Send + 'static,
    F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
        + Send
        + Sync
        + 'static,
    P: WasmTyList,
    R: WasmRet,
{
    HostFunc::typed(
        move |mut caller: HostCaller<'_, StoreData<T>>, params: P::Abi| {
            let instance = caller.instance;
            let result = caller.store.await_future(|store| {
                let caller = Caller::from_vm(HostCaller { store, instance });
                Box::into_pin(func(caller, P::from_abi(params)))
            })?;
            result.into_ret()
        },
    )
}

/// A host function from a closure that handles values dynamically and returns a future.
pub(crate) fn dynamic_async_host_func<T, F>(ty: FuncType, func: F) -> HostFunc<T>
where
    T: Send + 'static,
    F: for<'a> Fn(
            Caller<'a, T>,
            &'a [Val],
            &'a mut [Val],
        ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
        + Send
        + Sync
        + 'static,
{
    let func = Arc::new(func);
    registered_host_func(
        ty,
        move |mut caller: HostCaller<'_, StoreData<T>>, params, results| {
            let instance = caller.instance;
            let values: Values<Val> = params.iter().map(|v| Val::from_vm(*v)).collect();
            let mut places: Values<Val> = results.iter().map(|v| Val::from_vm(*v)).collect();
            // The future owns all it borrows, so that it can live as long as it may use the store.
            let func = func.clone();
            let values = caller.store.await_future(|store| {
                let caller = Caller::from_vm(HostCaller { store, instance });
                Box::pin(async move {
                    Box::into_pin(func(caller, &values, &mut places)).await?;
                    Ok::<_, crate::Error>(places)
                })
            })??;
            for (result, value) in results.iter_mut().zip(values) {
                *result = value.to_vm();
            }
            Ok(())
        },
    )
}
