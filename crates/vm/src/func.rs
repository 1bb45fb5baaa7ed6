//! Calling functions from the host.
//!
//! A call lowers its arguments into a buffer of values, runs the function, and lifts the results from the same buffer. A guest
//! function runs on the store's guest stack, in an activation; a host function is just called. A typed call from outside skips the
//! buffer if its values [fit in registers](crate::registers). Why a guest stopped early becomes an error here, or a panic that
//! continues.

use crate::activation::{self, Execution};
use crate::backtrace::{FatalFault, MemoryFault, StoppedAt};
use crate::code::TypeRegistry;
use crate::error::{CallError, Error, Result, TypeMismatch};
use crate::host::{self, HostFunc};
use crate::interrupt;
use crate::registers;
use crate::signals;
use crate::store::{FuncHandle, StoreInner, StoreMut, StoreRef};
use crate::suspend::StoreSuspended;
use crate::trap::{Raised, TrapReason};
use crate::values::{AbiValues, TypedBuffer, Value};
use cowling_abi::layout::{VmFuncImport, VmFuncRef, VmValue};
use cowling_abi::{FuncType, RefType, ValType};
use smallvec::SmallVec;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::resume_unwind;
use std::ptr::NonNull;

/// A function whose type was checked to be `P` to `R`.
pub struct TypedHandle<P, R> {
    func: FuncHandle,
    /// Can the function be called with its values in registers?
    in_registers: bool,
    /// Do parameters have defined types that `P` says less about? Then arguments are checked in each call.
    checks: bool,
    _type: PhantomData<fn(P) -> R>,
}

impl<P, R> TypedHandle<P, R> {
    /// The function.
    pub fn func(&self) -> FuncHandle {
        self.func
    }
}

impl<P: AbiValues, R: AbiValues> TypedHandle<P, R> {
    /// A function that is said to be of this type although it does not seem so, and about which nothing is to be relied on. One of another
    /// store is refused when it is called.
    pub(crate) fn assumed(func: FuncHandle) -> TypedHandle<P, R> {
        TypedHandle {
            func,
            in_registers: false,
            checks: true,
            _type: PhantomData,
        }
    }

    /// A function of this type.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub(crate) fn new(
        store: &StoreInner,
        func: FuncHandle,
        checks: bool,
    ) -> Result<TypedHandle<P, R>, TypeMismatch> {
        store.check(&func)?;
        let is_guest = {
            // SAFETY: the function is this store's, and a funcref does not change once it has been handed out.
            let func = unsafe { func.pointer().as_ref() };
            func.is_host == 0 && !func.code.is_null()
        };
        let counts_fuel = store.config().knobs.consume_fuel;
        let fits = const { registers::fit(P::TYPES, R::TYPES) };
        Ok(TypedHandle {
            func,
            in_registers: fits && is_guest && !counts_fuel && !checks,
            checks,
            _type: PhantomData,
        })
    }
}

impl<P, R> Clone for TypedHandle<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedHandle<P, R> {}

impl<P, R> fmt::Debug for TypedHandle<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedHandle").field(&self.func).finish()
    }
}

impl<T: 'static> StoreRef<'_, T> {
    /// Checks a function's type, so that it can be called with [`call_typed`](StoreMut::call_typed).
    ///
    /// # Errors
    /// When the handle is another store's, or the function has another type.
    pub fn typed<P: AbiValues, R: AbiValues>(
        &self,
        func: FuncHandle,
    ) -> Result<TypedHandle<P, R>, TypeMismatch> {
        let types = &self.inner().config().types;
        let matches = |(a, b): (&ValType, &ValType)| types.value_matches(*a, *b);
        let mut checks = false;
        let fits = |ty: &FuncType| {
            let (params, results) = (P::TYPES.iter(), ty.results.iter());
            params.len() == ty.params.len()
                && results.len() == R::TYPES.len()
                && params.zip(&ty.params).all(|pair| {
                    let (given, wanted) = pair;
                    let later = !matches(pair) && may_match(types, *given, *wanted);
                    checks |= later;
                    later || matches(pair)
                })
                && results.zip(R::TYPES).all(matches)
        };
        if !self.inner().func_type_is(func, fits)? {
            let expected = FuncType {
                params: P::TYPES.into(),
                results: R::TYPES.into(),
            };
            let found = self.inner().func_type(func)?;
            return Err(TypeMismatch::Func { expected, found });
        }
        TypedHandle::new(self.inner(), func, checks)
    }
}

/// Is `wanted` a defined type, and `given` above it? No Rust type stands for a defined type.
fn may_match(types: &TypeRegistry, given: ValType, wanted: ValType) -> bool {
    match (given, wanted) {
        (ValType::Ref(given), ValType::Ref(wanted)) => {
            let null = RefType {
                nullable: true,
                ..given
            };
            wanted.heap.concrete().is_some() && types.reference_matches(wanted, null)
        }
        _ => false,
    }
}

impl<P: AbiValues, R: AbiValues> TypedHandle<P, R> {
    /// Checks the arguments of a call, if their types say less than the function's parameters. Every way to call has to, before
    /// anything runs.
    ///
    /// # Errors
    /// Which argument does not fit.
    ///
    /// # Safety
    /// `values` holds values of `P`'s types, live in the store, whose function this is.
    #[inline]
    pub(crate) unsafe fn check_arguments(
        &self,
        store: &mut StoreInner,
        values: &TypedBuffer,
    ) -> Result<()> {
        if !self.checks {
            return Ok(());
        }
        // SAFETY: the caller's promises are the same.
        unsafe { check_arguments::<P>(store, self.func, values) }
    }
}

/// Checks the arguments of a call whose types say less than the function's parameters.
///
/// # Safety
/// `values` holds values of `P`'s types, live in the store, which has a function of as many parameters.
#[cold]
#[inline(never)]
unsafe fn check_arguments<P: AbiValues>(
    store: &mut StoreInner,
    func: FuncHandle,
    values: &TypedBuffer,
) -> Result<()> {
    let ty = store.func_type(func)?;
    let scope = store.root_scope_enter();
    let arguments = values.iter().zip(P::TYPES).zip(&ty.params);
    let mut checks = arguments
        .enumerate()
        .map(|(index, ((value, given), wanted))| {
            // SAFETY: as the caller says.
            let value = unsafe { Value::lift(store, value.assume_init_ref(), *given) };
            let lowered = value.lower(store, *wanted).map(drop);
            lowered.map_err(|source| CallError::Argument { index, source })
        });
    let checked = checks.try_for_each(|check| check);
    store.root_scope_exit(scope);
    Ok(checked?)
}

impl<T: 'static> StoreMut<'_, T> {
    /// Makes a host function a function of this store.
    ///
    /// # Panics
    /// If it is of a type of another engine.
    pub fn host_func(&mut self, function: &HostFunc<T>) -> FuncHandle {
        self.inner_mut().add_host_func(function.body())
    }

    /// Calls a function: arguments and the places for results are checked against its type. References among the results are
    /// rooted in the current scope.
    ///
    /// # Errors
    /// When the handle or a reference is another store's, arguments or places do not fit ([`CallError`]), or the function fails:
    /// then the error holds a [`Trap`](cowling_abi::Trap), an [`UncaughtException`](crate::exception::UncaughtException), or what
    /// a host function returned, and what the embedding API [describes](crate::Describe) it with.
    ///
    /// # Panics
    /// With the payload of a host function that panicked. The store stays usable.
    pub fn call(&mut self, func: FuncHandle, args: &[Value], results: &mut [Value]) -> Result<()> {
        let ty = self.inner().func_type(func)?;
        let mut values: SmallVec<[VmValue; 16]> = SmallVec::new();
        lower_args(self.inner(), &ty, args, &mut values)?;
        check_results(&ty, results)?;
        // SAFETY: the function is this store's, the arguments have the types it wants, and there is room for its results.
        unsafe { call_func_ref(self.as_ptr(), func.pointer(), values.as_mut_ptr())? };
        // SAFETY: the function has left values of these types.
        unsafe { lift_results(self.inner_mut(), &ty, &values, results) };
        Ok(())
    }

    /// Checks a function's type, so that it can be called with [`call_typed`](Self::call_typed).
    ///
    /// # Errors
    /// When the handle is another store's, or the function has another type.
    pub fn typed<P: AbiValues, R: AbiValues>(
        &self,
        func: FuncHandle,
    ) -> Result<TypedHandle<P, R>, TypeMismatch> {
        self.as_ref().typed(func)
    }

    /// Calls a function whose type was checked. Allocates nothing unless it fails.
    ///
    /// # Errors
    /// When the handle or a reference is another store's, or the function fails: see [`call`](Self::call).
    ///
    /// # Panics
    /// With the payload of a host function that panicked. The store stays usable.
    #[inline]
    pub fn call_typed<P: AbiValues, R: AbiValues>(
        &mut self,
        func: &TypedHandle<P, R>,
        params: P,
    ) -> Result<R> {
        self.inner().check(&func.func)?;
        let params = params.into_registers(self.inner())?;
        // SAFETY: the function is this store's, and has the type that was checked when the handle was made; the arguments are those
        // of this store that were just made ready, and the results what the function has left.
        unsafe {
            let store = self.as_ptr();
            if func.in_registers {
                let called = activation::call_in_registers::<P, R>(
                    store.cast(),
                    func.func.pointer(),
                    params,
                );
                match called {
                    Ok(left) => return Ok(R::from_registers(self.inner_mut(), left)),
                    Err(Some(raised)) => return Err(stopped(store.as_ref(), raised)),
                    Err(None) => {}
                }
            }
            let left = call_with_values(store, func, params)?;
            Ok(R::from_registers(self.inner_mut(), left))
        }
    }
}

/// Calls the function behind a reference with its values in memory.
///
/// # Safety
/// As for [`call_func_ref`].
#[inline(never)]
unsafe fn call_with_values<P: AbiValues, R: AbiValues>(
    mut store: NonNull<StoreInner>,
    func: &TypedHandle<P, R>,
    params: P::Registers,
) -> Result<R::Registers> {
    let mut values: TypedBuffer = [MaybeUninit::uninit(); _];
    P::store(params, &mut values);
    // SAFETY: the caller's promises are the same; the buffer has room for as many values as a list may have.
    unsafe {
        func.check_arguments(store.as_mut(), &values)?;
        call_func_ref(store, func.func.pointer(), values.as_mut_ptr().cast())?;
        Ok(R::load(&values))
    }
}

/// Checks arguments and appends them to `values`, with room for the results.
pub(crate) fn lower_args<V: smallvec::Array<Item = VmValue>>(
    store: &StoreInner,
    ty: &FuncType,
    args: &[Value],
    values: &mut SmallVec<V>,
) -> Result<()> {
    if args.len() != ty.params.len() {
        let (expected, found) = (ty.params.len(), args.len());
        let ty = ty.clone();
        return Err(CallError::ArgumentCount {
            expected,
            found,
            ty,
        }
        .into());
    }
    values.clear();
    for (index, (arg, ty)) in args.iter().zip(&ty.params).enumerate() {
        let value = arg.lower(store, *ty);
        values.push(value.map_err(|source| CallError::Argument { index, source })?);
    }
    values.resize(ty.params.len().max(ty.results.len()), VmValue::default());
    Ok(())
}

/// Are there as many places as a function has results?
pub(crate) fn check_results(ty: &FuncType, places: &[Value]) -> Result<(), CallError> {
    let (expected, found) = (ty.results.len(), places.len());
    if expected == found {
        return Ok(());
    }
    Err(CallError::ResultCount {
        expected,
        found,
        ty: ty.clone(),
    })
}

/// Fills the places with what a function has left.
///
/// # Safety
/// The values have the types of its results.
pub(crate) unsafe fn lift_results(
    store: &mut StoreInner,
    ty: &FuncType,
    values: &[VmValue],
    places: &mut [Value],
) {
    for ((place, ty), value) in places.iter_mut().zip(&ty.results).zip(values) {
        // SAFETY: the caller's promise is the same.
        *place = unsafe { Value::lift(store, value, *ty) };
    }
}

/// Calls the function behind a reference.
///
/// # Safety
/// `store` points to all of the store, which we have the right to use and of which no reference is alive; the function is the
/// store's; `values` holds arguments of its parameters' types and has room for its results.
pub(crate) unsafe fn call_func_ref(
    store: NonNull<StoreInner>,
    func: NonNull<VmFuncRef>,
    values: *mut VmValue,
) -> Result<()> {
    // SAFETY: a funcref lives as long as its store and does not change once it has been handed out.
    unsafe {
        let func = func.as_ref();
        if func.is_host == 1 {
            return call_host(store, func.ctx.cast(), values);
        }
        call_guest(store, func.entry, func.ctx, func.code, values)
    }
}

/// Calls a host function from the host.
///
/// # Safety
/// As for [`call_func_ref`]; `record` is a host function's.
pub(crate) unsafe fn call_host(
    store: NonNull<StoreInner>,
    record: *const VmFuncImport,
    values: *mut VmValue,
) -> Result<()> {
    // SAFETY: the caller's promises are the same. The reference ends with its statement.
    unsafe {
        let execution = store.cast::<Execution>();
        if execution.as_ref().computations().is_blocked() {
            return Err(StoreSuspended.into());
        }
        // On a guest stack a host function is promised its share, also when it is another host function that calls it.
        if execution.as_ref().is_active() && !execution.as_ref().has_host_stack() {
            return Err(cowling_abi::Trap::StackOverflow.into());
        }
        host::call_directly(store, NonNull::new_unchecked(record.cast_mut()), values)
    }
}

/// Calls a guest function.
///
/// # Safety
/// As for [`call_func_ref`]; `entry`, `ctx` and `code` belong to the function.
pub(crate) unsafe fn call_guest(
    store: NonNull<StoreInner>,
    entry: *const u8,
    ctx: *mut u8,
    code: *const u8,
    values: *mut VmValue,
) -> Result<()> {
    signals::init()?;
    let execution = store.cast::<Execution>();
    // SAFETY: the execution is the store's first field; the reference ends with the statement.
    if unsafe { execution.as_ref() }.computations().is_blocked() {
        return Err(StoreSuspended.into());
    }
    // SAFETY: the execution is the store's first field; what is called belongs together as the caller says.
    let outcome = unsafe {
        activation::call_on_guest_stack(execution, || {
            activation::enter(execution, entry, ctx, code, values)
        })?
    };
    match outcome {
        Ok(()) => Ok(()),
        // SAFETY: the guest has stopped; the reference ends with this statement.
        Err(raised) => Err(stopped(unsafe { store.as_ref() }, raised)),
    }
}

/// The error for a guest that stopped early.
#[cold]
#[expect(
    clippy::boxed_local,
    reason = "it comes in a box; taking it out here keeps that off the path of calls that return"
)]
pub(crate) fn stopped(store: &StoreInner, raised: Box<Raised>) -> Error {
    let error = match raised.reason {
        TrapReason::Panic(payload) => resume_unwind(payload),
        TrapReason::Host(error) => error,
        TrapReason::Terminated(why) => interrupt::ended(why),
        TrapReason::Wasm {
            trap,
            fault_address,
            ..
        } => {
            if fault_address.is_some() {
                store.pool().count_fault();
            }
            let fault = fault_address.and_then(|address| MemoryFault::find(store, address));
            let fatal = fault_address.and_then(|address| FatalFault::of(trap, address));
            match (fault, fatal) {
                (Some(fault), _) => Error::new(trap).context(fault),
                (None, Some(fatal)) => Error::new(trap).context(fatal),
                (None, None) => Error::new(trap),
            }
        }
    };
    let at = StoppedAt::new(raised.frames, raised.cut_after);
    (store.config().describe)(store, error, at)
}
