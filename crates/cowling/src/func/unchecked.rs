//! Functions called, and made, with raw values: what their types are is the embedder's promise.

use super::caller::Caller;
use super::typed::TypedFunc;
use super::wasm_ty::{WasmParams, WasmResults};
use super::{Func, HostFunc};
use crate::error::Result;
use crate::store::{AsContext, AsContextMut, StoreData};
use crate::types::{FuncType, ValType};
use crate::val::Val;
use cowling_vm::{HostCaller, Trusted, ValRaw, on_trust};
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// A host function from a closure that handles raw values.
pub(crate) fn raw_host_func<T: 'static, F>(ty: FuncType, func: Trusted<F>) -> HostFunc<T>
where
    F: Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static,
{
    let call = |func: &F, caller: HostCaller<'_, StoreData<T>>, values: &mut [_]| {
        func(Caller::from_vm(caller), values)
    };
    let func = HostFunc::unchecked(ty.registered().clone(), func, call);
    func.unwrap_or_else(|| unreachable!("the type is a function's"))
}

impl Func {
    fn new_trusted<T: 'static, F>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: Trusted<F>,
    ) -> Self
    where
        F: Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static,
    {
        let mut store = store.as_context_mut();
        let ty = ty.adopt(store.engine().types()).expect("room for a type");
        let func = raw_host_func(ty, func);
        Func::from_vm(store.0.host_func(&func))
    }

    fn call_trusted(
        &self,
        mut store: impl AsContextMut,
        params_and_returns: Trusted<*mut [ValRaw]>,
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        store.0.call_unchecked(self.to_vm(), params_and_returns)
    }

    fn from_raw_trusted(mut store: impl AsContextMut, raw: Trusted<*mut c_void>) -> Option<Func> {
        let store = store.as_context_mut();
        store.inner().func_from_raw(raw).map(Func::from_vm)
    }

    on_trust! {
        /// A host function that handles raw values, in the buffer in which guests pass them: nothing is converted, checked or copied.
        ///
        /// The closure gets as many places as the type has parameters or results, whichever are more. It finds the arguments in them and
        /// leaves the results there. References in them are rooted no longer than the closure does not make objects or call guests.
        ///
        /// ```
        /// # use cowling::*;
        /// let mut store = Store::<()>::default();
        /// let ty = FuncType::new(store.engine(), [ValType::I32, ValType::I32], [ValType::I32]);
        /// // SAFETY: the two parameters are read as what they are, and one result is written.
        /// let add = unsafe {
        ///     Func::new_unchecked(&mut store, ty, |_, values| {
        ///         let sum = values[0].assume_init().get_i32() + values[1].assume_init().get_i32();
        ///         values[0].write(ValRaw::i32(sum));
        ///         Ok(())
        ///     })
        /// };
        /// assert_eq!(add.typed::<(i32, i32), i32>(&store)?.call(&mut store, (40, 2))?, 42);
        /// # Ok::<(), Error>(())
        /// ```
        ///
        /// # Panics
        /// If there are 16,777,215 types in the store's engine already, and this is another engine's.
        ///
        /// # Safety
        /// The closure reads arguments as what the type says they are. When it returns `Ok` it has written all results, of the types they
        /// have, and references among them are to what is alive in the store.
        pub unsafe fn new_unchecked[T: 'static](
            store: impl AsContextMut<Data = T>,
            ty: FuncType,
            trusted func: impl Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static
        ) -> Self => Func::new_trusted;

        /// Calls it with raw values: nothing is converted, checked or copied. The function finds its arguments in the places, and leaves
        /// its results there.
        ///
        /// ```
        /// # use cowling::*;
        /// let mut store = Store::<()>::default();
        /// let add = Func::wrap(&mut store, |a: i64, b: i64| a + b);
        /// let mut values = [ValRaw::i64(40), ValRaw::i64(2)];
        /// // SAFETY: the function has two parameters of type `i64` and one result.
        /// unsafe { add.call_unchecked(&mut store, &raw mut values[..])? };
        /// assert_eq!(values[0].get_i64(), 42);
        /// # Ok::<(), Error>(())
        /// ```
        ///
        /// # Errors
        /// As [`Func::call`], but for arguments.
        ///
        /// # Panics
        /// As [`Func::call`].
        ///
        /// # Safety
        /// There are as many places as parameters, and as results. Those of the parameters are written, with values of their types;
        /// references among them are to what is alive in the store.
        pub unsafe fn call_unchecked(
            &self,
            store: impl AsContextMut,
            trusted params_and_returns: *mut [ValRaw]
        ) -> Result<()> => Func::call_trusted;

        /// The function at an address; `None` for null.
        ///
        /// # Safety
        /// The address is what [`to_raw`](Func::to_raw) gave for a function of this store, or what is in a [`ValRaw`] of this store.
        pub unsafe fn from_raw(
            store: impl AsContextMut,
            trusted raw: *mut c_void
        ) -> Option<Func> => Func::from_raw_trusted;
    }

    /// Its address, by which guest code knows it, good until the function is freed: that is when its store is dropped, unless it, or
    /// the instance that defines it, is [removed](crate::Instance::remove) before. Of a function of another store, or one that was
    /// removed: null.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> *mut c_void {
        let raw = store.as_context_mut().inner().func_to_raw(self.to_vm());
        raw.unwrap_or(std::ptr::null_mut())
    }
}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    fn new_trusted(store: impl AsContext, func: Trusted<Func>) -> TypedFunc<Params, Results> {
        let func_handle = |func: &Func| func.to_vm();
        let handle = store.as_context().0.typed_unchecked(func, func_handle);
        TypedFunc::from_handle(func.into_inner(), handle)
    }

    on_trust! {
        /// The function as one that takes and returns Rust types, which are taken to be its.
        ///
        /// # Safety
        /// [`Func::typed`] would find that they are.
        pub unsafe fn new_unchecked(
            store: impl AsContext,
            trusted func: Func
        ) -> TypedFunc<Params, Results> => TypedFunc::new_trusted;
    }
}

impl Val {
    fn from_raw_trusted(mut store: impl AsContextMut, raw: Trusted<ValRaw>, ty: ValType) -> Val {
        let mut store = store.as_context_mut();
        Val::from_vm(store.inner_mut().value_from_raw(raw, ty.to_abi()))
    }

    on_trust! {
        /// A raw value with its type; a reference is rooted in the current scope.
        ///
        /// # Safety
        /// It is a value of this type; if it is a reference, then to what is alive in the store.
        pub unsafe fn from_raw(
            store: impl AsContextMut,
            trusted raw: ValRaw,
            ty: ValType
        ) -> Val => Val::from_raw_trusted;
    }

    /// The value without its type. It keeps nothing alive.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when it is a reference whose scope has ended, or that is another store's.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> Result<ValRaw> {
        Ok(store.as_context_mut().inner().value_to_raw(&self.to_vm())?)
    }
}
