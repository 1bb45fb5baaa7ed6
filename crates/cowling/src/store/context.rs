//! Borrowed stores.
//!
//! Nearly every method takes `impl AsContext` or `impl AsContextMut`: a `&Store`, a `&mut Store`, a `&mut Caller` inside a host
//! function, or one of the contexts here. Methods that return something borrowed from the store take `impl Into` of a context
//! instead, which the same arguments satisfy.

use super::StoreData;
use crate::engine::Engine;
use crate::error::Result;
use crate::exception::ExnRef;
use crate::func::asynchronous::asking;
use crate::gc::GcHeapOutOfMemory;
use crate::rooted::Rooted;
use cowling_vm::{GcStats, StoreInner, StoreMut, StoreRef};
use std::fmt;

/// A shared borrow of a store.
pub struct StoreContext<'a, T: 'static>(pub(crate) StoreRef<'a, StoreData<T>>);

/// An exclusive borrow of a store.
pub struct StoreContextMut<'a, T: 'static>(pub(crate) StoreMut<'a, StoreData<T>>);

/// What a store can be read through.
pub trait AsContext {
    /// The embedder's data in the store.
    type Data: 'static;

    /// The store.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What a store can be changed through.
pub trait AsContextMut: AsContext {
    /// The store.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<'a, T: 'static> StoreContext<'a, T> {
    /// The embedder's data.
    pub fn data(&self) -> &'a T {
        &self.0.data().data
    }

    /// The engine the store was made with.
    pub fn engine(&self) -> &'a Engine {
        Engine::of_store(self.0.embedder())
    }

    /// The fuel that is left. See [`Store::set_fuel`](crate::Store::set_fuel).
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel.
    pub fn get_fuel(&self) -> Result<u64> {
        Ok(self.inner().fuel()?)
    }

    #[inline]
    pub(crate) fn inner(&self) -> &'a StoreInner {
        self.0.inner()
    }
}

impl<'a, T: 'static> StoreContextMut<'a, T> {
    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.0.data().data
    }

    /// The embedder's data, for change.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.0.data_mut().data
    }

    /// The engine the store was made with.
    pub fn engine(&self) -> &Engine {
        Engine::of_store(self.0.as_ref().embedder())
    }

    /// Gives guests that much fuel, in place of what they had left. See [`Store::set_fuel`](crate::Store::set_fuel).
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        Ok(self.inner_mut().set_fuel(fuel)?)
    }

    /// The fuel that is left.
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel.
    pub fn get_fuel(&self) -> Result<u64> {
        Ok(self.inner().fuel()?)
    }

    /// Makes asynchronous calls give way to others each time they have used that much fuel; `None`: never.
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel, or the interval is 0.
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        Ok(self.inner_mut().set_fuel_yield_interval(interval)?)
    }

    /// Frees objects, host values and exceptions that nothing refers to any more, and what was [removed](crate::Instance::remove) and
    /// is not reached any more. After an object was not made because the heap is
    /// full, the error says how much room to make, if possible. Nothing happens while a guest of the store is interrupted.
    ///
    /// # Errors
    /// A limiter's, when it is asked because the heap would have to grow, and fails.
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.0.inner_mut().free_unreachable();
        let bytes = why.map(GcHeapOutOfMemory::bytes_needed);
        crate::gc::make_room(self.0.inner_mut(), bytes)
    }

    /// As [`gc`](Self::gc), for stores whose limiter has to be waited for: see
    /// [`Store::limiter_async`](crate::Store::limiter_async). A collection itself never waits.
    ///
    /// # Errors
    /// As [`gc`](Self::gc).
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()>
    where
        T: Send,
    {
        let bytes = why.map(GcHeapOutOfMemory::bytes_needed);
        asking(self, move |store| crate::gc::make_room(store, bytes)).await
    }

    /// Size of the heap of objects, in bytes; 0 as long as there is none.
    pub fn gc_heap_capacity(&self) -> usize {
        usize::try_from(self.gc_stats().heap_bytes).unwrap_or(usize::MAX)
    }

    /// How often the store has collected, what that cost, and what is in use.
    pub fn gc_stats(&self) -> GcStats {
        self.inner().gc_stats()
    }

    /// The error by which a host function throws an exception: what it returns is always that
    /// [`ThrownException`](crate::ThrownException). A host function that returns it throws the exception into the guest that
    /// called it.
    ///
    /// # Errors
    /// Always; [`RefError`](crate::RefError) when the reference is not good.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        Err(self
            .0
            .inner_mut()
            .exception_error(exception.to_vm())?
            .into())
    }

    /// Has an exception come out of a call, or been [thrown](Self::throw), that was neither thrown on into a guest nor
    /// [taken](Self::take_pending_exception)?
    pub fn has_pending_exception(&self) -> bool {
        self.0.inner().has_pending_exception()
    }

    /// Takes the exception that came out of a call, or was [thrown](Self::throw), last. The error that stands for it stays good.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        let exception = self.0.inner_mut().take_pending_exception()?;
        Some(Rooted::from_vm(exception))
    }

    #[inline]
    pub(crate) fn inner(&self) -> &StoreInner {
        self.0.inner()
    }

    #[inline]
    pub(crate) fn inner_mut(&mut self) -> &mut StoreInner {
        self.0.inner_mut()
    }
}

impl<T: 'static> Clone for StoreContext<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: 'static> Copy for StoreContext<'_, T> {}

impl<T: 'static> fmt::Debug for StoreContext<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreContext").finish_non_exhaustive()
    }
}

impl<T: 'static> fmt::Debug for StoreContextMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreContextMut").finish_non_exhaustive()
    }
}

impl<T: 'static> AsContext for StoreContext<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        *self
    }
}

impl<T: 'static> AsContext for StoreContextMut<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0.as_ref())
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.0.reborrow())
    }
}

impl<S: AsContext> AsContext for &S {
    type Data = S::Data;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, S::Data> {
        S::as_context(self)
    }
}

impl<S: AsContext> AsContext for &mut S {
    type Data = S::Data;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, S::Data> {
        S::as_context(self)
    }
}

impl<S: AsContextMut> AsContextMut for &mut S {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, S::Data> {
        S::as_context_mut(self)
    }
}

impl<'a, S: AsContext> From<&'a S> for StoreContext<'a, S::Data> {
    fn from(store: &'a S) -> Self {
        store.as_context()
    }
}

impl<'a, S: AsContext> From<&'a mut S> for StoreContext<'a, S::Data> {
    fn from(store: &'a mut S) -> Self {
        S::as_context(store)
    }
}

impl<'a, T: 'static> From<StoreContextMut<'a, T>> for StoreContext<'a, T> {
    fn from(store: StoreContextMut<'a, T>) -> Self {
        StoreContext(store.0.into_ref())
    }
}

impl<'a, S: AsContextMut> From<&'a mut S> for StoreContextMut<'a, S::Data> {
    fn from(store: &'a mut S) -> Self {
        store.as_context_mut()
    }
}
