//! What a host function knows of its caller.

use crate::backtrace::WasmBacktrace;
use crate::engine::Engine;
use crate::error::Result;
use crate::exception::ExnRef;
use crate::externs::Extern;
use crate::gc::GcHeapOutOfMemory;
use crate::instance::Instance;
use crate::module::ModuleExport;
use crate::rooted::Rooted;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut, StoreData};
use cowling_vm::{HostCaller, InstanceHandle, StoreMut};
use std::fmt;

/// The store a host function was called in, and the instance that called it.
pub struct Caller<'a, T: 'static> {
    store: StoreContextMut<'a, T>,
    instance: Option<InstanceHandle>,
}

impl<'a, T: 'static> Caller<'a, T> {
    pub(crate) fn from_vm(caller: HostCaller<'a, StoreData<T>>) -> Self {
        Caller {
            store: StoreContextMut(caller.store),
            instance: caller.instance,
        }
    }

    #[inline]
    pub(crate) fn vm_mut(&mut self) -> StoreMut<'_, StoreData<T>> {
        self.store.0.reborrow()
    }

    pub(crate) fn instance_handle(&self) -> Option<InstanceHandle> {
        self.instance
    }

    /// The export of this name of the calling instance. `None` if it has none, or if no instance called but the embedder.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        Instance::from_vm(self.instance?).get_export(&mut self.store, name)
    }

    /// The export of the calling instance that was found in its module before. `None` if it is another module's, or if no
    /// instance called but the embedder.
    pub fn get_module_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        Instance::from_vm(self.instance?).get_module_export(&mut self.store, export)
    }

    /// The guest functions that led to this call, innermost first.
    pub fn backtrace(&self) -> WasmBacktrace {
        WasmBacktrace::force_capture(self)
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The embedder's data, for change.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// The engine the store was made with.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// For host functions that take long: does now what would otherwise be done when the function returns to the guest, if
    /// anybody asked for something meanwhile. An epoch's callback is called, and a guest that is to let others run is
    /// suspended here, so that this, like [`yield_`](Self::yield_), may return on another thread. Costs a load when nobody asked.
    ///
    /// Waiting for something, call it often, or whenever a system call fails with `EINTR`: requests come with a signal.
    ///
    /// ```
    /// # use cowling::*;
    /// # use std::time::{Duration, Instant};
    /// let mut linker = Linker::new(&Engine::default());
    /// linker.func_wrap("host", "sleep", |mut caller: Caller<'_, ()>, ms: u64| {
    ///     let until = Instant::now() + Duration::from_millis(ms);
    ///     while Instant::now() < until {
    ///         caller.check_interruption()?;
    ///         std::thread::sleep(Duration::from_millis(1));
    ///     }
    ///     Ok(())
    /// })?;
    /// let module = Module::new(linker.engine(), r#"(module (import "host" "sleep" (func (param i64)))
    ///     (func (export "run") (call 0 (i64.const 3_600_000))))"#)?;
    /// let mut store = Store::new(linker.engine(), ());
    /// let run = linker.instantiate(&mut store, &module)?.get_typed_func::<(), ()>(&mut store, "run")?;
    /// store.set_timeout(Duration::from_millis(10))?;
    /// let error = run.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast_ref(), Some(&Terminated::Deadline));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Why the guest is to end; the host function should return it. What other errors it returns instead do not keep the guest
    /// alive.
    pub fn check_interruption(&mut self) -> Result<()> {
        self.vm_mut().heed_requests()
    }

    /// Gives the guest that much fuel, in place of what it had left. See [`Store::set_fuel`](crate::Store::set_fuel).
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.store.set_fuel(fuel)
    }

    /// The fuel that is left: everything up to and with the call of the host function has been taken from it.
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel.
    pub fn get_fuel(&self) -> Result<u64> {
        self.store.get_fuel()
    }

    /// Makes asynchronous calls give way to others each time they have used that much fuel; `None`: never.
    ///
    /// # Errors
    /// [`FuelError`](crate::FuelError) when the engine does not count fuel, or the interval is 0.
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.store.fuel_async_yield_interval(interval)
    }

    /// Frees objects, host values and exceptions that nothing refers to any more. See [`StoreContextMut::gc`].
    ///
    /// # Errors
    /// A limiter's, when it is asked because the heap would have to grow, and fails.
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.store.gc(why)
    }

    /// As [`gc`](Self::gc): a collection never waits.
    ///
    /// # Errors
    /// As [`gc`](Self::gc).
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.store.gc(why)
    }

    /// Size of the heap of objects, in bytes; 0 as long as there is none.
    pub fn gc_heap_capacity(&self) -> usize {
        self.store.gc_heap_capacity()
    }

    /// The error by which the host function throws an exception. See [`StoreContextMut::throw`].
    ///
    /// # Errors
    /// Always.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.store.throw(exception)
    }

    /// Is there an exception that nobody has taken? See [`StoreContextMut::has_pending_exception`].
    pub fn has_pending_exception(&self) -> bool {
        self.store.has_pending_exception()
    }

    /// Takes the exception that came out of a call last. See [`StoreContextMut::take_pending_exception`].
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.store.take_pending_exception()
    }
}

impl<T: 'static> AsContext for Caller<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T: 'static> AsContextMut for Caller<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}

impl<'a, T: 'static> From<Caller<'a, T>> for StoreContextMut<'a, T> {
    fn from(caller: Caller<'a, T>) -> Self {
        caller.store
    }
}

impl<T: 'static> fmt::Debug for Caller<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}
