//! Functions called with Rust types.

use super::wasm_ty::{WasmParams, WasmResults};
use super::{Func, typed_handle};
use crate::error::Result;
use crate::store::{AsContextMut, StoreContext, StoreContextMut};
use cowling_vm::TypedHandle;
use std::fmt;
use tracing::level_filters::LevelFilter;

/// A [`Func`] whose type was found to fit `Params` and `Results`, so that calls check nothing more.
pub struct TypedFunc<Params: WasmParams, Results: WasmResults> {
    func: Func,
    handle: TypedHandle<Params::Abi, Results::Abi>,
}

impl<Params: WasmParams, Results: WasmResults> TypedFunc<Params, Results> {
    pub(crate) fn new<T: 'static>(store: StoreContext<'_, T>, func: Func) -> Result<Self> {
        Ok(TypedFunc {
            func,
            handle: typed_handle::<T, Params, Results>(store, func)?,
        })
    }

    pub(crate) fn from_handle(func: Func, handle: TypedHandle<Params::Abi, Results::Abi>) -> Self {
        TypedFunc { func, handle }
    }

    /// The function, untyped.
    pub fn func(&self) -> &Func {
        &self.func
    }

    pub(crate) fn handle(&self) -> &TypedHandle<Params::Abi, Results::Abi> {
        &self.handle
    }

    /// Calls it.
    ///
    /// # Errors
    /// The [`Trap`](crate::Trap) or host function's error that stopped it, with a [`WasmBacktrace`](crate::WasmBacktrace);
    /// [`WrongStore`](crate::WrongStore) when the function or a reference among the arguments is another store's.
    ///
    /// # Panics
    /// If a host function it calls panics, the panic goes on here. The store stays usable.
    #[inline]
    pub fn call(&self, mut store: impl AsContextMut, params: Params) -> Result<Results> {
        // Nearly always nobody listens: then not even a span that is disabled is made.
        if LevelFilter::current() == LevelFilter::TRACE {
            return self.call_traced(store.as_context_mut(), params);
        }
        let results = store
            .as_context_mut()
            .0
            .call_typed(&self.handle, params.into_abi())?;
        Ok(Results::from_abi(results))
    }

    #[cold]
    #[inline(never)]
    fn call_traced<T: 'static>(
        &self,
        mut store: StoreContextMut<'_, T>,
        params: Params,
    ) -> Result<Results> {
        let _span = tracing::trace_span!("call").entered();
        let results = store.0.call_typed(&self.handle, params.into_abi())?;
        Ok(Results::from_abi(results))
    }
}

impl<Params: WasmParams, Results: WasmResults> Clone for TypedFunc<Params, Results> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Params: WasmParams, Results: WasmResults> Copy for TypedFunc<Params, Results> {}

impl<Params: WasmParams, Results: WasmResults> fmt::Debug for TypedFunc<Params, Results> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedFunc")
            .field("func", &self.func)
            .finish_non_exhaustive()
    }
}
