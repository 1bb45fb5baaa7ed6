//! Slots that are used again.
//!
//! ```text
//!   instantiate                                       drop of the store
//!       |                                                  |
//!       v                                                  v
//!   thread's cache --- empty ---> pool's list --- empty ---> map a slot       repaired, and put back:
//!     (per pool, module,            (mutex)       or full: one that           thread's cache; when that is full,
//!      kind of stack)                             another module left         half of it into the pool's list
//! ```
//!
//! A slot that is not in use is *warm*: its instance is still there, repaired, and waits for another life with the same module. So what
//! an instance needs besides a repaired memory is a few pointers to its new store. What its imports were is remembered with it; if it
//! is to have the same ones ([`Linked`](crate::Linked)), they stay as they are.
//!
//! A warm slot whose module is gone is emptied, and its address space is *spare*: the pool keeps a few, from which slots of any
//! module are made that need as much ([`Space`]).
//!
//! # Who keeps what alive
//!
//! Warm slots keep modules, imported host functions and pools alive; so do the shells of dropped stores with what stores of an
//! engine share. None of that should outlive what the embedder holds. Therefore embedders' references are counted on their own
//! ([`Handle`]): when the last one to something goes, everything warm that refers to it is dropped, on all threads' behalf, and
//! nothing that refers to it becomes warm again.
//!
//! # Invariants
//!
//! * A warm slot is exactly as a new one would be, for everything a guest or its host can see. So is one made of spare space.
//! * Slots and spare space are never more together than there may be slots, but for a moment before spare space gives way. Spare space
//!   refers to nothing, and goes when the embedder has let go of the pool.
//! * What is in a thread's cache is used by that thread; others visit it, rarely ([`Owned`](crate::sys::owned::Owned)). No destructor runs
//!   meanwhile: what is to be dropped is moved out first.
//! * The fast path takes no lock, allocates nothing, and makes no system call; it touches no memory that other threads write.
//!
//! | file | job |
//! |---|---|
//! | this | [`Pool`]: limits, the list all threads share, figures |
//! | [`cache`] | what each thread keeps |
//! | [`handle`] | embedders' references |

pub(crate) mod cache;
mod handle;

pub use handle::Handle;
pub(crate) use handle::{Counted, HandleCount};

use crate::code::CompiledModule;
use crate::instance::Instance;
use crate::slot::{Shape, Space};
use crate::stack::StackSpec;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How a pool deals with slots. The default is that of an engine: as many as there is room for, of which a few stay warm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The most slots there may be, warm ones included. One that is warm gives way to one that is wanted.
    pub slots: usize,
    /// The most memories that instances of the pool may define together, warm ones included.
    pub memories: usize,
    /// The most tables that instances of the pool may define together, warm ones included.
    pub tables: usize,
    /// The most guest stacks, warm ones included.
    pub stacks: usize,
    /// The most garbage-collected heaps that stores may have.
    pub heaps: usize,
    /// The most bytes a memory may begin with.
    pub memory_bytes: u64,
    /// The most elements a table may begin with.
    pub table_elements: u64,
    /// The most memories one module may define.
    pub memories_per_module: usize,
    /// The most tables one module may define.
    pub tables_per_module: usize,
    /// The most bytes of what an instance is besides its memories: the runtime's records of it, its globals and imports.
    pub instance_bytes: usize,
    /// How many slots stay warm in the list that all threads share. It keeps no more spare space than that, either.
    pub warm: usize,
    /// How many slots of a module stay warm with each thread.
    pub warm_per_thread: usize,
    /// How many bytes of memories and stack stay in use by a slot that is warm. What was written beyond that is given back
    /// to the system.
    pub keep_resident: usize,
    /// May there be more slots for a moment? Those that are on their way from one thread's keeping to another's are in nobody's
    /// hands, so they cannot give way. For pools whose users are limited otherwise.
    pub soft: bool,
    /// May the pages that were written be found with `PAGEMAP_SCAN`? Without it all are given back to the system.
    pub scan: bool,
}

impl Default for PoolConfig {
    fn default() -> PoolConfig {
        PoolConfig {
            slots: usize::MAX,
            memories: usize::MAX,
            tables: usize::MAX,
            stacks: usize::MAX,
            heaps: usize::MAX,
            memory_bytes: u64::MAX,
            table_elements: u64::MAX,
            memories_per_module: usize::MAX,
            tables_per_module: usize::MAX,
            instance_bytes: usize::MAX,
            warm: 100,
            warm_per_thread: 16,
            keep_resident: 256 << 10,
            soft: false,
            scan: true,
        }
    }
}

/// Figures of a pool at one moment.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// Slots that are mapped: in use or warm.
    pub slots: usize,
    /// Slots in use by an instance.
    pub used: usize,
    /// Slots that wait for their next instance.
    pub warm: usize,
    /// Memories that instances in use and warm ones have.
    pub memories: usize,
    /// Tables that instances in use and warm ones have.
    pub tables: usize,
    /// Guest stacks that slots have.
    pub stacks: usize,
    /// Memories of slots that wait for their next instance.
    pub warm_memories: usize,
    /// Tables of slots that wait for their next instance.
    pub warm_tables: usize,
    /// Guest stacks of slots that wait for their next instance.
    pub warm_stacks: usize,
    /// Garbage-collected heaps that stores have. They are counted where their number is limited.
    pub heaps: usize,
    /// Address space of slots whose modules are gone, kept for slots of any module.
    pub spare: usize,
    /// Slots that were mapped so far.
    pub mapped: u64,
    /// Slots that were made in spare address space so far, without mapping any.
    pub refitted: u64,
    /// Instances that were given a warm slot so far.
    pub reused: u64,
    /// Bytes that were made what they were at first, so far.
    pub repaired_bytes: u64,
    /// Bytes that were given back to the system instead, at most, so far.
    pub discarded_bytes: u64,
    /// Faults of guests that became traps, so far.
    pub faults: u64,
}

/// A limit of a pool is reached.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool's limit of {limit} {what} is reached")]
pub struct PoolFull {
    /// What there are too many of.
    pub what: &'static str,
    /// How many there may be.
    pub limit: u64,
}

/// Where the slots of instances come from and go to.
pub struct Pool {
    config: PoolConfig,
    handles: HandleCount,
    shared: Mutex<Shared>,
    figures: Figures,
    faults: AtomicU64,
    heaps: AtomicUsize,
}

/// What threads add up.
#[derive(Debug, Default)]
struct Figures {
    reused: AtomicU64,
    repaired_bytes: AtomicU64,
    discarded_bytes: AtomicU64,
}

/// What one thread has counted for a pool since it last added that to the pool's figures.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) reused: u64,
    pub(crate) repaired_bytes: u64,
    pub(crate) discarded_bytes: u64,
}

#[derive(Default)]
struct Shared {
    in_use: Usage,
    mapped: u64,
    warm: HashMap<Kind, Vec<Warm>>,
    warm_count: usize,
    /// Address space without slots. The oldest comes first.
    spares: Vec<Space>,
    refitted: u64,
}

/// What slots take.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) slots: usize,
    pub(crate) memories: usize,
    pub(crate) tables: usize,
    pub(crate) stacks: usize,
}

/// Which slots can stand in for each other: those that were made for the same module and have the same stack, if any. The
/// address is that of a module that every slot of this kind keeps alive; without a slot it means nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    module: *const CompiledModule,
    stack: Option<StackSpec>,
}

// SAFETY: the pointer is compared, never followed.
unsafe impl Send for Kind {}

impl Kind {
    pub(crate) fn has_stack(&self) -> bool {
        self.stack.is_some()
    }

    pub(crate) fn new(module: &Arc<CompiledModule>, stack: Option<StackSpec>) -> Kind {
        Kind {
            module: Arc::as_ptr(module),
            stack,
        }
    }
}

/// A warm slot. Dropped, it is unmapped, or emptied and its address space kept by the pool.
pub(crate) struct Warm(NonNull<Instance>);

// SAFETY: a warm instance belongs to nobody but whoever has this; nothing in it refers to a thread. What it owns is `Send`: host
// functions, modules, mappings.
unsafe impl Send for Warm {}

impl Warm {
    /// # Safety
    /// The instance is initialised, pooled, and repaired, and nobody else uses it.
    pub(crate) unsafe fn new(instance: NonNull<Instance>) -> Warm {
        Warm(instance)
    }

    /// The instance, which is the caller's now.
    pub(crate) fn into_instance(self) -> NonNull<Instance> {
        ManuallyDrop::new(self).0
    }

    pub(crate) fn instance(&self) -> &Instance {
        // SAFETY: it is initialised and nobody else uses it, as promised to `new`.
        unsafe { self.0.as_ref() }
    }

    /// What it takes.
    fn usage(&self) -> Usage {
        self.instance().usage()
    }

    /// Where it belongs.
    fn origin(&self) -> (&Arc<Pool>, Kind) {
        self.instance().pool_and_kind()
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        // SAFETY: as promised to `new`.
        unsafe { Instance::scrap(self.0) };
    }
}

/// How many spaces without slots a pool keeps at most.
const SPARES: usize = 8;

/// How often a pool that is full looks for warm slots: some may be on their way from one thread's keeping to another's.
const ATTEMPTS: u32 = 4;

/// Every pool, for those who must find what refers to a module wherever it is.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool without slots. It keeps slots warm as long as there is a [`Handle`] to it.
    pub fn new(config: PoolConfig) -> Arc<Pool> {
        let pool = Arc::new(Pool {
            config,
            handles: HandleCount::default(),
            shared: Mutex::default(),
            figures: Figures::default(),
            faults: AtomicU64::new(0),
            heaps: AtomicUsize::new(0),
        });
        let mut pools = lock(&POOLS);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// Its settings.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Its figures. Asks every thread that has used it for its share.
    pub fn metrics(&self) -> PoolMetrics {
        let (mut warm, mut tally) = (Usage::default(), Tally::default());
        cache::for_each(|cached| {
            let (usage, more) = cached.of_pool(self);
            warm = warm.plus(usage);
            tally.add(more);
        });
        let shared = lock(&self.shared);
        let kept = shared.warm.values().flatten().map(Warm::usage);
        let warm = kept.fold(warm, Usage::plus);
        let Usage {
            slots,
            memories,
            tables,
            stacks,
        } = shared.in_use;
        PoolMetrics {
            slots,
            used: slots.saturating_sub(warm.slots),
            warm: warm.slots,
            memories,
            tables,
            stacks,
            warm_memories: warm.memories,
            warm_tables: warm.tables,
            warm_stacks: warm.stacks,
            heaps: self.heaps.load(Relaxed),
            spare: shared.spares.len(),
            mapped: shared.mapped,
            refitted: shared.refitted,
            reused: self.figures.reused.load(Relaxed) + tally.reused,
            repaired_bytes: self.figures.repaired_bytes.load(Relaxed) + tally.repaired_bytes,
            discarded_bytes: self.figures.discarded_bytes.load(Relaxed) + tally.discarded_bytes,
            faults: self.faults.load(Relaxed),
        }
    }

    /// Counts one heap more.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(crate) fn admit_heap(&self) -> Result<(), PoolFull> {
        let limit = self.config.heaps;
        if limit == usize::MAX {
            return Ok(());
        }
        if self.heaps.fetch_add(1, Relaxed) >= limit {
            self.release_heap();
            return Err(PoolFull {
                what: "GC heaps",
                limit: limit as u64,
            });
        }
        Ok(())
    }

    /// Counts one heap less.
    pub(crate) fn release_heap(&self) {
        if self.config.heaps != usize::MAX {
            self.heaps.fetch_sub(1, Relaxed);
        }
    }

    pub(crate) fn count_fault(&self) {
        self.faults.fetch_add(1, Relaxed);
    }

    pub(crate) fn add(&self, tally: Tally) {
        (self.figures.reused).fetch_add(tally.reused, Relaxed);
        (self.figures.repaired_bytes).fetch_add(tally.repaired_bytes, Relaxed);
        (self.figures.discarded_bytes).fetch_add(tally.discarded_bytes, Relaxed);
    }

    // --- slots ---

    /// A warm slot of this kind, if there is one.
    #[inline]
    pub(crate) fn take(self: &Arc<Self>, kind: Kind) -> Option<Warm> {
        match cache::local(|cached| cached.take(self, kind)) {
            Some(Some(warm)) => Some(warm),
            _ => self.take_shared(kind),
        }
    }

    #[cold]
    fn take_shared(&self, kind: Kind) -> Option<Warm> {
        let mut shared = lock(&self.shared);
        let warm = shared.warm.get_mut(&kind)?.pop()?;
        shared.warm_count -= 1;
        self.figures.reused.fetch_add(1, Relaxed);
        Some(warm)
    }

    /// Takes a slot back that was repaired.
    #[inline]
    pub(crate) fn put(warm: Warm, tally: Tally) {
        match cache::local(|cached| cached.put(warm, tally)) {
            Some(cache::Put::Kept) => {}
            // The thread is running its last destructors, and the slot is gone with the closure.
            None => {}
            Some(elsewhere) => Self::put_elsewhere(elsewhere),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_elsewhere(put: cache::Put) {
        match put {
            cache::Put::Kept => {}
            cache::Put::Full(slots) => {
                if let Some((pool, kind)) = slots.first().map(Warm::origin) {
                    pool.clone().put_shared(kind, slots);
                }
            }
            cache::Put::Evicted(bin) => bin.retire(),
            cache::Put::Unwanted(warm) => drop(warm),
        }
    }

    /// Puts slots into the list that all threads share, as far as there is room.
    #[cold]
    pub(super) fn put_shared(&self, kind: Kind, slots: Vec<Warm>) {
        // Whatever does not stay is dropped when the lock is released again.
        let mut dropped = Vec::new();
        let mut shared = lock(&self.shared);
        for warm in slots {
            if shared.warm_count < self.config.warm && self.may_keep(warm.instance()) {
                shared.warm.entry(kind).or_default().push(warm);
                shared.warm_count += 1;
            } else {
                dropped.push(warm);
            }
        }
        drop(shared);
        drop(dropped);
    }

    /// Does the embedder still hold what this instance refers to? If so, whoever drops the last handle will look for it.
    pub(super) fn may_keep(&self, instance: &Instance) -> bool {
        // In this order: who drops the last handle now either sees the note, or did so before we ask.
        self.handles.note_kept();
        instance.note_kept();
        self.handles.any() && instance.is_wanted()
    }

    /// Notes that a slot will be mapped which takes so much. If that is more than there may be, warm slots give way.
    ///
    /// # Errors
    /// When it is too much even so.
    pub(crate) fn admit(&self, wanted: Usage) -> Result<(), PoolFull> {
        let mut attempts = 0;
        loop {
            let mut shared = lock(&self.shared);
            let full = self.exceeded(shared.in_use, wanted);
            let Some(full) = full.filter(|_| !(self.config.soft && attempts == ATTEMPTS)) else {
                shared.in_use = shared.in_use.plus(wanted);
                return Ok(());
            };
            let warm = shared.take_any();
            drop(shared);
            match warm.or_else(|| cache::take_any(self)) {
                // Unmapped here, outside the lock: the next round counts again.
                Some(warm) => drop(warm),
                None if attempts < ATTEMPTS => {
                    attempts += 1;
                    std::thread::yield_now();
                }
                None => return Err(full),
            }
        }
    }

    fn exceeded(&self, have: Usage, wanted: Usage) -> Option<PoolFull> {
        let limits = [
            ("instances", have.slots, wanted.slots, self.config.slots),
            (
                "memories",
                have.memories,
                wanted.memories,
                self.config.memories,
            ),
            ("tables", have.tables, wanted.tables, self.config.tables),
            ("stacks", have.stacks, wanted.stacks, self.config.stacks),
        ];
        let exceeded = limits.into_iter().find(|(_, have, wanted, limit)| {
            *wanted > 0 && have.checked_add(*wanted).is_none_or(|total| total > *limit)
        });
        exceeded.map(|(what, _, _, limit)| PoolFull {
            what,
            limit: limit as u64,
        })
    }

    /// Takes back what [`admit`](Self::admit) noted: the slot is unmapped, or was not mapped after all.
    pub(crate) fn dismiss(&self, used: Usage) {
        let mut shared = lock(&self.shared);
        shared.in_use = shared.in_use.minus(used);
    }

    // --- spare address space ---

    /// How many spaces it keeps.
    fn most_spares(&self) -> usize {
        SPARES.min(self.config.warm)
    }

    /// Might it keep a space?
    pub(crate) fn wants_spares(&self) -> bool {
        self.most_spares() > 0 && self.handles.any()
    }

    /// Spare space for a slot that was [admitted](Self::admit), if there is any of this shape.
    pub(crate) fn take_spare(&self, shape: &Shape) -> Option<Space> {
        let mut shared = lock(&self.shared);
        let found = (shared.spares.iter()).rposition(|space| space.shape() == shape);
        let space = found.map(|place| shared.spares.remove(place));
        match space {
            Some(_) => shared.refitted += 1,
            None => shared.mapped += 1,
        }
        // Those that are left give way to slots.
        let room = self.config.slots.saturating_sub(shared.in_use.slots);
        let left = shared.spares.len().saturating_sub(room);
        let dropped: SmallVec<[Space; SPARES]> = shared.spares.drain(..left).collect();
        drop(shared);
        drop(dropped);
        space
    }

    /// Keeps a space, if the embedder still has the pool and there may be one more slot. An older one may go for it.
    pub(crate) fn put_spare(&self, space: Space) {
        let mut dropped = Some(space);
        let mut shared = lock(&self.shared);
        // In this order, as for slots; whoever drops the last handle after that waits for the lock.
        self.handles.note_kept();
        let room = self.config.slots.saturating_sub(shared.in_use.slots);
        let most = self.most_spares().min(room);
        if self.handles.any() && most > 0 {
            let full = shared.spares.len() >= most;
            let oldest = full.then(|| shared.spares.remove(0));
            shared.spares.extend(dropped.take());
            dropped = oldest;
        }
        drop(shared);
        drop(dropped);
    }

    fn extract(&self, unwanted: &impl Fn(&Warm) -> bool) -> Vec<Warm> {
        let mut shared = lock(&self.shared);
        let mut extracted = Vec::new();
        for slots in shared.warm.values_mut() {
            extracted.extend(slots.extract_if(.., |warm| unwanted(warm)));
        }
        shared.warm.retain(|_, slots| !slots.is_empty());
        shared.warm_count -= extracted.len();
        extracted
    }
}

impl Shared {
    fn take_any(&mut self) -> Option<Warm> {
        let slots = self.warm.values_mut().find(|slots| !slots.is_empty())?;
        let warm = slots.pop();
        self.warm_count -= 1;
        self.warm.retain(|_, slots| !slots.is_empty());
        warm
    }
}

impl Usage {
    fn plus(self, other: Usage) -> Usage {
        Usage {
            slots: self.slots + other.slots,
            memories: self.memories + other.memories,
            tables: self.tables + other.tables,
            stacks: self.stacks + other.stacks,
        }
    }

    fn minus(self, other: Usage) -> Usage {
        Usage {
            slots: self.slots - other.slots,
            memories: self.memories - other.memories,
            tables: self.tables - other.tables,
            stacks: self.stacks - other.stacks,
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.reused += other.reused;
        self.repaired_bytes += other.repaired_bytes;
        self.discarded_bytes += other.discarded_bytes;
    }
}

/// Drops every warm slot that `unwanted` says yes to, whichever thread keeps it.
pub(crate) fn forget(unwanted: impl Fn(&Warm) -> bool) {
    let mut dropped = Vec::new();
    cache::for_each(|cached| cached.extract(&unwanted, &mut dropped));
    let pools: Vec<_> = lock(&POOLS).iter().filter_map(Weak::upgrade).collect();
    for pool in &pools {
        dropped.extend(pool.extract(&unwanted));
    }
    // Here, when nothing is locked: destructors of host functions are the embedder's code.
    drop(dropped);
}

impl Counted for Pool {
    fn handles(&self) -> &HandleCount {
        &self.handles
    }

    fn released(&self) {
        let shells = cache::take_shells(self);
        forget(|warm| ptr::eq(Arc::as_ptr(warm.instance().pool()), self));
        let spares = std::mem::take(&mut lock(&self.shared).spares);
        drop((shells, spares));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Pool").field("config", &self.config)).finish_non_exhaustive()
    }
}
