//! What each thread keeps: warm slots, what dropped stores leave for new ones, store ids.
//!
//! ```text
//!   CACHES (mutex) ----> every thread's cache, for those who must visit them all
//!                          ^
//!   LOCAL (thread-local) --+     Cached { bins: [pool, kind, slots], shells, allocations, ids }
//! ```
//!
//! A bin is for one pool and one kind of slot. The bin used last comes first, so a thread that makes instances of one module
//! looks at one bin. When there are too many, the one that was not used longest is emptied into its pool's list.

use super::{Kind, Pool, Tally, Usage, Warm, lock};
use crate::store::shell::Shell;
use crate::store::{RuntimeConfig, StoreId};
use crate::sys::owned::Owned;
use std::alloc::{Layout, dealloc};
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex};

/// How many bins a thread has at most.
const BINS: usize = 16;

/// How many shells, and how many allocations, of dropped stores a thread keeps at most.
const SHELLS: usize = 8;

/// How many store ids a thread takes at a time.
const IDS: u64 = 1 << 12;

/// Everything one thread keeps.
pub(crate) struct Cached {
    bins: Vec<Bin>,
    shells: Vec<Shell>,
    allocations: Vec<Allocation>,
    ids: Range<u64>,
}

pub(super) struct Bin {
    pool: Arc<Pool>,
    kind: Kind,
    slots: Vec<Warm>,
    tally: Tally,
}

/// Memory for a store, uninitialised.
pub(crate) struct Allocation {
    layout: Layout,
    place: NonNull<u8>,
}

// SAFETY: it is memory that nobody else uses.
unsafe impl Send for Allocation {}

impl Allocation {
    /// # Safety
    /// `place` was allocated with this layout, which is not of size 0, by the global allocator, and is the caller's.
    pub(crate) unsafe fn new(layout: Layout, place: NonNull<u8>) -> Allocation {
        Allocation { layout, place }
    }

    /// The memory, which is the caller's now.
    pub(crate) fn into_place(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).place
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: as promised to `new`.
        unsafe { dealloc(self.place.as_ptr(), self.layout) };
    }
}

/// What became of a slot that a thread was to keep.
pub(super) enum Put {
    Kept,
    /// The bin was full: these are to go elsewhere.
    Full(Vec<Warm>),
    /// The embedder does not hold any more what it refers to.
    Unwanted(Warm),
    /// Another bin had to make room.
    Evicted(Bin),
}

/// The caches of all threads.
static CACHES: Mutex<Vec<Arc<Owned<Cached>>>> = Mutex::new(Vec::new());

/// This thread's cache.
struct Local(Arc<Owned<Cached>>);

thread_local! {
    static LOCAL: Local = Local::new();
}

impl Local {
    fn new() -> Local {
        let owned = Arc::new(Owned::new(Cached {
            bins: Vec::new(),
            shells: Vec::with_capacity(SHELLS),
            allocations: Vec::with_capacity(SHELLS),
            ids: 0..0,
        }));
        lock(&CACHES).push(owned.clone());
        Local(owned)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        lock(&CACHES).retain(|cache| !Arc::ptr_eq(cache, &self.0));
        // From here on nobody else visits it. Slots go where other threads find them.
        let (bins, shells, allocations) = self.0.visit(|cached| {
            (
                std::mem::take(&mut cached.bins),
                std::mem::take(&mut cached.shells),
                std::mem::take(&mut cached.allocations),
            )
        });
        bins.into_iter().for_each(Bin::retire);
        drop((shells, allocations));
    }
}

/// Uses this thread's cache. `None` if the thread is running its last destructors; `f` was not called then. `f` must neither panic,
/// nor drop anything of the embedder's, nor call this.
#[inline]
pub(crate) fn local<R>(f: impl FnOnce(&mut Cached) -> R) -> Option<R> {
    // SAFETY: `Local` is this thread's, and `f` does not come here again.
    LOCAL.try_with(|local| unsafe { local.0.with(f) }).ok()
}

/// Uses every thread's cache, one after the other. `f` as for [`local`].
pub(crate) fn for_each(mut f: impl FnMut(&mut Cached)) {
    // Before the lock, which this thread's needs too if it has to be made. None if the thread is running its last destructors.
    let own = LOCAL.try_with(|local| Arc::as_ptr(&local.0)).ok();
    let caches = lock(&CACHES);
    for cache in caches.iter() {
        if own == Some(Arc::as_ptr(cache)) {
            // Without the system call that visitors need.
            // SAFETY: it is this thread's, and `f` does not come here again.
            unsafe { cache.with(&mut f) };
        } else {
            cache.visit(&mut f);
        }
    }
}

/// A warm slot of the pool, of any thread and of any kind.
pub(super) fn take_any(pool: &Pool) -> Option<Warm> {
    let mut found = None;
    for_each(|cached| {
        if found.is_none() {
            let mut bins = cached.bins.iter_mut();
            found = bins.find_map(|bin| {
                ptr::eq(Arc::as_ptr(&bin.pool), pool)
                    .then(|| bin.slots.pop())
                    .flatten()
            });
        }
    });
    found
}

/// The shells of stores whose engine's pool this is, of all threads, and bins of theirs that are empty.
pub(super) fn take_shells(pool: &Pool) -> Vec<Shell> {
    let mut shells = Vec::new();
    for_each(|cached| {
        shells.extend(
            cached
                .shells
                .extract_if(.., |shell| ptr::eq(Arc::as_ptr(&shell.config.pool), pool)),
        );
    });
    shells
}

impl Bin {
    fn is_for(&self, pool: &Arc<Pool>, kind: Kind) -> bool {
        self.kind == kind && Arc::ptr_eq(&self.pool, pool)
    }

    /// Gives what is in it to the pool.
    pub(super) fn retire(self) {
        self.pool.add(self.tally);
        if !self.slots.is_empty() {
            self.pool.put_shared(self.kind, self.slots);
        }
    }
}

impl Cached {
    /// The bin's place, which is the first then.
    #[inline]
    fn bin(&mut self, pool: &Arc<Pool>, kind: Kind) -> Option<&mut Bin> {
        let found = self.bins.iter().position(|bin| bin.is_for(pool, kind))?;
        // What is used more often comes to be further in front.
        let place = found / 2;
        self.bins.swap(found, place);
        self.bins.get_mut(place)
    }

    #[inline]
    pub(super) fn take(&mut self, pool: &Arc<Pool>, kind: Kind) -> Option<Warm> {
        let bin = self.bin(pool, kind)?;
        let warm = bin.slots.pop()?;
        bin.tally.reused += 1;
        Some(warm)
    }

    #[inline]
    pub(super) fn put(&mut self, warm: Warm, tally: Tally) -> Put {
        let (pool, kind) = warm.origin();
        let wanted = pool.may_keep(warm.instance());
        let limit = pool.config.warm_per_thread;
        let Some(bin) = self.bin(pool, kind) else {
            return self.put_first(warm, tally, wanted);
        };
        bin.tally.add(tally);
        if !wanted {
            return Put::Unwanted(warm);
        }
        bin.slots.push(warm);
        if bin.slots.len() <= limit {
            return Put::Kept;
        }
        // The older ones: what was used last is in the processor's caches.
        Put::Full(bin.slots.drain(..bin.slots.len().div_ceil(2)).collect())
    }

    #[cold]
    fn put_first(&mut self, warm: Warm, tally: Tally, wanted: bool) -> Put {
        let (pool, kind) = warm.origin();
        let limit = pool.config.warm_per_thread;
        if !wanted || limit == 0 {
            pool.add(tally);
            return match wanted {
                true => Put::Full(vec![warm]),
                false => Put::Unwanted(warm),
            };
        }
        let mut bin = Bin {
            pool: pool.clone(),
            kind,
            // A pool may allow more than any thread ever needs.
            slots: Vec::with_capacity(limit.min(64) + 1),
            tally,
        };
        bin.slots.push(warm);
        let full = self.bins.len() >= BINS;
        let evicted = self.bins.pop_if(|_| full);
        self.bins.push(bin);
        evicted.map_or(Put::Kept, Put::Evicted)
    }

    /// What the slots of a pool take that are here, and what was counted for it.
    pub(super) fn of_pool(&self, pool: &Pool) -> (Usage, Tally) {
        let (mut usage, mut tally) = (Usage::default(), Tally::default());
        let bins = self.bins.iter();
        for bin in bins.filter(|bin| ptr::eq(Arc::as_ptr(&bin.pool), pool)) {
            tally.add(bin.tally);
            usage = bin.slots.iter().map(Warm::usage).fold(usage, Usage::plus);
        }
        (usage, tally)
    }

    pub(super) fn extract(&mut self, unwanted: &impl Fn(&Warm) -> bool, into: &mut Vec<Warm>) {
        for bin in &mut self.bins {
            into.extend(bin.slots.extract_if(.., |warm| unwanted(warm)));
        }
        // An empty bin would keep its pool.
        self.bins.retain(|bin| {
            let keep = !bin.slots.is_empty();
            if !keep {
                bin.pool.add(bin.tally);
            }
            keep
        });
    }

    // --- stores ---

    /// An id for a store.
    #[inline]
    pub(crate) fn next_id(&mut self) -> StoreId {
        if self.ids.is_empty() {
            self.ids = StoreId::take(IDS);
        }
        let id = self.ids.start;
        self.ids.start += 1;
        StoreId::from_raw(id)
    }

    /// What a dropped store of the same engine left.
    #[inline]
    pub(crate) fn take_shell(&mut self, config: &Arc<RuntimeConfig>) -> Option<Shell> {
        let shells = &self.shells;
        let place = shells
            .iter()
            .rposition(|shell| Arc::ptr_eq(&shell.config, config))?;
        Some(self.shells.swap_remove(place))
    }

    /// Takes over what a store leaves. What there is no room for comes back.
    #[inline]
    pub(crate) fn put_shell(&mut self, shell: Shell) -> Option<Shell> {
        let handles = &shell.config.pool.handles;
        // Before it is asked whether there are any, as for slots.
        handles.note_kept();
        if self.shells.len() == SHELLS || !handles.any() {
            return Some(shell);
        }
        self.shells.push(shell);
        None
    }

    /// Memory of this layout that a store had.
    #[inline]
    pub(crate) fn take_allocation(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let place = (self.allocations.iter()).rposition(|kept| kept.layout == layout)?;
        Some(self.allocations.swap_remove(place).into_place())
    }

    /// Takes over a store's memory. What there is no room for comes back.
    #[inline]
    pub(crate) fn put_allocation(&mut self, allocation: Allocation) -> Option<Allocation> {
        if self.allocations.len() == SHELLS {
            return Some(allocation);
        }
        self.allocations.push(allocation);
        None
    }
}
