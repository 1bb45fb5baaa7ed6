//! The store: owner of everything guests of one computation share, and of the embedder's data beside it.
//!
//! ```text
//!   Store<T> ---> StoreBox<T>, one allocation that never moves
//!                 +---------------------------------------------------------------+
//!                 | StoreInner                                                    |
//!                 |   StoreContext  <--- compiled code: VmHeader::store           |
//!                 |   instances, host functions, guest stack, objects, ...        |
//!                 +---------------------------------------------------------------+
//!                 | limiter, data: T                                              |
//!                 +---------------------------------------------------------------+
//! ```
//!
//! # Invariant
//!
//! The allocation is only ever reached through raw pointers to all of it: the one in [`Store`], copies of it in [`StoreRef`] and
//! [`StoreMut`] (whose lifetimes make the borrow checker treat them as borrows of the store), and the ones compiled code hands
//! back at the host-call boundary, which are copies too. References to parts are made from those pointers for the length of one
//! method, and none is alive while guest code runs; so whatever guest code and the functions it calls write through their own
//! copy of the pointer, no reference is ever violated. [`StoreInner`] and `data` are disjoint, so one may be borrowed while the
//! other is used.

mod gc_objects;
mod gc_values;
mod handle;
mod inner;
mod inventory;
mod objects;
mod places;
pub(crate) mod shell;

pub(crate) use gc_objects::ArrayRef;
pub use handle::{
    ExternHandle, FuncHandle, GlobalHandle, InstanceHandle, MemoryHandle, TableHandle, TagHandle,
};
pub use inner::StoreInner;
pub(crate) use inner::{Adoption, Counts, For};
pub use inner::{Holder, Removal, RemoveError};

use crate::backtrace::Describe;
use crate::call_hook::{CallHook, CallHookLost};
use crate::code::TypeRegistry;
use crate::embedder::Supplied;
use crate::epoch::{EpochClock, EpochUpdate};
use crate::error::Result;
use crate::limits::{
    self, Answers, AnyLimiter, Growing, Growth, LimiterLost, ResourceLimiter, ResourceLimiterAsync,
};
use crate::pool::cache::Allocation;
use crate::pool::{self, Pool};
use crate::quota::Quota;
use crate::repair::{FailedAccess, Repair};
use crate::spread::Share;
use cowling_abi::Trap;
use cowling_abi::knobs::Knobs;
use shell::Shell;
use std::alloc::{Layout, alloc, handle_alloc_error};
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the stores of one engine have in common.
#[derive(Debug)]
pub struct RuntimeConfig {
    /// The engine's settings.
    pub knobs: Knobs,
    /// The engine's function types.
    pub types: Arc<TypeRegistry>,
    /// The engine's epochs.
    pub epochs: Arc<EpochClock>,
    /// What the embedder supplies to the engine's stores.
    pub supplied: Supplied,
    /// Where slots come from, unless a store has a pool of its own. Kept warm as long as there is a [`Handle`] to it.
    ///
    /// [`Handle`]: crate::Handle
    pub pool: Arc<Pool>,
    /// What becomes of the error of a guest that was stopped.
    pub describe: Describe,
}

/// Identity of a store. Never used twice in a process.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(u64);

impl StoreId {
    /// So many numbers that nobody else has.
    pub(crate) fn take(count: u64) -> Range<u64> {
        // 2^64 stores at one per nanosecond take five centuries.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        first..first + count
    }

    /// One of the numbers [taken](Self::take), each used once.
    ///
    /// Ids lie on guest stacks, in handles and registers, so neither half of one looks like a reference, as small numbers do.
    pub(crate) fn from_raw(raw: u64) -> StoreId {
        let half = |bits: u64| 1 << 31 | (bits & 0x3fff_ffff) << 1 | 1;
        StoreId(half(raw) | half(raw >> 30) << 32)
    }

    /// Nobody's.
    pub(crate) fn nobody() -> StoreId {
        Self::from_raw(0)
    }

    /// An id nobody else has.
    pub(crate) fn next() -> StoreId {
        let local = pool::cache::local(|cached| cached.next_id());
        local.unwrap_or_else(|| Self::from_raw(Self::take(1).start))
    }
}

/// What is particular to a store.
#[derive(Debug)]
pub struct StoreSpec {
    /// What it may take.
    pub quota: Quota,
    /// Where its slots come from, if not from its engine's pool.
    pub pool: Option<Arc<Share<Pool>>>,
}

/// Finds a store's limiter in its data.
enum LimiterSource<T> {
    Plain(Box<dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync>),
    Async(Box<dyn (FnMut(&mut T) -> &mut dyn ResourceLimiterAsync) + Send + Sync>),
}

/// What a store calls at its epoch deadline.
pub(crate) type EpochCallback<T> =
    Box<dyn FnMut(StoreMut<'_, T>) -> Result<EpochUpdate> + Send + Sync>;

/// What a store calls when a guest's access to a memory failed.
pub(crate) type RepairCallback<T> =
    Box<dyn FnMut(StoreMut<'_, T>, FailedAccess) -> Result<Repair> + Send + Sync>;

/// What a store calls when guests are entered and left.
type CallHookCallback<T> = Box<dyn FnMut(StoreMut<'_, T>, CallHook) -> Result<()> + Send + Sync>;

/// A store's one allocation. [`StoreInner`] comes first, so that a pointer to one is a pointer to the other.
#[repr(C)]
struct StoreBox<T: 'static> {
    inner: StoreInner,
    limiter: Option<LimiterSource<T>>,
    on_epoch: Option<EpochCallback<T>>,
    repair: Option<RepairCallback<T>>,
    call_hook: Option<CallHookCallback<T>>,
    data: T,
}

/// A store and the embedder's data.
///
/// Instances, functions, memories and all else made in a store live until it is dropped.
pub struct Store<T: 'static> {
    allocation: NonNull<StoreBox<T>>,
    _owns: PhantomData<StoreBox<T>>,
}

// SAFETY: what a store owns is either `Send` (data, limiter, host functions, host values) or pointers into memory that only this
// store uses (instances, stacks, records); nothing refers to the thread that made it. What is on the stacks of suspended computations
// may move to another thread for the reasons given in the module `suspend`.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: through `&Store` only `&T` and the `&self` methods of `StoreInner` can be reached, which only read.
unsafe impl<T: Sync> Sync for Store<T> {}

/// A store, borrowed.
pub struct StoreRef<'a, T: 'static> {
    allocation: NonNull<StoreBox<T>>,
    _borrow: PhantomData<&'a StoreBox<T>>,
}

/// A store, borrowed for change.
pub struct StoreMut<'a, T: 'static> {
    allocation: NonNull<StoreBox<T>>,
    _borrow: PhantomData<&'a mut StoreBox<T>>,
}

// SAFETY: a `StoreRef` is a `&Store<T>`, a `StoreMut` a `&mut Store<T>`, with another representation.
unsafe impl<T: Sync> Send for StoreRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for StoreRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for StoreMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for StoreMut<'_, T> {}

impl<T: 'static> Store<T> {
    /// A store without instances. The guest stack is made when it is first needed.
    pub fn new(config: &Arc<RuntimeConfig>, data: T) -> Store<T> {
        let spec = StoreSpec {
            quota: Quota::from_knobs(&config.knobs),
            pool: None,
        };
        Self::with_spec(config, spec, || Box::new(()), data)
    }

    /// A store without instances. `embedder` makes what the embedder's layer shares between the stores of an engine: called for the
    /// first of them on each thread, more or less.
    pub fn with_spec(
        config: &Arc<RuntimeConfig>,
        spec: StoreSpec,
        embedder: impl FnOnce() -> Box<dyn Any + Send + Sync>,
        data: T,
    ) -> Store<T> {
        let layout = Layout::new::<StoreBox<T>>();
        // One visit to what this thread keeps, as it is on the way of every instance.
        let kept = pool::cache::local(|cached| {
            let shell = cached.take_shell(config);
            (shell, cached.take_allocation(layout), cached.next_id())
        });
        let (shell, place, id) = kept.unwrap_or_else(|| (None, None, StoreId::next()));
        let shell = shell.unwrap_or_else(|| Shell::new(config, embedder()));
        let allocation = match place {
            Some(place) => place.cast(),
            // SAFETY: the size of a store is not 0.
            None => NonNull::new(unsafe { alloc(layout) }.cast::<StoreBox<T>>())
                .unwrap_or_else(|| handle_alloc_error(layout)),
        };
        // SAFETY: the memory is ours alone, uninitialised, and large enough.
        unsafe {
            allocation.write(StoreBox {
                inner: StoreInner::new(shell, id, spec),
                limiter: None,
                on_epoch: None,
                repair: None,
                call_hook: None,
                data,
            });
        }
        // SAFETY: the allocation is ours alone and initialised; `set_self` stores a pointer that covers all of it.
        unsafe { (*allocation.as_ptr()).inner.set_self(allocation.cast()) };
        Store {
            allocation,
            _owns: PhantomData,
        }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.as_ref().into_data()
    }

    /// The embedder's data, for change.
    pub fn data_mut(&mut self) -> &mut T {
        self.as_mut().into_data_mut()
    }

    /// Drops the store and everything in it but the embedder's data.
    ///
    /// # Panics
    /// When a suspended computation panics while it is [cancelled](StoreMut::cancel).
    pub fn into_data(mut self) -> T {
        self.as_mut().cancel();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the store is initialised, `self` is not dropped, and nothing borrows the store any more.
        let store = unsafe { this.allocation.read() };
        // SAFETY: it was just moved out.
        unsafe { give_back(this.allocation) };
        store.data
    }

    /// Drops everything in the store but the embedder's data; settings, limiter and call hook stay. It has a new id: what was made in it
    /// before is another store's. What has been set for its guests is gone too: fuel, the interval for yielding and the cost counted
    /// so far, deadline, quantum, epoch deadline and what happens then, repair callback, and every [`Control`](crate::Control).
    ///
    /// # Panics
    /// When a suspended computation panics while it is [cancelled](StoreMut::cancel). The store is reset nevertheless.
    pub fn reset(&mut self) {
        let cancelled = catch_unwind(AssertUnwindSafe(|| self.as_mut().cancel()));
        // SAFETY: the store is borrowed for change; no reference into it is used after the drop of its first part.
        let store = unsafe { &mut *self.allocation.as_ptr() };
        store.inner.renew();
        if let Err(payload) = cancelled {
            resume_unwind(payload);
        }
    }

    /// Borrows the store.
    pub fn as_ref(&self) -> StoreRef<'_, T> {
        StoreRef {
            allocation: self.allocation,
            _borrow: PhantomData,
        }
    }

    /// Borrows the store for change.
    pub fn as_mut(&mut self) -> StoreMut<'_, T> {
        StoreMut {
            allocation: self.allocation,
            _borrow: PhantomData,
        }
    }

    /// Asks the limiter that `source` finds in the data before anything is created or grown, from now on.
    pub fn set_limiter(
        &mut self,
        source: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        self.as_mut().set_limiter(source);
    }

    /// Asks the asynchronous limiter that `source` finds in the data before anything is created or grown, from now on, and waits for
    /// what it says. What cannot wait fails with [`NeedsAsync`](crate::NeedsAsync).
    pub fn set_limiter_async(
        &mut self,
        source: impl (FnMut(&mut T) -> &mut dyn ResourceLimiterAsync) + Send + Sync + 'static,
    ) {
        // SAFETY: the store is borrowed for change.
        let store = unsafe { &mut *self.allocation.as_ptr() };
        store.limiter = Some(LimiterSource::Async(Box::new(source)));
        let answers = Box::new(Answers::new(ask_and_wait::<T>));
        store.inner.set_limiter(with_limiter::<T>, Some(answers));
    }

    /// Calls `hook` at every transition between the host and guests of this store, from now on. An error of it stops the call that
    /// it is told of, or takes the place of what that returns.
    pub fn set_call_hook(
        &mut self,
        hook: impl FnMut(StoreMut<'_, T>, CallHook) -> Result<()> + Send + Sync + 'static,
    ) {
        // SAFETY: the store is borrowed for change.
        let store = unsafe { &mut *self.allocation.as_ptr() };
        store.call_hook = Some(Box::new(hook));
        store.inner.set_call_hook(with_call_hook::<T>);
    }

    /// Its id.
    pub fn id(&self) -> StoreId {
        self.as_ref().id()
    }
}

impl<T: 'static> Drop for Store<T> {
    fn drop(&mut self) {
        let cancelled = catch_unwind(AssertUnwindSafe(|| self.as_mut().cancel()));
        // The memory goes back even if the destructor of what is in it panics.
        let _memory = GivenBack(self.allocation);
        // SAFETY: the store is initialised and nothing borrows it any more.
        unsafe { self.allocation.drop_in_place() };
        if let Err(payload) = cancelled
            && !std::thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}

/// Gives the memory of a store back when it is dropped.
struct GivenBack<T: 'static>(NonNull<StoreBox<T>>);

impl<T: 'static> Drop for GivenBack<T> {
    fn drop(&mut self) {
        // SAFETY: whoever makes one drops the store before.
        unsafe { give_back(self.0) };
    }
}

/// Gives the memory of a store to the next one of its layout.
///
/// # Safety
/// It was allocated by [`Store::with_spec`], and there is nothing in it any more.
unsafe fn give_back<T: 'static>(place: NonNull<StoreBox<T>>) {
    // SAFETY: as the caller says.
    let allocation = unsafe { Allocation::new(Layout::new::<StoreBox<T>>(), place.cast()) };
    // What there is no room for is dropped here.
    drop(pool::cache::local(|cached| {
        cached.put_allocation(allocation)
    }));
}

impl<T: fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Store").field("id", &self.id()))
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}

impl<T: 'static> Clone for StoreRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: 'static> Copy for StoreRef<'_, T> {}

impl<'a, T: 'static> StoreRef<'a, T> {
    /// The embedder's data.
    pub fn data(&self) -> &'a T {
        self.into_data()
    }

    /// The embedder's data, for as long as the store is borrowed.
    pub fn into_data(self) -> &'a T {
        // SAFETY: the store is borrowed for `'a`.
        unsafe { &(*self.allocation.as_ptr()).data }
    }

    /// The part that does not depend on the data's type.
    pub fn inner(&self) -> &'a StoreInner {
        // SAFETY: the store is borrowed for `'a`.
        unsafe { &(*self.allocation.as_ptr()).inner }
    }

    /// What the engine's stores have in common.
    pub fn config(&self) -> &'a Arc<RuntimeConfig> {
        self.inner().config()
    }

    /// What the embedder's layer shares between the stores of an engine.
    pub fn embedder(&self) -> &'a (dyn Any + Send + Sync) {
        self.inner().embedder()
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.inner().id()
    }
}

impl<'a, T: 'static> StoreMut<'a, T> {
    /// A store by the pointer compiled code or the store itself holds.
    ///
    /// # Safety
    /// It is a pointer to a living `StoreBox<T>`, with the right to use all of it for `'a`, and nothing else uses the store
    /// meanwhile.
    pub(crate) unsafe fn from_inner(inner: NonNull<StoreInner>) -> StoreMut<'a, T> {
        StoreMut {
            allocation: inner.cast(),
            _borrow: PhantomData,
        }
    }

    /// Borrows it again for a shorter time.
    pub fn reborrow(&mut self) -> StoreMut<'_, T> {
        StoreMut {
            allocation: self.allocation,
            _borrow: PhantomData,
        }
    }

    /// Borrows it without the right to change it.
    pub fn as_ref(&self) -> StoreRef<'_, T> {
        StoreRef {
            allocation: self.allocation,
            _borrow: PhantomData,
        }
    }

    /// Gives up the right to change it.
    pub fn into_ref(self) -> StoreRef<'a, T> {
        StoreRef {
            allocation: self.allocation,
            _borrow: PhantomData,
        }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.as_ref().into_data()
    }

    /// The embedder's data, for change.
    pub fn data_mut(&mut self) -> &mut T {
        self.reborrow().into_data_mut()
    }

    /// The embedder's data, for as long as the store is borrowed.
    pub fn into_data_mut(self) -> &'a mut T {
        // SAFETY: the store is borrowed for `'a`, and `self` is gone.
        unsafe { &mut (*self.allocation.as_ptr()).data }
    }

    /// The part that does not depend on the data's type.
    pub fn inner(&self) -> &StoreInner {
        self.as_ref().inner()
    }

    /// The part that does not depend on the data's type, for change.
    pub fn inner_mut(&mut self) -> &mut StoreInner {
        self.reborrow().into_inner_mut()
    }

    /// The part that does not depend on the data's type, for as long as the store is borrowed.
    pub fn into_inner_mut(self) -> &'a mut StoreInner {
        // SAFETY: the store is borrowed for `'a`, and `self` is gone.
        unsafe { &mut (*self.allocation.as_ptr()).inner }
    }

    /// The bytes of a memory and the embedder's data, both for change. A memory of another store has no bytes here.
    pub fn into_memory_and_data(self, memory: MemoryHandle) -> (&'a mut [u8], &'a mut T) {
        let allocation = self.allocation.as_ptr();
        // SAFETY: the store is borrowed for `'a` and `self` is gone; `inner` and `data` are disjoint.
        let (inner, data) = unsafe { (&mut (*allocation).inner, &mut (*allocation).data) };
        (inner.memory_data_mut(memory).unwrap_or_default(), data)
    }

    /// What the engine's stores have in common.
    pub fn config(&self) -> &Arc<RuntimeConfig> {
        self.as_ref().config()
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.as_ref().id()
    }

    /// Asks the limiter that `source` finds in the data before anything is created or grown, from now on.
    pub fn set_limiter(
        &mut self,
        source: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        // SAFETY: the store is borrowed for change by `self`.
        let store = unsafe { &mut *self.allocation.as_ptr() };
        store.limiter = Some(LimiterSource::Plain(Box::new(source)));
        store.inner.set_limiter(with_limiter::<T>, None);
    }

    /// Does something that may ask the limiter. One that is asynchronous is waited for, by suspending the computation that this runs
    /// in. The work is done again then, from its beginning: what it does before it asks has to be harmless.
    ///
    /// # Errors
    /// Those of the work; one that needs the limiter fails if nothing can wait here.
    pub fn asking<R, E>(
        &mut self,
        work: impl FnMut(&mut StoreInner) -> Result<R, E>,
    ) -> Result<R, E> {
        // SAFETY: the store is borrowed for change, and no reference to it is alive.
        unsafe { limits::asking(self.as_ptr(), work) }
    }

    /// Calls `callback` at the epoch deadline, from now on.
    pub(crate) fn set_epoch_callback(&mut self, callback: EpochCallback<T>) {
        // SAFETY: the store is borrowed for change by `self`.
        let store = unsafe { &mut *self.allocation.as_ptr() };
        store.on_epoch = Some(callback);
        store.inner.set_epoch_callback(with_epoch_callback::<T>);
    }

    /// Calls `callback` when a guest's access to a memory fails, from now on.
    pub(crate) fn replace_repair_callback(&mut self, callback: RepairCallback<T>) {
        // SAFETY: the store is borrowed for change by `self`.
        let store = unsafe { &mut *self.allocation.as_ptr() };
        store.repair = Some(callback);
        store.inner.set_repair_callback(with_repair_callback::<T>);
    }

    /// A pointer to all of the store, by its first part.
    pub(crate) fn as_ptr(&mut self) -> NonNull<StoreInner> {
        self.allocation.cast()
    }
}

impl<T: 'static> fmt::Debug for StoreRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRef")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl<T: 'static> fmt::Debug for StoreMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreMut")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Calls the epoch callback of a store: how [`StoreInner`] reaches it without knowing `T`.
///
/// # Errors
/// What it returns; an interrupt if it runs already.
///
/// # Safety
/// `store` points at a `StoreBox<T>` that has one, with the right to use all of it, and no reference to it is alive.
unsafe fn with_epoch_callback<T: 'static>(store: NonNull<StoreInner>) -> Result<EpochUpdate> {
    let whole = store.cast::<StoreBox<T>>().as_ptr();
    // The callback may replace itself, so it is not in the store while it runs.
    // SAFETY: as the caller says; references end with their statements.
    let Some(mut callback) = (unsafe { (*whole).on_epoch.take() }) else {
        // It runs, and has called the guest whose deadline this is.
        return Err(Trap::Interrupt.into());
    };
    let update = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as the caller says.
        callback(unsafe { StoreMut::from_inner(store) })
    }));
    // SAFETY: as above.
    unsafe { (*whole).on_epoch.get_or_insert(callback) };
    update.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Calls the repair callback of a store: how [`StoreInner`] reaches it without knowing `T`.
///
/// # Errors
/// What it returns.
///
/// # Safety
/// As for [`with_epoch_callback`].
unsafe fn with_repair_callback<T: 'static>(
    store: NonNull<StoreInner>,
    access: FailedAccess,
) -> Result<Repair> {
    let whole = store.cast::<StoreBox<T>>().as_ptr();
    // The callback may replace itself, so it is not in the store while it runs.
    // SAFETY: as the caller says; references end with their statements.
    let Some(mut callback) = (unsafe { (*whole).repair.take() }) else {
        return Ok(Repair::Trap);
    };
    let repair = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as the caller says.
        callback(unsafe { StoreMut::from_inner(store) }, access)
    }));
    // SAFETY: as above.
    unsafe { (*whole).repair.get_or_insert(callback) };
    repair.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Calls the call hook of a store: how [`StoreInner`] reaches it without knowing `T`.
///
/// # Errors
/// What it returns; [`CallHookLost`] if it is gone.
///
/// # Safety
/// As for [`with_epoch_callback`]; the hook does not run.
unsafe fn with_call_hook<T: 'static>(store: NonNull<StoreInner>, hook: CallHook) -> Result<()> {
    let whole = store.cast::<StoreBox<T>>().as_ptr();
    // It gets all of the store, so it is not in there while it runs.
    // SAFETY: as the caller says; references end with their statements.
    let Some(mut callback) = (unsafe { (*whole).call_hook.take() }) else {
        return Err(CallHookLost.into());
    };
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as the caller says.
        callback(unsafe { StoreMut::from_inner(store) }, hook)
    }));
    // SAFETY: as above.
    unsafe { (*whole).call_hook.get_or_insert(callback) };
    called.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Asks the asynchronous limiter of a store and waits for its answer: how [`StoreInner`] reaches it without knowing `T`.
///
/// # Errors
/// What it answers, or why it cannot be waited for.
///
/// # Safety
/// As for [`with_epoch_callback`].
unsafe fn ask_and_wait<T: 'static>(store: NonNull<StoreInner>, growth: Growth) -> Result<bool> {
    let whole = store.cast::<StoreBox<T>>().as_ptr();
    // While it is waited for, its future has the data borrowed.
    // SAFETY: as the caller says; references end with their statements.
    let Some(LimiterSource::Async(mut source)) = (unsafe { (*whole).limiter.take() }) else {
        return Err(LimiterLost.into());
    };
    let Growth {
        what,
        current,
        desired,
        maximum,
    } = growth;
    // SAFETY: as the caller says.
    let mut borrowed = unsafe { StoreMut::<T>::from_inner(store) };
    let waited = catch_unwind(AssertUnwindSafe(|| {
        borrowed.await_future(|store| {
            let limiter = source(store.into_data_mut());
            match what {
                Growing::Memory => limiter.memory_growing(current, desired, maximum),
                Growing::Table => limiter.table_growing(current, desired, maximum),
            }
        })
    }));
    // SAFETY: as above; the future is gone.
    unsafe { (*whole).limiter.get_or_insert(LimiterSource::Async(source)) };
    match waited {
        Ok(answered) => answered.map_err(|error| error.waiting_for("limiter"))?,
        Err(panic) => resume_unwind(panic),
    }
}

/// Calls `with` with the limiter of a store that was given one: how [`StoreInner`] reaches it without knowing `T`.
///
/// # Safety
/// `store` points at a `StoreBox<T>` with the right to use all of it, and no reference to its limiter or data is alive. A
/// reference to its [`StoreInner`] may be: this does not touch it.
unsafe fn with_limiter<T: 'static>(
    store: NonNull<StoreInner>,
    with: &mut dyn FnMut(AnyLimiter<'_>),
) {
    let store = store.cast::<StoreBox<T>>().as_ptr();
    // SAFETY: only `limiter` and `data` are borrowed, as the caller allows.
    let (limiter, data) = unsafe { (&mut (*store).limiter, &mut (*store).data) };
    with(match limiter {
        Some(LimiterSource::Plain(source)) => AnyLimiter::Plain(source(data)),
        Some(LimiterSource::Async(source)) => AnyLimiter::Async(source(data)),
        None => AnyLimiter::Lost,
    });
}
