//! Host functions, and the boundary where guest code calls them.
//!
//! ```text
//!                          guest function
//!                             | guest convention, ctx = import record
//!              .--------------'---------------------.
//!   typed, and its values fit in registers          any other function
//!              |                                    |
//!   stub: notes exit_fp/exit_pc,                 host shim (compiled): notes exit_fp/exit_pc,
//!     is enough stack left?                        spills arguments to `values`
//!              | extern "C" (record, arg, ...)      | extern "C" (record, values)
//!              |                                 checked: is enough stack left?
//!              |                                    |
//!   Typed::run: registers -> Rust,               host_entry -> B::invoke: values -> Rust,
//!     the closure, Rust -> register                the closure, Rust -> values
//! ```
//!
//! # Invariant
//!
//! Nothing unwinds or jumps over a frame that still has something to drop. An error or panic travels up to [`boundary`] as a
//! value; everything on the way has been dropped, and only then does [`leave`] give up the guest.
//!
//! A typed host function's call allocates nothing.

mod unchecked;

use crate::activation::{self, Execution};
use crate::arch;
use crate::call_hook;
use crate::code::RegisteredType;
use crate::error::{CallError, Error, Result};
use crate::exception;
use crate::host_ref::RootScope;
use crate::instance::{Instance, InstancePtr};
use crate::interrupt;
use crate::pool::{self, Counted, HandleCount};
use crate::registers::{self, HostCode, HostCodes};
use crate::store::{InstanceHandle, StoreInner, StoreMut};
use crate::suspend::{Cancelled, CannotSuspend, Mark};
use crate::test_points::Point;
use crate::trap::TrapReason;
use crate::values::{AbiValues, MAX_TYPED_VALUES, Value};
use cowling_abi::layout::{VmContext, VmFuncImport, VmHostFunc, VmValue};
use cowling_abi::{FuncType, ValType};
use smallvec::SmallVec;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
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
    /// What host shims read: [`checked`] of the body's type.
    vm: VmHostFunc,
    /// What guests call without a shim; null if the values do not fit in registers.
    stub: *const u8,
    /// Where the stub goes on.
    body: *const u8,
    /// [`invoke_scoped`] of the body's type.
    invoke: Invoke,
}

type Invoke = unsafe fn(*const VmFuncImport, *mut VmValue) -> Result<()>;

/// Offset of a head's code for values in registers, for the assembly.
pub(crate) const BODY: usize = std::mem::offset_of!(Head, body);

impl Head {
    const fn of<B: HostBody>() -> Head {
        Head {
            vm: VmHostFunc {
                call: checked::<B> as *const u8,
            },
            stub: ptr::null(),
            body: ptr::null(),
            invoke: invoke_scoped::<B>,
        }
    }

    /// The same for a body whose values fit in registers.
    fn with_codes(self, codes: HostCodes) -> Head {
        Head {
            stub: codes.stub,
            body: codes.body,
            ..self
        }
    }

    /// What guests call, in their convention with the import record as the context, if they need no shim of their own module's.
    pub(crate) fn code(&self, counts_fuel: bool) -> Option<*const u8> {
        if self.stub.is_null() {
            return None;
        }
        let counting = arch::host_stub_counting_fuel as *const u8;
        Some(if counts_fuel { counting } else { self.stub })
    }
}

/// The body of a host function.
///
/// # Safety
/// `Self` is `repr(C)` and starts with the [`Head`] that `head` returns, which is `Head::of::<Self>()`, perhaps with codes of
/// `Self`'s.
pub(crate) unsafe trait HostBody: Send + Sync {
    fn head(&self) -> &Head;
    fn ty(&self) -> &FuncType;

    /// Its type as one of an engine's: for a function of types that only an engine knows. Otherwise its type is plain: final, without
    /// supertype, alone in its group, and it names no others.
    fn registered(&self) -> Option<&RegisteredType> {
        None
    }

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

    /// A function of any type that names no defined types. It gets its arguments, and as many results to fill, which start as zeros
    /// and nulls; when it returns, their types are checked, and a wrong one is an error for the guest's caller.
    ///
    /// # Panics
    /// If its type names defined types.
    pub fn dynamic(
        ty: FuncType,
        function: impl Fn(HostCaller<'_, T>, &[Value], &mut [Value]) -> Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let mut names = ty
            .params
            .iter()
            .chain(&ty.results)
            .filter_map(|ty| match ty {
                ValType::Ref(ty) => ty.heap.concrete(),
                _ => None,
            });
        assert!(names.next().is_none(), "{ty} names defined types");
        Self::new(Dynamic::<T, _>::new(ty, None, function))
    }

    /// A function of a type of an engine, for stores of that engine. Otherwise as [`dynamic`](Self::dynamic). `None` if it is not a
    /// function type.
    pub fn registered(
        ty: RegisteredType,
        function: impl Fn(HostCaller<'_, T>, &[Value], &mut [Value]) -> Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Option<Self> {
        let signature = ty.ty().composite.as_func()?.clone();
        Some(Self::new(Dynamic::<T, _>::new(
            signature,
            Some(ty),
            function,
        )))
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
        let mut head = Head::of::<Self>();
        if const { registers::fit(P::TYPES, R::TYPES) } {
            head = head.with_codes(P::host_codes::<Self>());
        }
        Typed {
            head,
            ty: FuncType {
                params: P::TYPES.into(),
                results: R::TYPES.into(),
            },
            function,
            _types: PhantomData,
        }
    }
}

// SAFETY: `run` takes and leaves the values and does not return when the function fails.
unsafe impl<T, P, R, F> HostCode for Typed<T, P, R, F>
where
    T: 'static,
    P: AbiValues,
    R: AbiValues,
    F: Fn(HostCaller<'_, T>, P) -> Result<R> + Send + Sync,
{
    type Params = P;
    type Results = R;

    #[inline(always)]
    unsafe fn run(record: *const VmFuncImport, params: P::Registers) -> R::Registers {
        // SAFETY: a record's fields are set when it is made, its host function is ours, and it starts with its head. The guest waits
        // for us, so nothing else uses the store; it has put the arguments there.
        unsafe {
            let this = &*(*record).host.cast::<Self>();
            boundary(record, || {
                let _scope = CallScope::enter(record);
                let store = store_of(record);
                let params = P::from_registers(&mut *store.as_ptr(), params);
                let caller = HostCaller::new(store, (*record).caller);
                let results = (this.function)(caller, params)?;
                Ok(results.into_registers(store.as_ref())?)
            })
        }
    }
}

// SAFETY: `head` comes first and is `Head::of::<Self>()`, perhaps with codes.
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
    registered: Option<RegisteredType>,
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
    fn new(ty: FuncType, registered: Option<RegisteredType>, function: F) -> Self {
        Dynamic {
            head: Head::of::<Self>(),
            ty,
            registered,
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

    fn registered(&self) -> Option<&RegisteredType> {
        self.registered.as_ref()
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
            // SAFETY: a caller is a living instance of this store.
            unsafe {
                (store.as_ref()).instance_handle(InstancePtr::new(Instance::from_vmctx(vmctx)))
            }
        });
        HostCaller {
            // SAFETY: the store's data is a `T`, and the caller gives it to us.
            store: unsafe { StoreMut::from_inner(store) },
            instance,
        }
    }
}

/// The store of a host function's import record. Read anew each time: whoever asks after the function has returned keeps the record
/// on the stack or in a register meanwhile, by which [freeing](crate::store) finds that the function runs.
///
/// # Safety
/// The record is one of a living store.
#[inline(always)]
unsafe fn store_of(record: *const VmFuncImport) -> NonNull<StoreInner> {
    // SAFETY: as the caller says; the field is set when the record is made.
    unsafe { NonNull::new_unchecked((&raw const (*record).store).read_volatile()).cast() }
}

/// Runs a body in a root scope of its own.
///
/// # Safety
/// `record` is that of a host function with body `B`, of a store that may be used; `values` is as for [`HostBody::invoke`].
unsafe fn invoke_scoped<B: HostBody>(
    record: *const VmFuncImport,
    values: *mut VmValue,
) -> Result<()> {
    // SAFETY: a record's host function starts with its head, which is its body's. We have the right to use the store, and no reference
    // into it is alive outside each statement.
    unsafe {
        let body = &*(*record).host.cast::<B>();
        let _scope = CallScope::enter(record);
        body.invoke(store_of(record), (*record).caller, values)
    }
}

/// The root scope of a host function's call. It ends when the function returns or panics.
struct CallScope {
    record: *const VmFuncImport,
    scope: RootScope,
}

impl CallScope {
    /// # Safety
    /// The record is that of the host function that is called. Whoever has it has the right to use the store for as long, and no
    /// reference into it when it is dropped.
    #[inline(always)]
    unsafe fn enter(record: *const VmFuncImport) -> CallScope {
        CallScope {
            record,
            // SAFETY: as the caller says; the reference ends here.
            scope: unsafe { store_of(record).as_ref().root_scope_enter() },
        }
    }
}

impl Drop for CallScope {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: whoever made it has promised the right, and has no reference into the store when its body has returned or has
        // been unwound. The record lives as long as its function runs.
        unsafe { (*store_of(self.record).as_ptr()).root_scope_exit(self.scope) };
    }
}

/// Calls a host function from the host: no shim, no activation; a panic just continues. The call hook is told what it would be if
/// a guest were in between.
///
/// # Safety
/// `record` is the import record of a host function of `store`, which we have the right to use; `values` holds its arguments and
/// has room for its results.
pub(crate) unsafe fn call_directly(
    store: NonNull<StoreInner>,
    record: NonNull<VmFuncImport>,
    values: *mut VmValue,
) -> Result<()> {
    // SAFETY: `host` points at the head of a body, which lives as long as the record, and that as long as it is noted.
    unsafe {
        store.as_ref().execution().note_host_frames();
        let _noted = DirectCall::note(store, record);
        let head = (*record.as_ptr()).host.cast::<Head>();
        let call = || ((*head).invoke)(record.as_ptr(), values);
        if store.as_ref().execution().computations().is_hooked() {
            return call_hook::around_direct_call(store, call);
        }
        call()
    }
}

/// A host function that the host is calling, noted with the store, as its frames need not be on a guest stack.
struct DirectCall(NonNull<StoreInner>, NonNull<VmFuncImport>);

impl DirectCall {
    /// # Safety
    /// As for [`call_directly`]; the store lives longer than the result.
    unsafe fn note(store: NonNull<StoreInner>, record: NonNull<VmFuncImport>) -> DirectCall {
        // SAFETY: as the caller says; the reference ends with the statement.
        unsafe { (*store.as_ptr()).begin_direct_call(record) };
        DirectCall(store, record)
    }
}

impl Drop for DirectCall {
    fn drop(&mut self) {
        // SAFETY: as for `note`; the function has returned or was unwound, so no reference to the store is alive.
        unsafe { (*self.0.as_ptr()).end_direct_call(self.1) };
    }
}

/// Where a host shim calls: [`VmHostFunc::call`]. Goes on to [`host_entry`] if the host has its share of the stack.
///
/// # Safety
/// As for that.
#[unsafe(naked)]
unsafe extern "C" fn checked<B: HostBody>(record: *const VmFuncImport, values: *mut VmValue) {
    arch::host_check!(host_entry::<B>)
}

/// Runs a body for the guest that called it by its module's host shim.
///
/// # Safety
/// Called by a host shim for this body: `record` is the import record of a host function with body `B`, `values` are its
/// arguments with room for its results.
unsafe extern "C" fn host_entry<B: HostBody>(record: *const VmFuncImport, values: *mut VmValue) {
    // SAFETY: a record's fields are set when it is made, and its store is all of it. Guest code is waiting for us, so nothing else uses
    // it; the record is a `B`'s.
    unsafe {
        boundary(record, || invoke_scoped::<B>(record, values));
    }
}

/// Runs a host function's body between guest frames: catches panics, and answers requests that came meanwhile. Returns only if
/// the guest goes on.
///
/// # Safety
/// The innermost guest of the thread, of the record's store, has called the host function, and waits. The caller has nothing to drop.
#[inline(always)]
unsafe fn boundary<R>(record: *const VmFuncImport, body: impl FnOnce() -> Result<R>) -> R {
    // SAFETY: the store lives as long as its guests, the record as long as its function runs; each reference ends within its
    // statement.
    unsafe {
        let store = store_of(record);
        let execution = store.cast::<Execution>();
        if execution.as_ref().computations().is_hooked() {
            call_hook::calling_host(store);
        }
        execution.as_ref().interrupts().host_begins();
        execution.as_ref().interrupts().point(Point::HostEntered);
        let outcome = catch_unwind(AssertUnwindSafe(body));
        let store = store_of(record);
        let execution = store.cast::<Execution>();
        execution.as_ref().interrupts().point(Point::HostReturned);
        let asked = execution.as_ref().interrupts().host_ends();
        match outcome {
            Ok(Ok(results)) => {
                let computations = execution.as_ref().computations();
                if asked || computations.any([Mark::Cancelling, Mark::Hooked]) {
                    return answer(store, results);
                }
                results
            }
            // Nothing is left to drop: all there was is in the reason.
            Ok(Err(error)) => failed(store, error),
            Err(payload) => leave(store, TrapReason::Panic(payload)),
        }
    }
}

/// Leaves the guest whose host function has failed, once the call hook knows.
///
/// # Safety
/// As for [`boundary`], when the host function has returned.
#[cold]
#[inline(never)]
unsafe fn failed(store: NonNull<StoreInner>, error: Error) -> ! {
    // SAFETY: as the caller says; the hook's reason takes the place of the error, which is dropped before.
    unsafe {
        let reason = match call_hook::returning_from_host(store) {
            Ok(()) => TrapReason::Host(error),
            Err(reason) => {
                drop(error);
                reason
            }
        };
        leave(store, reason)
    }
}

/// Does what was asked while a host function ran, and tells the call hook that it returns. Returns only if the guest goes on: the results, which own nothing.
///
/// # Safety
/// As for [`boundary`], when the host function has returned.
// The results go through here so that this is jumped to, and a host function's code needs no frame for its sake.
#[cold]
#[inline(never)]
unsafe extern "C" fn answer<R>(store: NonNull<StoreInner>, results: R) -> R {
    // SAFETY: the function has returned, so nothing is left to drop, and its guest is the innermost of this thread.
    unsafe {
        let reason = match call_hook::returning_from_host(store) {
            Ok(()) if store.cast::<Execution>().as_ref().is_cancelling() => {
                TrapReason::Host(Cancelled.into())
            }
            Ok(()) => match interrupt::look(store.cast()) {
                Ok(()) => return results,
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        leave(store, reason)
    }
}

/// Gives up the guest that called a host function or builtin: throws the exception that the error stands for, or raises it.
///
/// # Safety
/// As for [`activation::raise`].
#[cold]
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
