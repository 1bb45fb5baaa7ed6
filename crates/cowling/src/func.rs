//! Functions.
//!
//! | file | job |
//! |---|---|
//! | this | [`Func`]: made by the host or by guests, called dynamically |
//! | [`typed`] | [`TypedFunc`]: called with Rust types, checked once |
//! | [`unchecked`] | functions called and made with raw values |
//! | [`wasm_ty`] | which Rust types stand for which WebAssembly types |
//! | [`into_func`] | which Rust closures can be host functions |
//! | [`asynchronous`] | calls and host functions that wait |
//! | [`caller`] | what a host function knows of its caller |
//! | [`env`] | state that belongs to host functions |

pub(crate) mod asynchronous;
pub(crate) mod caller;
pub(crate) mod env;
pub(crate) mod into_func;
pub(crate) mod typed;
pub(crate) mod unchecked;
pub(crate) mod wasm_ty;

pub use asynchronous::YieldedInAsyncCall;
pub use caller::Caller;
pub use env::{EnvError, FunctionEnv, FunctionEnvMut, IntoEnvFunc};
pub use into_func::IntoFunc;
pub use typed::TypedFunc;
pub use wasm_ty::{WasmParams, WasmResults, WasmRet, WasmTy, WasmTyList};

use crate::error::Result;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreData};
use crate::types::FuncType;
use crate::val::{Val, Values};
use cowling_vm::{FuncHandle, HostCaller, Value};

/// A function in a store: one that a guest defines, or one that the host does.
///
/// Used with another store, methods that return a `Result` fail with [`WrongStore`](crate::WrongStore); the others say what they answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Func(FuncHandle);

/// A host function that belongs to no store yet.
pub(crate) type HostFunc<T> = cowling_vm::HostFunc<StoreData<T>>;

/// A host function from a closure that handles values dynamically.
pub(crate) fn dynamic_host_func<T: 'static>(
    ty: FuncType,
    func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
) -> HostFunc<T> {
    registered_host_func(ty, move |caller, params, results| {
        let params: Values<Val> = params.iter().map(|v| Val::from_vm(*v)).collect();
        let mut values: Values<Val> = results.iter().map(|v| Val::from_vm(*v)).collect();
        func(Caller::from_vm(caller), &params, &mut values)?;
        for (result, value) in results.iter_mut().zip(values) {
            *result = value.to_vm();
        }
        Ok(())
    })
}

/// A host function of a type.
fn registered_host_func<T: 'static>(
    ty: FuncType,
    func: impl Fn(HostCaller<'_, StoreData<T>>, &[Value], &mut [Value]) -> Result<()>
    + Send
    + Sync
    + 'static,
) -> HostFunc<T> {
    let func = HostFunc::registered(ty.registered().clone(), func);
    func.unwrap_or_else(|| unreachable!("the type is a function's"))
}

impl Func {
    /// A host function whose type is known only when the program runs. The closure gets as many arguments as the type has
    /// parameters, and as many places for results, which hold zero or null.
    ///
    /// The closure's error stops the guest and comes out where it was entered, with a backtrace. If it leaves a result of
    /// another type than it should, that is an error too.
    ///
    /// # Panics
    /// If there are 16,777,215 types in the store's engine already, and this is another engine's.
    pub fn new<T: 'static>(
        store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        Self::try_new(store, ty, func).expect("room for a type")
    }

    /// As [`new`](Self::new), which panics where this is an error.
    ///
    /// # Errors
    /// [`TypeError`](crate::TypeError) when there are too many types in the store's engine, and this is another engine's.
    pub fn try_new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Func> {
        let mut store = store.as_context_mut();
        let ty = ty.adopt(store.engine().types())?;
        let func = dynamic_host_func(ty, func);
        Ok(Func(store.0.host_func(&func)))
    }

    /// A host function from a closure whose type says all. See [`IntoFunc`].
    ///
    /// ```
    /// # use cowling::*;
    /// let mut store = Store::<()>::default();
    /// let add = Func::wrap(&mut store, |a: i32, b: i32| a.wrapping_add(b));
    /// let half = Func::wrap(&mut store, |_caller: Caller<'_, ()>, a: i32| -> Result<i32> {
    ///     ensure!(a % 2 == 0, "{a} is odd");
    ///     Ok(a / 2)
    /// });
    /// assert_eq!(add.ty(&store).to_string(), "(func (param i32 i32) (result i32))");
    /// assert_eq!(half.typed::<i32, i32>(&store)?.call(&mut store, 6)?, 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Func {
        let func = func.into_func();
        Func(store.as_context_mut().0.host_func(&func))
    }

    /// As [`wrap`](Self::wrap), for those who ask for the error.
    ///
    /// # Errors
    /// None today. When the system has no memory for the host's own data, the process ends.
    pub fn try_wrap<T: 'static, Params, Results>(
        store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<Func> {
        Ok(Self::wrap(store, func))
    }

    /// Its type. Of a function of another store: `(func)`.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        let store = store.as_context();
        let ty = store.inner().func_registered_type(self.0);
        ty.map_or_else(
            |_| FuncType::empty(store.engine().types()),
            FuncType::from_registered,
        )
    }

    /// May it be used where a function of type `ty` is expected? A function of another store may not.
    pub fn matches_ty(&self, store: impl AsContext, ty: &FuncType) -> bool {
        let found = store.as_context().inner().func_registered_type(self.0);
        found.is_ok_and(|found| found.is_subtype(ty.registered()))
    }

    /// Calls it. `results` must have as many places as it has results; what they hold before does not matter.
    ///
    /// # Errors
    /// [`CallError`](crate::CallError) when number or types of the arguments or the number of results are wrong; the
    /// [`Trap`](crate::Trap) or host function's error that stopped it, with a [`WasmBacktrace`](crate::WasmBacktrace).
    ///
    /// # Panics
    /// If a host function it calls panics, the panic goes on here. The store stays usable.
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let _span = tracing::trace_span!("call").entered();
        let params: Values<Value> = params.iter().map(|v| v.to_vm()).collect();
        let mut values: Values<Value> = results.iter().map(|_| Value::I32(0)).collect();
        store
            .as_context_mut()
            .0
            .call(self.0, &params, &mut values)?;
        for (result, value) in results.iter_mut().zip(values) {
            *result = Val::from_vm(value);
        }
        Ok(())
    }

    /// The function as one that takes and returns Rust types. See [`WasmParams`] and [`WasmResults`].
    ///
    /// # Errors
    /// [`TypeMismatch`](crate::TypeMismatch) when it is of another type.
    pub fn typed<Params: WasmParams, Results: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<Params, Results>> {
        TypedFunc::new(store.as_context(), *self)
    }

    #[inline]
    pub(crate) fn from_vm(handle: FuncHandle) -> Func {
        Func(handle)
    }

    #[inline]
    pub(crate) fn to_vm(self) -> FuncHandle {
        self.0
    }
}

/// The type a typed call asks for.
pub(crate) fn typed_handle<T: 'static, P: WasmParams, R: WasmResults>(
    store: StoreContext<'_, T>,
    func: Func,
) -> Result<cowling_vm::TypedHandle<P::Abi, R::Abi>> {
    Ok(store.0.typed(func.0)?)
}
