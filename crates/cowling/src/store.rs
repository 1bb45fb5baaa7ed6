//! Stores: what instances live in.
//!
//! | file | job |
//! |---|---|
//! | this | [`Store`] |
//! | [`context`] | [`AsContext`], [`AsContextMut`] and the two contexts every other method takes a store through |
//! | [`call_hook`] | watching transitions between host and guests |
//! | [`modules`] | the modules of a store's instances, as embedders see them |
//! | [`interruption`] | deadlines, epochs, quanta, kill switches |

mod call_hook;
pub(crate) mod context;
mod interruption;
mod modules;

pub use call_hook::CallHookHandler;
pub use context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
pub use interruption::UpdateDeadline;

use crate::engine::Engine;
use crate::error::Result;
use crate::exception::ExnRef;
use crate::func::env::Envs;
use crate::gc::GcHeapOutOfMemory;
use crate::guest::Contexts;
use crate::rooted::Rooted;
use cowling_vm::{GcStats, Quota, ResourceLimiter, ResourceLimiterAsync, StoreMut, StoreSpec};
use interruption::EpochWait;
use modules::Modules;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What the runtime's store carries for this crate: the embedder's data, and what an epoch callback wants.
pub struct StoreData<T> {
    pub(crate) data: T,
    /// What the computation that is suspended waits for before it goes on. The mutex is never locked: it makes a future, of
    /// which only `Send` is asked, `Sync`.
    epoch_wait: Mutex<Option<EpochWait>>,
    /// The embedder's contexts. Never locked either.
    contexts: Mutex<Contexts>,
    /// Modules of its instances that somebody has asked for.
    modules: Modules,
    /// State of host functions. Most stores have none.
    pub(crate) envs: Option<Box<Envs>>,
}

impl<T> StoreData<T> {
    fn new(data: T) -> StoreData<T> {
        StoreData {
            data,
            epoch_wait: Mutex::default(),
            contexts: Mutex::default(),
            modules: Modules::default(),
            envs: None,
        }
    }

    /// Modules of its instances that somebody has asked for.
    pub(crate) fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Forgets them: one may be of an instance that is gone.
    pub(crate) fn forget_modules(&mut self) {
        self.modules = Modules::default();
    }

    /// State of host functions.
    pub(crate) fn envs(&mut self) -> &mut Option<Box<Envs>> {
        &mut self.envs
    }

    /// State of host functions, and the embedder's data.
    pub(crate) fn envs_and_data(&mut self) -> (&mut Option<Box<Envs>>, &mut T) {
        (&mut self.envs, &mut self.data)
    }

    /// The embedder's contexts.
    pub(crate) fn contexts(&mut self) -> &mut Contexts {
        self.contexts
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What the computation that is suspended waits for before it goes on.
    pub(crate) fn epoch_wait(&mut self) -> &mut Option<EpochWait> {
        self.epoch_wait
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Instances and everything they own, with data of the embedder's choice that host functions reach.
///
/// Nothing leaves a store: what is made in it lives as long as it does. Stores are meant to be short-lived, one per guest or
/// request. A store may be moved to another thread between calls, if `T` may.
pub struct Store<T: 'static> {
    inner: cowling_vm::Store<StoreData<T>>,
}

impl<T: 'static> Store<T> {
    /// An empty store that may take at most so much, and whose slots come from there.
    pub(crate) fn with_spec(engine: &Engine, spec: StoreSpec, data: T) -> Store<T> {
        let of_stores = || engine.of_stores();
        let data = StoreData::new(data);
        Store {
            inner: cowling_vm::Store::with_spec(engine.runtime(), spec, of_stores, data),
        }
    }

    /// Drops everything but the embedder's data and settings, which an empty store is given.
    pub(crate) fn reset(&mut self) {
        self.inner.data_mut().modules = Modules::default();
        self.inner.reset();
    }

    /// The runtime's store.
    #[inline]
    pub(crate) fn vm_mut(&mut self) -> StoreMut<'_, StoreData<T>> {
        self.inner.as_mut()
    }

    /// An empty store.
    pub fn new(engine: &Engine, data: T) -> Store<T> {
        let quota = Quota::from_knobs(engine.config().knobs());
        Store::with_spec(engine, StoreSpec { quota, pool: None }, data)
    }

    /// As [`new`](Self::new), for those who ask for the error: a store has no room of its own that could be refused.
    ///
    /// # Errors
    /// None today. When the system has no memory for the host's own data, the process ends.
    pub fn try_new(engine: &Engine, data: T) -> Result<Store<T>> {
        Ok(Store::new(engine, data))
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.inner.data().data
    }

    /// The embedder's data, for change.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner.data_mut().data
    }

    /// Drops everything but the embedder's data.
    pub fn into_data(self) -> T {
        self.inner.into_data().data
    }

    /// The engine it was made with.
    pub fn engine(&self) -> &Engine {
        Engine::of_store(self.inner.as_ref().embedder())
    }

    /// Lets a limiter decide what the guests may take. It is found in, or beside, the embedder's data.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let limits = StoreLimitsBuilder::new().memory_size(1 << 20).build();
    /// let mut store = Store::new(&engine, limits);
    /// store.limiter(|limits| limits);
    /// assert!(Memory::new(&mut store, MemoryType::new(17, None)).is_err());
    /// ```
    pub fn limiter(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        self.inner
            .set_limiter(move |data: &mut StoreData<T>| limiter(&mut data.data));
    }

    /// Lets a limiter decide that may take its time: guests that want more are suspended until it has decided, and so is
    /// instantiation.
    ///
    /// From then on what asks the limiter has to be asynchronous: guests that grow something are to be run by asynchronous calls,
    /// modules with memories, tables or objects to be instantiated by asynchronous functions, and the host creates and grows by
    /// [`Memory::new_async`](crate::Memory::new_async), [`Memory::grow_async`](crate::Memory::grow_async) and their like. All
    /// else fails with [`NeedsAsync`](crate::NeedsAsync) when it would have to ask.
    pub fn limiter_async(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiterAsync) + Send + Sync + 'static,
    ) {
        self.inner
            .set_limiter_async(move |data: &mut StoreData<T>| limiter(&mut data.data));
    }

    /// Gives the guests of this store that much fuel, in place of what they had left. A store begins with none.
    ///
    /// Guest code that has no fuel left stops with [`Trap::OutOfFuel`](crate::Trap::OutOfFuel). What costs how much, and where guest code
    /// notices, is in `docs/fuel.md`.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::new(Config::new().consume_fuel(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "spin") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_fuel(10_000)?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
    /// let error = spin.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    /// assert_eq!(store.get_fuel()?, 0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel: see
    /// [`Config::consume_fuel`](crate::Config::consume_fuel).
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.as_context_mut().set_fuel(fuel)
    }

    /// The fuel that is left.
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel.
    pub fn get_fuel(&self) -> Result<u64> {
        self.as_context().get_fuel()
    }

    /// Makes asynchronous calls give way to others each time they have used that much fuel; `None`: never.
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel, or the interval is 0.
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.as_context_mut().fuel_async_yield_interval(interval)
    }

    /// Frees objects, host values and exceptions that nothing refers to any more. See [`StoreContextMut::gc`].
    ///
    /// # Errors
    /// A limiter's, when it is asked because the heap would have to grow, and fails.
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.as_context_mut().gc(why)
    }

    /// See [`StoreContextMut::gc_async`].
    ///
    /// # Errors
    /// As [`gc`](Self::gc).
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()>
    where
        T: Send,
    {
        self.as_context_mut().gc_async(why).await
    }

    /// Size of the heap of objects, in bytes; 0 as long as there is none.
    pub fn gc_heap_capacity(&self) -> usize {
        usize::try_from(self.gc_stats().heap_bytes).unwrap_or(usize::MAX)
    }

    /// How often the store has collected, what that cost, and what is in use.
    ///
    /// ```
    /// # use cowling::*;
    /// let mut store = Store::<()>::default();
    /// store.gc(None)?;
    /// assert_eq!(store.gc_stats().collections, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn gc_stats(&self) -> GcStats {
        self.as_context().0.inner().gc_stats()
    }

    /// The error by which a host function throws an exception. See [`StoreContextMut::throw`].
    ///
    /// # Errors
    /// Always.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.as_context_mut().throw(exception)
    }

    /// Is there an exception that nobody has taken? See [`StoreContextMut::has_pending_exception`].
    pub fn has_pending_exception(&self) -> bool {
        self.as_context().inner().has_pending_exception()
    }

    /// Takes the exception that came out of a call last. See [`StoreContextMut::take_pending_exception`].
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.as_context_mut().take_pending_exception()
    }
}

impl<T: Default + 'static> Default for Store<T> {
    /// An empty store of a new engine with the default settings.
    fn default() -> Self {
        Store::new(&Engine::default(), T::default())
    }
}

impl<T: fmt::Debug + 'static> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}

impl<T: 'static> AsContext for Store<T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.inner.as_ref())
    }
}

impl<T: 'static> AsContextMut for Store<T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.inner.as_mut())
    }
}
