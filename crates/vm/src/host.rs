//! Host functions, and the boundary where guest code calls them.
//!
//! ```text
//!   guest function
//!      | Tail call convention, ctx = import record
//!   host shim (compiled)        notes exit_fp/exit_pc, spills arguments to `values`
//!      | extern "C" (record, values)
//!   host_entry::<B>             is enough stack left? catches panics
//!      | Rust
//!   B::invoke                   values -> Rust, the closure, Rust -> values
//! ```
//!
//! # Invariant
//!
//! Nothing unwinds or jumps over a frame that still has something to drop. An error or panic travels up to `host_entry` as a
//! value; there it is put into the store, everything on the way has been dropped, and only then does
//! [`failure::raise`](crate::failure) leave for the activation.
//!
//! A typed host function's call allocates nothing.

use crate::activation::{self, Execution};
use crate::error::{CallError, Result};
use crate::exception;
use crate::host_ref::RootScope;
use crate::instance::Instance;
use crate::interrupt;
use crate::pool::{self, Counted, HandleCount};
use crate::store::{InstanceHandle, StoreInner, StoreMut};
use crate::suspend::{Cancelled, CannotSuspend};
use crate::test_points::Point;
use crate::trap::TrapReason;
use crate::values::{AbiValues, MAX_TYPED_VALUES, Value};
use cowling_abi::layout::{VmContext, VmFuncImport, VmHostFunc, VmValue};
use cowling_abi::{FuncType, Trap};
use smallvec::SmallVec;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

/// A function of the host that guests can call. Cheap to clone, and independent of any store until it is imported or made a
/// [`FuncHandle`](crate::store::FuncHandle).
pub struct HostFunc<T> {
    body: SharedBody,
    _data: PhantomData<fn(T)>,
}

/// What a host function gets besides its arguments.
#[derive(Debug)]
pub struct HostCaller<'a, T: 'static> {
    /// The store.
    pub store: StoreMut<'a, T>,
    /// The instance that imports the function; `None` when the host called it, or when it was called through a reference that
    /// no instance made.
    pub instance: Option<InstanceHandle>,
}

/// A host function's body, whatever its store's data type and its own.
pub(crate) type SharedBody = Arc<dyn HostBody>;

/// The host functions that a module imports, for instances that have the same ones.
pub(crate) struct LinkedBodies {
    handles: HandleCount,
    bodies: Box<[SharedBody]>,
}

impl LinkedBodies {
    pub(crate) fn new(bodies: Box<[SharedBody]>) -> LinkedBodies {
        LinkedBodies {
            handles: HandleCount::default(),
            bodies,
        }
    }

    /// In the order of the imports.
    pub(crate) fn bodies(&self) -> &[SharedBody] {
        &self.bodies
    }

    /// Does the embedder hold them?
    pub(crate) fn is_held(&self) -> bool {
        self.handles.any()
    }

    /// Notes that an instance that has them is kept warm.
    pub(crate) fn note_kept(&self) {
        self.handles.note_kept();
    }
}

impl Counted for LinkedBodies {
    fn handles(&self) -> &HandleCount {
        &self.handles
    }

    fn released(&self) {
        pool::forget(|warm| warm.instance().has_imports(self));
    }
}

/// What every body starts with: what shims read, and how the host calls it.
#[repr(C)]
pub(crate) struct Head {
    /// What host shims read: [`host_entry`] of the body's type.
    vm: VmHostFunc,
    /// [`invoke_scoped`] of the body's type.
    invoke: Invoke,
}

type Invoke =
    unsafe fn(*const Head, NonNull<StoreInner>, *mut VmContext, *mut VmValue) -> Result<()>;

impl Head {
    const fn of<B: HostBody>() -> Head {
        Head {
            vm: VmHostFunc {
                call: host_entry::<B> as *const u8,
            },
            invoke: invoke_scoped::<B>,
        }
    }
}

/// The body of a host function.
///
/// # Safety
/// `Self` is `repr(C)` and starts with the [`Head`] that `head` returns, which is `Head::of::<Self>()`.
pub(crate) unsafe trait HostBody: Send + Sync {
    fn head(&self) -> &Head;
    fn ty(&self) -> &FuncType;

    /// Runs the function: arguments are in `values`, results go there.
    ///
    /// # Safety
    /// `store` is a store of the function's data type, with the right to use all of it; `caller` is null or an instance of it;
    /// `values` has room for the parameters and for the results and holds the arguments.
    unsafe fn invoke(
        &self,
        store: NonNull<StoreInner>,
        caller: *mut VmContext,
        values: *mut VmValue,
    ) -> Result<()>;
}

impl<T> Clone for HostFunc<T> {
    fn clone(&self) -> Self {
        HostFunc {
            body: self.body.clone(),
            _data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for HostFunc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostFunc{}", self.body.ty())
    }
}

impl<T: 'static> HostFunc<T> {
    /// A function with types known at compile time. Calls cost no allocation.
    pub fn typed<P: AbiValues, R: AbiValues>(
        function: impl Fn(HostCaller<'_, T>, P) -> Result<R> + Send + Sync + 'static,
    ) -> Self {
        Self::new(Typed::<T, P, R, _>::new(function))
    }

    /// A function of any type. It gets its arguments, and as many results to fill, which start as zeros and nulls; when it
    /// returns, their types are checked, and a wrong one is an error for the guest's caller.
    pub fn dynamic(
        ty: FuncType,
        function: impl Fn(HostCaller<'_, T>, &[Value], &mut [Value]) -> Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self::new(Dynamic::<T, _>::new(ty, function))
    }

    fn new(body: impl HostBody + 'static) -> Self {
        HostFunc {
            body: Arc::new(body),
            _data: PhantomData,
        }
    }

    /// Its type.
    pub fn ty(&self) -> &FuncType {
        self.body.ty()
    }

    pub(crate) fn body(&self) -> &SharedBody {
        &self.body
    }
}

#[repr(C)]
struct Typed<T, P, R, F> {
    head: Head,
    ty: FuncType,
    function: F,
    _types: PhantomData<fn(T, P) -> R>,
}

// SAFETY: `head` holds addresses of code; the rest is `Send` if the function is.
unsafe impl<T, P, R, F: Send> Send for Typed<T, P, R, F> {}
// SAFETY: as above.
unsafe impl<T, P, R, F: Sync> Sync for Typed<T, P, R, F> {}

impl<T, P, R, F> Typed<T, P, R, F>
where
    T: 'static,
    P: AbiValues,
    R: AbiValues,
    F: Fn(HostCaller<'_, T>, P) -> Result<R> + Send + Sync,
{
    fn new(function: F) -> Self {
        const { assert!(P::TYPES.len() <= MAX_TYPED_VALUES && R::TYPES.len() <= MAX_TYPED_VALUES) };
        Typed {
            head: Head::of::<Self>(),
            ty: FuncType {
                params: P::TYPES.into(),
                results: R::TYPES.into(),
            },
            function,
            _types: PhantomData,
        }
    }
}

// SAFETY: `head` comes first and is `Head::of::<Self>()`.
unsafe impl<T, P, R, F> HostBody for Typed<T, P, R, F>
where
    T: 'static,
    P: AbiValues,
    R: AbiValues,
    F: Fn(HostCaller<'_, T>, P) -> Result<R> + Send + Sync,
{
    fn head(&self) -> &Head {
        &self.head
    }

    fn ty(&self) -> &FuncType {
        &self.ty
    }

    #[inline(always)]
    unsafe fn invoke(
        &self,
        store: NonNull<StoreInner>,
        caller: *mut VmContext,
        values: *mut VmValue,
    ) -> Result<()> {
        let values = values.cast::<MaybeUninit<VmValue>>();
        // SAFETY: `values` holds the arguments, whose types are `P`'s; no other reference to the store is alive.
        let params = unsafe {
            let params = std::slice::from_raw_parts(values, P::TYPES.len());
            P::lift_all(&mut *store.as_ptr(), params)
        };
        // SAFETY: the store's data is a `T`, and we have the right to use it until this function returns.
        let caller = unsafe { HostCaller::new(store, caller) };
        let results = (self.function)(caller, params)?;
        // SAFETY: `values` has room for the results; no other reference to the store is alive.
        unsafe {
            let places = std::slice::from_raw_parts_mut(values, R::TYPES.len());
            results.lower_all(store.as_ref(), places)?;
        }
        Ok(())
    }
}

#[repr(C)]
struct Dynamic<T, F> {
    head: Head,
    ty: FuncType,
    function: F,
    _data: PhantomData<fn(T)>,
}

// SAFETY: `head` holds addresses of code; the rest is `Send` if the function is.
unsafe impl<T, F: Send> Send for Dynamic<T, F> {}
// SAFETY: as above.
unsafe impl<T, F: Sync> Sync for Dynamic<T, F> {}

impl<T, F> Dynamic<T, F>
where
    T: 'static,
    F: Fn(HostCaller<'_, T>, &[Value], &mut [Value]) -> Result<()> + Send + Sync,
{
    fn new(ty: FuncType, function: F) -> Self {
        Dynamic {
            head: Head::of::<Self>(),
            ty,
            function,
            _data: PhantomData,
        }
    }
}

// SAFETY: `head` comes first and is `Head::of::<Self>()`.
unsafe impl<T, F> HostBody for Dynamic<T, F>
where
    T: 'static,
    F: Fn(HostCaller<'_, T>, &[Value], &mut [Value]) -> Result<()> + Send + Sync,
{
    fn head(&self) -> &Head {
        &self.head
    }

    fn ty(&self) -> &FuncType {
        &self.ty
    }

    unsafe fn invoke(
        &self,
        store: NonNull<StoreInner>,
        caller: *mut VmContext,
        values: *mut VmValue,
    ) -> Result<()> {
        let mut all: SmallVec<[Value; 16]> =
            SmallVec::with_capacity(self.ty.params.len() + self.ty.results.len());
        for (position, ty) in self.ty.params.iter().enumerate() {
            // SAFETY: `values` holds the arguments, whose types are those; no other reference to the store is alive.
            all.push(unsafe { Value::lift(&mut *store.as_ptr(), &*values.add(position), *ty) });
        }
        all.extend(self.ty.results.iter().map(|ty| Value::default_of(*ty)));
        let (params, results) = all.split_at_mut(self.ty.params.len());
        // SAFETY: the store's data is a `T`, and we have the right to use it until this function returns.
        let caller = unsafe { HostCaller::new(store, caller) };
        (self.function)(caller, params, results)?;
        for (index, (value, ty)) in results.iter().zip(&self.ty.results).enumerate() {
            // SAFETY: no other reference to the store is alive.
            let lowered = value.lower(unsafe { store.as_ref() }, *ty);
            let lowered = lowered.map_err(|source| CallError::HostResult {
                index,
                ty: self.ty.clone(),
                source,
            })?;
            // SAFETY: `values` has room for the results.
            unsafe { values.add(index).write(lowered) };
        }
        Ok(())
    }
}

impl<T: 'static> HostCaller<'_, T> {
    /// # Safety
    /// As [`HostBody::invoke`].
    unsafe fn new(store: NonNull<StoreInner>, caller: *mut VmContext) -> Self {
        let instance = NonNull::new(caller).map(|vmctx| {
            // SAFETY: a caller is an instance of this store.
            unsafe { InstanceHandle::new(store.as_ref().id(), Instance::from_vmctx(vmctx)) }
        });
        HostCaller {
            // SAFETY: the store's data is a `T`, and the caller gives it to us.
            store: unsafe { StoreMut::from_inner(store) },
            instance,
        }
    }
}

/// Runs a body in a root scope of its own.
///
/// # Safety
/// `head` is that of a `B`; the rest is as for [`HostBody::invoke`].
// In a frame of its own: what the host function takes of the stack must not be taken before `host_entry` has looked at how much
// there is.
#[inline(never)]
unsafe fn invoke_scoped<B: HostBody>(
    head: *const Head,
    store: NonNull<StoreInner>,
    caller: *mut VmContext,
    values: *mut VmValue,
) -> Result<()> {
    // SAFETY: a body starts with its head. We have the right to use the store, and no reference into it is alive outside each
    // statement.
    unsafe {
        let body = &*head.cast::<B>();
        let _scope = CallScope {
            store,
            scope: store.as_ref().root_scope_enter(),
        };
        body.invoke(store, caller, values)
    }
}

/// The root scope of a host function's call. It ends when the function returns or panics.
struct CallScope {
    store: NonNull<StoreInner>,
    scope: RootScope,
}

impl Drop for CallScope {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: `invoke_scoped`, whose local this is, has the right to use the store, and no reference into it is alive when
        // the body has returned or has been unwound.
        unsafe { (*self.store.as_ptr()).root_scope_exit(self.scope) };
    }
}

/// Calls a host function from the host: no shim, no activation; a panic just continues.
///
/// # Safety
/// `record` is the import record of a host function of `store`, which we have the right to use; `values` holds its arguments and
/// has room for its results.
pub(crate) unsafe fn call_directly(
    store: NonNull<StoreInner>,
    record: *const VmFuncImport,
    values: *mut VmValue,
) -> Result<()> {
    // SAFETY: `host` points at the head of a body, which the store keeps alive.
    unsafe {
        store.as_ref().execution().note_host_frames();
        let head = (*record).host.cast::<Head>();
        ((*head).invoke)(head, store, (*record).caller, values)
    }
}

/// Where a host shim calls: [`VmHostFunc::call`].
///
/// # Safety
/// Called by a host shim for this body: `record` is the import record of a host function with body `B`, `values` are its
/// arguments with room for its results.
unsafe extern "C" fn host_entry<B: HostBody>(record: *const VmFuncImport, values: *mut VmValue) {
    // SAFETY: a record's fields are set when it is made, and `store` points to all of the store.
    let (store, head, caller) = unsafe {
        let record = &*record;
        let store = NonNull::new_unchecked(record.store).cast::<StoreInner>();
        (store, record.host.cast::<Head>(), record.caller)
    };
    // Was the guest asked for something meanwhile?
    let mut asked = false;
    // SAFETY: guest code is waiting for us, so nothing else uses the store; the record is a `B`'s.
    let outcome = unsafe {
        if store.cast::<Execution>().as_ref().has_host_stack() {
            let execution = store.cast::<Execution>();
            execution.as_ref().interrupts().host_begins();
            execution.as_ref().interrupts().point(Point::HostEntered);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                invoke_scoped::<B>(head, store, caller, values)
            }));
            execution.as_ref().interrupts().point(Point::HostReturned);
            asked = execution.as_ref().interrupts().host_ends();
            outcome
        } else {
            Ok(Err(Trap::StackOverflow.into()))
        }
    };
    let reason = match outcome {
        // SAFETY: as above.
        Ok(Ok(())) if unsafe { store.cast::<Execution>().as_ref() }.is_cancelling() => {
            TrapReason::Host(Cancelled.into())
        }
        Ok(Ok(())) if asked => {
            // SAFETY: the function has returned, so nothing is left to drop, and its guest is the innermost of this thread.
            match unsafe { interrupt::look(store.cast()) } {
                Ok(()) => return,
                Err(reason) => reason,
            }
        }
        Ok(Ok(())) => return,
        Ok(Err(error)) => TrapReason::Host(error),
        Err(payload) => TrapReason::Panic(payload),
    };
    // SAFETY: everything this function had was moved into `reason`; nothing is left to drop.
    unsafe { leave(store, reason) }
}

/// Gives up the guest that called a host function or builtin: throws the exception that the error stands for, or raises it.
///
/// # Safety
/// As for [`activation::raise`].
pub(crate) unsafe fn leave(store: NonNull<StoreInner>, reason: TrapReason) -> ! {
    // SAFETY: the caller's promises are those of both; `rethrown` does not keep anything that needs dropping.
    unsafe {
        let cancelling = store.cast::<Execution>().as_ref().is_cancelling();
        let reason = match reason {
            // A host function was told when it was resumed, and tells us.
            TrapReason::Host(error) => match error.downcast_ref() {
                Some(&CannotSuspend::Terminated(why)) => TrapReason::Terminated(why),
                _ => TrapReason::Host(error),
            },
            other => other,
        };
        let reason = match reason {
            TrapReason::Host(error) if !cancelling => match exception::rethrown(store, error) {
                // The guest may go on with it.
                Ok(exception) => match interrupt::look(store.cast()) {
                    Ok(()) => exception::throw(store, exception),
                    Err(reason) => reason,
                },
                Err(error) => TrapReason::Host(error),
            },
            other => other,
        };
        activation::raise(store.cast(), reason)
    }
}
