//! State that belongs to host functions.
//!
//! ```text
//!   FunctionEnv (a handle) ----> slot { value, users } in the store's Envs
//!                                          ^       ^
//!   FunctionEnvMut { caller, slot } -------'       '--- counts them, so that a value that is in use is not removed
//! ```
//!
//! The value is only ever reached through a borrow of the store, so a host function that calls a guest, which calls it again, has let
//! go of the value before: there is nothing to lock, and nothing to check when it runs.

use super::caller::Caller;
use super::wasm_ty::{WasmRet, WasmTy};
use super::{Func, HostFunc, dynamic_host_func};
use crate::error::{Result, WrongStore};
use crate::externs::Extern;
use crate::memory::Memory;
use crate::module::ModuleExport;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::types::FuncType;
use crate::val::Val;
use cowling_vm::StoreId;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// State of type `E` in a store, for host functions made with [`Func::wrap_with_env`]. Several may share it.
///
/// It lives until it is [removed](Self::remove) or its store is dropped.
///
/// ```
/// use cowling::*;
///
/// let mut store = Store::<()>::default();
/// let calls = FunctionEnv::new(&mut store, Vec::new());
/// let note = Func::wrap_with_env(&mut store, &calls, |mut env: FunctionEnvMut<'_, (), Vec<i32>>, n: i32| {
///     env.data_mut().push(n);
/// })?;
/// note.typed::<i32, ()>(&store)?.call(&mut store, 7)?;
/// assert_eq!(calls.as_ref(&store)?, &[7]);
/// # Ok::<(), Error>(())
/// ```
pub struct FunctionEnv<E> {
    store: StoreId,
    slot: u32,
    generation: u32,
    _value: PhantomData<fn() -> E>,
}

/// A [`FunctionEnv`] cannot be used.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// It is another store's.
    #[error("environment of a host function: {0}")]
    WrongStore(#[from] WrongStore),
    /// It has been removed from its store.
    #[error("environment {0} of a host function, which has been removed from its store")]
    Removed(u32),
    /// A host function that has it is running, or suspended.
    #[error("environment {0} cannot be removed: a host function that has it is running")]
    InUse(u32),
}

struct Slot {
    generation: u32,
    users: u32,
    value: Option<Box<dyn Any + Send + Sync>>,
}

/// The environments of a store.
pub(crate) struct Envs {
    /// Whose they are: a store that is reset is another one.
    store: StoreId,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Those of imports, by the import's number: slot and generation.
    imports: BTreeMap<u64, (u32, u32)>,
}

impl Envs {
    fn new(store: StoreId) -> Envs {
        Envs {
            store,
            slots: Vec::new(),
            free: Vec::new(),
            imports: BTreeMap::new(),
        }
    }

    fn insert(&mut self, value: Box<dyn Any + Send + Sync>) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize].value = Some(value);
            return slot;
        }
        self.slots.push(Slot {
            generation: 0,
            users: 0,
            value: Some(value),
        });
        (self.slots.len() - 1) as u32
    }
}

/// The environments of a store, which it gets now if it has none.
fn envs<'a, T: 'static>(store: &'a mut StoreContextMut<'_, T>) -> &'a mut Envs {
    let id = store.0.id();
    let envs = store.0.data_mut().envs();
    if envs.as_ref().is_none_or(|envs| envs.store != id) {
        *envs = Some(Box::new(Envs::new(id)));
    }
    envs.get_or_insert_with(|| Box::new(Envs::new(id)))
}

impl<E: Send + Sync + 'static> FunctionEnv<E> {
    /// Puts a value into a store.
    pub fn new(mut store: impl AsContextMut, value: E) -> FunctionEnv<E> {
        let mut store = store.as_context_mut();
        let id = store.0.id();
        let envs = envs(&mut store);
        let slot = envs.insert(Box::new(value));
        FunctionEnv {
            store: id,
            slot,
            generation: envs.slots[slot as usize].generation,
            _value: PhantomData,
        }
    }

    /// The value.
    ///
    /// # Errors
    /// [`EnvError`] when it is another store's or has been removed.
    pub fn as_ref<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<&'a E, EnvError> {
        let store = store.into();
        self.check(store.0.id())?;
        let envs = store.0.into_data().envs.as_deref();
        let slot = envs.and_then(|envs| envs.slots.get(self.slot as usize));
        let slot = slot.filter(|slot| slot.generation == self.generation);
        let value = slot.and_then(|slot| slot.value.as_ref()?.downcast_ref());
        value.ok_or(EnvError::Removed(self.slot))
    }

    /// The value, for change.
    ///
    /// # Errors
    /// [`EnvError`] when it is another store's or has been removed.
    pub fn as_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<&'a mut E, EnvError> {
        let store = store.into().0;
        self.check(store.id())?;
        let slot = self.slot_mut(store.into_data_mut().envs())?;
        let value = slot.value.as_mut().and_then(|value| value.downcast_mut());
        value.ok_or(EnvError::Removed(self.slot))
    }

    /// Takes the value out of the store. Host functions that have it fail from now on.
    ///
    /// # Errors
    /// [`EnvError`] when it is another store's, has been removed, or a host function that has it is running or suspended.
    pub fn remove(self, mut store: impl AsContextMut) -> Result<E, EnvError> {
        let mut store = store.as_context_mut();
        self.check(store.0.id())?;
        let envs = store.0.data_mut().envs();
        let slot = self.slot_mut(envs)?;
        if slot.users > 0 {
            return Err(EnvError::InUse(self.slot));
        }
        let value = slot.value.take().and_then(|value| value.downcast().ok());
        slot.generation = slot.generation.wrapping_add(1);
        // One whose generations are used up is not used again.
        if slot.generation != 0
            && let Some(envs) = envs
        {
            envs.free.push(self.slot);
        }
        value
            .map(|value| *value)
            .ok_or(EnvError::Removed(self.slot))
    }

    fn check(&self, store: StoreId) -> Result<(), EnvError> {
        match self.store == store {
            true => Ok(()),
            false => Err(WrongStore.into()),
        }
    }

    fn slot_mut<'a>(&self, envs: &'a mut Option<Box<Envs>>) -> Result<&'a mut Slot, EnvError> {
        let slots = envs.as_mut().map(|envs| &mut envs.slots);
        let slot = slots.and_then(|slots| slots.get_mut(self.slot as usize));
        slot.filter(|slot| slot.generation == self.generation && slot.value.is_some())
            .ok_or(EnvError::Removed(self.slot))
    }
}

impl<E> Clone for FunctionEnv<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for FunctionEnv<E> {}

impl<E> fmt::Debug for FunctionEnv<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("FunctionEnv").field("slot", &self.slot))
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// What a host function with an environment gets: the state, the store, and the instance that called it.
///
/// It derefs to a [`Caller`] for what does not change the store. For the rest it is a context itself.
pub struct FunctionEnvMut<'a, T: 'static, E: Send + Sync + 'static> {
    caller: Caller<'a, T>,
    env: FunctionEnv<E>,
}

impl<'a, T: 'static, E: Send + Sync + 'static> FunctionEnvMut<'a, T, E> {
    /// # Errors
    /// When there is no such environment in the caller's store.
    fn enter(mut caller: Caller<'a, T>, env: FunctionEnv<E>) -> Result<Self, EnvError> {
        let mut store = caller.as_context_mut();
        env.check(store.0.id())?;
        env.slot_mut(store.0.data_mut().envs())?.users += 1;
        Ok(FunctionEnvMut { caller, env })
    }

    /// The state.
    pub fn data(&self) -> &E {
        let found = self.env.as_ref(&self.caller);
        found.unwrap_or_else(|_| unreachable!("what is in use is not removed"))
    }

    /// The state, for change.
    pub fn data_mut(&mut self) -> &mut E {
        let found = self.env.as_mut(&mut self.caller);
        found.unwrap_or_else(|_| unreachable!("what is in use is not removed"))
    }

    /// The state and the store's data, both for change.
    pub fn data_and_store_mut(&mut self) -> (&mut E, &mut T) {
        let data = self.caller.as_context_mut().0.into_data_mut();
        let (envs, data) = data.envs_and_data();
        (Self::value(self.env, envs), data)
    }

    /// The bytes of a memory, the state and the store's data, all for change. A memory of another store has no bytes here.
    pub fn memory_data_and_store_mut(&mut self, memory: &Memory) -> (&mut [u8], &mut E, &mut T) {
        let store = self.caller.as_context_mut();
        let (bytes, data) = store.0.into_memory_and_data(memory.to_vm());
        let (envs, data) = data.envs_and_data();
        (bytes, Self::value(self.env, envs), data)
    }

    fn value(env: FunctionEnv<E>, envs: &mut Option<Box<Envs>>) -> &mut E {
        let slot = env.slot_mut(envs).ok();
        let value = slot.and_then(|slot| slot.value.as_mut()?.downcast_mut());
        value.unwrap_or_else(|| unreachable!("what is in use is not removed"))
    }

    /// The handle to the state.
    pub fn as_env(&self) -> FunctionEnv<E> {
        self.env
    }

    /// As [`Caller::get_export`].
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        self.caller.get_export(name)
    }

    /// As [`Caller::get_module_export`].
    pub fn get_module_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        self.caller.get_module_export(export)
    }
}

impl<T: 'static, E: Send + Sync + 'static> Drop for FunctionEnvMut<'_, T, E> {
    fn drop(&mut self) {
        let mut store = self.caller.as_context_mut();
        if let Ok(slot) = self.env.slot_mut(store.0.data_mut().envs()) {
            slot.users -= 1;
        }
    }
}

impl<'a, T: 'static, E: Send + Sync + 'static> Deref for FunctionEnvMut<'a, T, E> {
    type Target = Caller<'a, T>;

    fn deref(&self) -> &Caller<'a, T> {
        &self.caller
    }
}

impl<T: 'static, E: Send + Sync + 'static> AsContext for FunctionEnvMut<'_, T, E> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.caller.as_context()
    }
}

impl<T: 'static, E: Send + Sync + 'static> AsContextMut for FunctionEnvMut<'_, T, E> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.caller.as_context_mut()
    }
}

impl<T: 'static, E: fmt::Debug + Send + Sync + 'static> fmt::Debug for FunctionEnvMut<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("FunctionEnvMut").field("data", self.data())).finish_non_exhaustive()
    }
}

/// Finds a host function's environment in the store that it is called in.
#[doc(hidden)]
pub(crate) type EnvSource<T, E> =
    Box<dyn Fn(StoreContextMut<'_, T>) -> Result<FunctionEnv<E>> + Send + Sync>;

/// The environment of one store.
fn given<T: 'static, E: 'static>(env: FunctionEnv<E>) -> EnvSource<T, E> {
    Box::new(move |_| Ok(env))
}

/// An environment for each store, made when it is first asked for.
pub(crate) fn for_each_store<T: 'static, E: Send + Sync + 'static>(
    init: impl Fn(StoreContextMut<'_, T>) -> Result<E> + Send + Sync + 'static,
) -> EnvSource<T, E> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let import = NEXT.fetch_add(1, Relaxed);
    let known = move |store: &mut StoreContextMut<'_, T>| {
        let (id, envs) = (store.0.id(), envs(store));
        let (slot, generation) = *envs.imports.get(&import)?;
        // It may have been removed.
        (envs.slots[slot as usize].generation == generation).then_some(FunctionEnv {
            store: id,
            slot,
            generation,
            _value: PhantomData,
        })
    };
    Box::new(move |mut store| {
        if let Some(env) = known(&mut store) {
            return Ok(env);
        }
        let value = init(store.as_context_mut())?;
        // The initialiser may have called the function itself.
        if let Some(env) = known(&mut store) {
            return Ok(env);
        }
        let env = FunctionEnv::new(&mut store, value);
        let known = (env.slot, env.generation);
        envs(&mut store).imports.insert(import, known);
        Ok(env)
    })
}

/// A closure that can be a host function with state of type `E`, in a store with data of type `T`.
///
/// As [`IntoFunc`](super::IntoFunc), with a [`FunctionEnvMut`] as the first parameter.
pub trait IntoEnvFunc<T: 'static, E, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_func(self, env: EnvSource<T, E>) -> HostFunc<T>;
}

macro_rules! closures {
    () => {
        closures!(@one);
    };
    ($A:ident $a:ident $($rest:ident)*) => {
        closures!(@one $A $a $($rest)*);
        closures!($($rest)*);
    };
    (@one $($A:ident $a:ident)*) => {
        impl<T: 'static, E: Send + Sync + 'static, F, R, $($A),*> IntoEnvFunc<T, E, ($($A,)*), R> for F
        where
            F: Fn(FunctionEnvMut<'_, T, E>, $($A),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($A: WasmTy,)*
        {
            fn into_func(self, env: EnvSource<T, E>) -> HostFunc<T> {
                HostFunc::typed(move |caller, ($($a,)*): ($($A::Abi,)*)| {
                    let mut caller = Caller::from_vm(caller);
                    let found = env(caller.as_context_mut())?;
                    self(FunctionEnvMut::enter(caller, found)?, $($A::from_abi($a)),*).into_ret()
                })
            }
        }
    };
}

closures!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5 A6 a6 A7 a7 A8 a8 A9 a9 A10 a10 A11 a11 A12 a12 A13 a13 A14 a14 A15 a15 A16 a16 A17 a17);

/// A host function with an environment from a closure that handles values dynamically.
pub(crate) fn dynamic_env_func<T: 'static, E: Send + Sync + 'static>(
    ty: FuncType,
    env: EnvSource<T, E>,
    func: impl Fn(FunctionEnvMut<'_, T, E>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
) -> HostFunc<T> {
    dynamic_host_func(ty, move |mut caller, params, results| {
        let found = env(caller.as_context_mut())?;
        func(FunctionEnvMut::enter(caller, found)?, params, results)
    })
}

impl Func {
    /// A host function with state of its own, from a closure whose type says all. See [`Func::wrap`] and [`FunctionEnv`].
    ///
    /// # Errors
    /// [`EnvError`] when the environment is another store's or has been removed.
    pub fn wrap_with_env<T: 'static, E: Send + Sync + 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        env: &FunctionEnv<E>,
        func: impl IntoEnvFunc<T, E, Params, Results>,
    ) -> Result<Func> {
        let mut store = store.as_context_mut();
        env.as_ref(&store)?;
        let func = func.into_func(given(*env));
        Ok(Func::from_vm(store.0.host_func(&func)))
    }

    /// A host function with state of its own whose type is known only when the program runs. See [`Func::new`] and [`FunctionEnv`].
    ///
    /// # Errors
    /// [`EnvError`] when the environment is another store's or has been removed, [`TypeError`](crate::TypeError) when there is no room
    /// for a type.
    pub fn new_with_env<T: 'static, E: Send + Sync + 'static>(
        mut store: impl AsContextMut<Data = T>,
        env: &FunctionEnv<E>,
        ty: FuncType,
        func: impl Fn(FunctionEnvMut<'_, T, E>, &[Val], &mut [Val]) -> Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Result<Func> {
        let mut store = store.as_context_mut();
        env.as_ref(&store)?;
        let ty = ty.adopt(store.engine().types())?;
        let func = dynamic_env_func(ty, given(*env), func);
        Ok(Func::from_vm(store.0.host_func(&func)))
    }
}
