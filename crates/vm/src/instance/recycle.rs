//! One instance after the other in the same slot.
//!
//! ```text
//!   store dropped                            warm                        instantiated again
//!     stack back into the slot                 (in a pool's keeping)       store pointers: header, import records
//!     tables, segments: as new                                             imports, if they are others
//!     globals: from the module's template                                  globals and tables that are computed
//!     memories, stack: pages that were                                     stack to the store
//!       written are written again
//!     memories as small as they were
//! ```
//!
//! What stays as it is: the header but for the store, records of tables and tags, funcrefs that were built (they name code
//! and addresses of this slot), the sizes of things. What belongs to one life goes with it.
//!
//! # Which pages were written
//!
//! The system can tell, and is asked ([`pagemap`]), once for stack and memory. That takes three times as long as writing 64 KiB. So
//! a small memory is written again without asking, if it is known how much of the stack was used, too. It is when only
//! compiled code ran on it, whose frames are all smaller than a page:
//!
//! ```text
//!    base | frame | frame  | fra|me      | frame |        |
//!         ^       ^ return addresses, which are not 0     | a page of zeros: nothing further down was used
//! ```
//!
//! A slot that is new has pages that nobody has written, which are not there at all, and writing one takes much longer than asking. So
//! its [first lives](FIRST_LIVES) end with the question.
//!
//! Runtime and host functions may have larger frames, and leave a page in the middle of one as it was. Below a guest's first call of
//! theirs all is possible ([`Execution::note_host_frames`](crate::activation::Execution::note_host_frames)).
//!
//! Invariant: after [`retire`](Instance::retire) every byte that a guest or its host could have changed is what it was when the instance was
//! new, or the slot is unmapped.

use super::{Instance, InstancePtr, Origins};
use crate::error::InstantiateError;
use crate::host::LinkedBodies;
use crate::memory::LinearMemory;
use crate::pool::{Kind, Pool, PoolFull, Tally, Usage, Warm};
use crate::slot::MapError;
use crate::stack::{GuestStack, StackBounds};
use crate::store::StoreInner;
use crate::sys::{PAGE_SIZE, pagemap};
use cowling_abi::entity::EntityRef;
use cowling_abi::layout::{VmContext, VmGlobal};
use cowling_abi::{DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex};
use std::cell::RefCell;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// So much of a used stack stays resident in a warm slot, in bytes.
const KEPT_STACK: usize = 64 << 10;

/// Memories of at most so many bytes are written again without asking.
const SMALL: usize = 64 << 10;

/// So many lives in a slot have to have ended before anything is written without asking. Who writes a page that nobody has ever written
/// has the system make it, at ten times the price; so it has to be likely that more lives follow than that takes to be worth it.
const FIRST_LIVES: u8 = 8;

/// A page of zeros.
static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// What is known of an instance's life when it is over.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Life {
    /// May anything have been written since it was made?
    pub(crate) touched: bool,
    /// Is it known that there were only frames of at most a page on the store's stack: no host's but the outermost, and no large
    /// ones of guests? Any instance of the store may have used it, whoever's slot it is in.
    pub(crate) small_frames: bool,
}

/// What an instance needs in order to be followed by another one in its slot.
pub(crate) struct Pooled {
    /// The slot's stack, while no store has it.
    pub(crate) stack: Option<GuestStack>,
    /// The imports it has, if they are host functions that others like it have as well.
    pub(crate) linked: Option<Arc<LinkedBodies>>,
    kind: Kind,
    admission: Admission,
}

/// A slot of a pool, until this is dropped.
pub(crate) struct Admission {
    pool: Arc<Pool>,
    usage: Usage,
}

impl Admission {
    /// # Errors
    /// When the pool is full.
    pub(crate) fn new(pool: &Arc<Pool>, usage: Usage) -> Result<Admission, PoolFull> {
        pool.admit(usage)?;
        Ok(Admission {
            pool: pool.clone(),
            usage,
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.pool.dismiss(self.usage);
    }
}

impl Pooled {
    pub(crate) fn new(kind: Kind, admission: Admission) -> Pooled {
        Pooled {
            stack: None,
            linked: None,
            kind,
            admission,
        }
    }
}

impl Instance {
    /// Are all frames of its code at most a page?
    pub(crate) fn has_small_frames(&self) -> bool {
        self.info().largest_frame as usize <= PAGE_SIZE
    }

    /// Ends a warm instance. Its slot is unmapped, or its address space left to other slots of the pool.
    ///
    /// # Safety
    /// As for [`destroy`](Self::destroy), and the instance was repaired.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn scrap(place: NonNull<Instance>) {
        // SAFETY: nobody uses it any more. It is moved out, so that its memory is not given back or written while it is being dropped.
        let mut this = unsafe { place.read() };
        let pool = this.pool().clone();
        let zeros = || {
            this.memories.iter().all(|memory| {
                let memory = memory.own().map(RefCell::borrow_mut);
                memory.is_some_and(|mut memory| match memory.is_in(this.area.mapping()) {
                    // SAFETY: nobody uses the memory.
                    true => unsafe { memory.clear() },
                    false => memory.is_restorable(),
                })
            })
        };
        let wanted = pool.wants_spares() && zeros();
        let stack = this.pooled.as_mut().and_then(|pooled| pooled.stack.take());
        let Instance {
            area,
            memories,
            tables,
            pooled,
            ..
        } = this;
        drop((memories, tables, stack));
        // SAFETY: the instance was moved out, and what else it was is as new, and gone.
        let spare = wanted.then(|| unsafe { area.into_spare() });
        // The slot counts until it is unmapped, or spare.
        drop(pooled);
        if let Some(space) = spare.flatten() {
            pool.put_spare(space);
        }
    }

    fn pooled(&self) -> &Pooled {
        let pooled = self.pooled.as_ref();
        pooled.unwrap_or_else(|| unreachable!("only pooled instances become warm"))
    }

    /// The pool of a pooled instance.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pooled().admission.pool
    }

    /// Where in which pool the slot of a pooled instance belongs.
    pub(crate) fn pool_and_kind(&self) -> (&Arc<Pool>, Kind) {
        (self.pool(), self.pooled().kind)
    }

    /// What a pooled instance takes of its pool.
    pub(crate) fn usage(&self) -> Usage {
        self.pooled().admission.usage
    }

    /// Does the embedder still hold what a pooled instance was made from?
    pub(crate) fn is_wanted(&self) -> bool {
        let linked = self.pooled().linked.as_ref();
        self.module.is_held() && linked.is_none_or(|linked| linked.is_held())
    }

    /// Notes in what a pooled instance was made from that it is kept warm.
    pub(crate) fn note_kept(&self) {
        self.module.note_kept();
        if let Some(linked) = &self.pooled().linked {
            linked.note_kept();
        }
    }

    /// Are these its imports, of which a pooled instance keeps track?
    pub(crate) fn has_imports(&self, linked: &LinkedBodies) -> bool {
        let own = self.pooled().linked.as_ref();
        own.is_some_and(|own| ptr::eq(Arc::as_ptr(own), linked))
    }

    /// The most elements that a table may have because of its pool.
    pub(crate) fn table_limit(&self) -> u64 {
        let pooled = self.pooled.as_ref();
        pooled.map_or(u64::MAX, |pooled| {
            pooled.admission.pool.config().table_elements
        })
    }

    /// Ends an instance's life: puts its slot, repaired, back into its pool, or unmaps it. `stack` is its store's, which is taken if
    /// it is the slot's.
    ///
    /// # Safety
    /// The instance is initialised, and nobody uses it any more, nor the stack.
    pub(crate) unsafe fn retire(
        place: NonNull<Instance>,
        life: Life,
        stack: &mut Option<GuestStack>,
    ) {
        // SAFETY: nobody else uses it.
        let this = unsafe { &mut *place.as_ptr() };
        let own_imports = this.pooled.as_ref().is_some_and(|it| it.linked.is_none());
        // Dropped at the very end: destructors of host functions are the embedder's code, and may panic.
        let _origins = own_imports.then(|| std::mem::take(&mut this.origins));
        // SAFETY: as the caller says.
        match unsafe { this.renew(InstancePtr(place), life, stack) } {
            // SAFETY: it was repaired.
            Some(tally) => Pool::put(unsafe { Warm::new(place) }, tally),
            // SAFETY: as the caller says.
            None => unsafe { Instance::destroy(place) },
        }
    }

    /// Makes it as new. `None` if it cannot be.
    ///
    /// # Safety
    /// As for [`retire`](Self::retire); `ptr` points to it.
    unsafe fn renew(
        &mut self,
        ptr: InstancePtr,
        life: Life,
        stack: &mut Option<GuestStack>,
    ) -> Option<Tally> {
        let pooled = self.pooled.as_mut()?;
        if self.memories.iter().any(|memory| memory.own().is_none()) {
            // Others may go on using it, or it is the embedder's, who wants it back.
            return None;
        }
        if pooled.kind.has_stack() {
            let mapping = self.area.mapping();
            pooled.stack = Some(stack.take_if(|stack| stack.is_in(mapping))?);
        }
        self.element_values.get_mut().clear();
        if !life.touched {
            if self.module.template().filled_tables {
                // They were filled with this life's values all the same.
                // SAFETY: nobody uses the instance.
                unsafe { ptr.renew_tables() }.ok()?;
            }
            return Some(Tally::default());
        }
        self.dropped_elements.clear();
        self.dropped_data.clear();
        let lives = self.area.space_mut().count_life();
        // SAFETY: nobody uses the instance.
        unsafe {
            ptr.renew_tables().ok()?;
            ptr.renew_globals();
            self.renew_memories(ptr, life, lives).ok()
        }
    }

    /// # Safety
    /// As for [`retire`](Self::retire).
    unsafe fn renew_memories(
        &mut self,
        ptr: InstancePtr,
        life: Life,
        lives: u8,
    ) -> Result<Tally, Unrestorable> {
        let mut tally = Tally::default();
        let pooled = self.pooled();
        let config = pooled.admission.pool.config().clone();
        let mut stack = pooled.stack.as_ref().map(GuestStack::bounds);
        let mut unasked = lives > FIRST_LIVES && config.keep_resident >= 2 * SMALL;
        if let Some(used) = stack
            && unasked
        {
            unasked = life.small_frames;
            if unasked {
                // SAFETY: nobody uses the stack.
                tally.repaired_bytes += unsafe { zero_used(&used) } as u64;
                stack = None;
            }
        }
        let in_slot = self.memories.first().is_some_and(|memory| {
            let behind = self.area.start().addr().get() + self.area.len();
            memory.record().base.addr() == behind
        });
        if let (Some(stack), false) = (stack, in_slot) {
            let mut repair = Repairing::new(&config);
            // SAFETY: nobody uses the stack.
            unsafe { repair.slot(self, Some(stack), None)? };
            tally.add(repair.tally);
        }
        for index in 0..self.memories.len() {
            let mut repair = Repairing::new(&config);
            let stack = stack.filter(|_| in_slot && index == 0);
            let small = self.memories[index].record().byte_len <= SMALL;
            // SAFETY: nobody uses the memory or the stack.
            unsafe {
                match stack {
                    None if unasked && small => repair.all(self, index)?,
                    _ => repair.slot(self, stack, Some(index))?,
                }
            }
            tally.add(repair.tally);
            let memory = self.memories[index].own().ok_or(Unrestorable)?;
            // SAFETY: as above.
            unsafe { memory.borrow_mut().shrink()? };
            let record = self.memories[index].record();
            ptr.write_memory_record(DefinedMemoryIndex::new(index), record);
        }
        Ok(tally)
    }
}

/// It cannot be made as new.
struct Unrestorable;

impl From<MapError> for Unrestorable {
    fn from(_: MapError) -> Self {
        Unrestorable
    }
}

impl InstancePtr {
    /// # Safety
    /// Nobody uses the instance.
    unsafe fn renew_tables(self) -> Result<(), Unrestorable> {
        let info = self.info();
        for (index, table) in self.tables.iter().enumerate() {
            let index = DefinedTableIndex::new(index);
            let initial = info.tables[info.table_index(index)].minimum as usize;
            let record = self.defined_table_record(index);
            let mut table = table.borrow_mut();
            // SAFETY: the record is in our VMContext, and describes the storage.
            unsafe {
                (table.renew((*record).len, initial)).map_err(|_| Unrestorable)?;
                (*record).len = initial;
                (*record).base = table.base().as_ptr();
            }
        }
        Ok(())
    }

    /// Empties globals, tables and element segments, some of which hold what they were filled with in an earlier life. For one that could not
    /// be filled anew.
    ///
    /// # Safety
    /// Nobody uses the instance.
    pub(crate) unsafe fn forget_values(self) {
        self.element_values.borrow_mut().clear();
        for index in (0..self.info().defined_global_count()).map(DefinedGlobalIndex::new) {
            // SAFETY: the record is in our VMContext.
            unsafe { self.defined_global_record(index).write_bytes(0, 1) };
        }
        for (index, table) in self.tables.iter().enumerate() {
            let record = self.defined_table_record(DefinedTableIndex::new(index));
            // SAFETY: the record is in our VMContext, and describes the storage.
            unsafe { table.borrow().clear((*record).len) };
        }
    }

    /// # Safety
    /// Nobody uses the instance.
    unsafe fn renew_globals(self) {
        let Some(globals) = &self.module().template().globals else {
            return; // They are computed when the next instance is made.
        };
        if !globals.is_empty() {
            let first: *mut VmGlobal = self.defined_global_record(DefinedGlobalIndex::new(0));
            // SAFETY: records of globals lie side by side in the VMContext, and there are as many as in the template.
            unsafe { ptr::copy_nonoverlapping(globals.as_ptr(), first, globals.len()) };
        }
    }

    /// Gives a warm instance a new store. Its imports are those it had; `relink` says that they will be replaced.
    pub(crate) fn rebind(warm: Warm, store: &StoreInner, relink: bool) -> InstancePtr {
        let place = warm.into_instance();
        // SAFETY: it is ours, and nobody uses it yet.
        let this = unsafe { &mut *place.as_ptr() };
        this.store = store.as_ptr();
        if let Some(pooled) = &mut this.pooled
            && let Some(stack) = pooled.stack.take()
        {
            store.execution().provide_stack(stack);
        }
        let instance = InstancePtr(place);
        let store = store.as_ptr().as_ptr().cast();
        // SAFETY: the header and the records are in its VMContext.
        unsafe { (&raw mut (*VmContext::header(instance.vmctx().as_ptr())).store).write(store) };
        if !relink {
            for index in instance.imported_functions() {
                // SAFETY: as above.
                unsafe { (&raw mut (*instance.import_record(index)).store).write(store) };
            }
        }
        instance
    }

    /// Replaces what a pooled instance remembers of its imports.
    ///
    /// # Safety
    /// Nobody uses the instance.
    pub(crate) unsafe fn set_origins(self, origins: Origins, linked: Option<Arc<LinkedBodies>>) {
        // SAFETY: as the caller says.
        let this = unsafe { &mut *self.0.as_ptr() };
        this.origins = origins;
        if let Some(pooled) = &mut this.pooled {
            pooled.linked = linked;
        }
    }
}

/// Repairs what was written of one mapping.
struct Repairing<'a> {
    config: &'a crate::pool::PoolConfig,
    tally: Tally,
    /// Bytes that stay resident so far.
    kept: usize,
    /// Was the stack used further down than is repaired?
    deep_stack: bool,
    /// From where on a memory is given back to the system.
    discard_from: Option<usize>,
}

impl<'a> Repairing<'a> {
    fn new(config: &'a crate::pool::PoolConfig) -> Self {
        Repairing {
            config,
            tally: Tally::default(),
            kept: 0,
            deep_stack: false,
            discard_from: None,
        }
    }

    /// Repairs a small memory.
    ///
    /// # Safety
    /// Nobody uses it.
    unsafe fn all(&mut self, instance: &Instance, index: usize) -> Result<(), Unrestorable> {
        let memory = instance.memories[index].own().ok_or(Unrestorable)?.borrow();
        if !memory.is_restorable() {
            return Err(Unrestorable);
        }
        let image = instance.module.memory_image(DefinedMemoryIndex::new(index));
        let image = image.map_or(&[][..], |image| image.bytes);
        // SAFETY: as the caller says.
        self.tally.repaired_bytes += unsafe { memory.repair_all(image) } as u64;
        Ok(())
    }

    /// Repairs a stack and a memory, which lie in this order in one mapping with nothing but the instance between them if they are
    /// both given.
    ///
    /// # Safety
    /// Nobody uses them.
    unsafe fn slot(
        &mut self,
        instance: &Instance,
        stack: Option<StackBounds>,
        memory: Option<usize>,
    ) -> Result<(), Unrestorable> {
        let image = memory.and_then(|index| {
            let image = instance.module.memory_image(DefinedMemoryIndex::new(index));
            image.map(|image| image.bytes)
        });
        let image = image.unwrap_or_default();
        let memory = memory.and_then(|index| instance.memories[index].own());
        let memory = memory.map(|memory| memory.borrow());
        if memory
            .as_ref()
            .is_some_and(|memory| !memory.is_restorable())
        {
            return Err(Unrestorable);
        }
        let pages = memory.as_ref().map(|memory| memory.accessible_addresses());
        let range = match (&stack, &pages) {
            (Some(stack), Some(pages)) => stack.limit()..pages.end,
            (Some(stack), None) => stack.limit()..stack.base().next_multiple_of(PAGE_SIZE),
            (None, Some(pages)) => pages.clone(),
            (None, None) => return Ok(()),
        };
        if range.is_empty() {
            return Ok(());
        }
        let mut scanned = self.config.scan;
        if scanned {
            let visit = |found: Range<usize>| {
                if let Some(stack) = &stack {
                    // SAFETY: nobody uses the stack; what was found is accessible.
                    unsafe { self.stack(stack, clip(&found, stack.limit()..stack.base())) };
                }
                match (&memory, &pages) {
                    // SAFETY: nobody uses the memory, and it is restorable.
                    (Some(memory), Some(pages)) => unsafe {
                        self.memory(memory, clip(&found, pages.clone()), image)
                    },
                    _ => true,
                }
            };
            scanned = pagemap::own_pages(range, visit).is_ok();
        }
        if !scanned {
            self.deep_stack = true;
            self.discard_from = pages.as_ref().map(|pages| pages.start);
            if let Some(stack) = &stack {
                let shallow = shallow(stack)..stack.base();
                // SAFETY: nobody uses the stack, all of which is accessible.
                unsafe { zero(shallow) };
            }
        }
        if let (true, Some(stack)) = (self.deep_stack, &stack) {
            let mapping = instance.area.mapping();
            let base = mapping.base().addr().get();
            let deep = stack.limit() - base..shallow(stack) - base;
            if !deep.is_empty() {
                // SAFETY: nobody uses the stack.
                unsafe { mapping.discard(deep.clone()) }.map_err(|_| Unrestorable)?;
                self.tally.discarded_bytes += deep.len() as u64;
            }
        }
        if let (Some(from), Some(memory)) = (self.discard_from, &memory) {
            // SAFETY: as above.
            self.tally.discarded_bytes += unsafe { memory.discard_from(from, image)? } as u64;
        }
        Ok(())
    }

    /// # Safety
    /// The pages are accessible and nobody uses the stack.
    unsafe fn stack(&mut self, stack: &StackBounds, found: Range<usize>) {
        let shallow = shallow(stack);
        self.deep_stack |= !found.is_empty() && found.start < shallow;
        let found = clip(&found, shallow..stack.base());
        self.tally.repaired_bytes += found.len() as u64;
        self.kept += found.len();
        // SAFETY: as the caller says.
        unsafe { zero(found) };
    }

    /// Returns whether there is more to do.
    ///
    /// # Safety
    /// Nobody uses the memory, and it is restorable.
    unsafe fn memory(&mut self, memory: &LinearMemory, found: Range<usize>, image: &[u8]) -> bool {
        if found.is_empty() {
            return true; // It was all of the stack, and more of that may follow.
        }
        if self.kept + found.len() > self.config.keep_resident {
            self.discard_from = Some(found.start);
            return false;
        }
        self.kept += found.len();
        self.tally.repaired_bytes += found.len() as u64;
        // SAFETY: as the caller says.
        unsafe { memory.repair(found, image) };
        true
    }
}

/// From where on a stack's pages stay resident: a page's address.
fn shallow(stack: &StackBounds) -> usize {
    let shallow = stack.base().saturating_sub(KEPT_STACK);
    shallow.next_multiple_of(PAGE_SIZE).max(stack.limit())
}

/// Zeroes what was used of a stack on which there were only frames of at most a page. Returns how many bytes that were.
///
/// # Safety
/// Nobody uses the stack.
unsafe fn zero_used(stack: &StackBounds) -> usize {
    let mut page = (stack.base() - 1) / PAGE_SIZE * PAGE_SIZE;
    let mut bytes = stack.base() - page;
    // SAFETY: the stack is accessible from its limit to its base, and nobody uses it.
    unsafe { zero(page..stack.base()) };
    while page > stack.limit() {
        page -= PAGE_SIZE;
        let start = ptr::with_exposed_provenance::<u8>(page);
        // SAFETY: as above.
        if unsafe { std::slice::from_raw_parts(start, PAGE_SIZE) } == &ZEROS[..] {
            break;
        }
        // SAFETY: as above.
        unsafe { zero(page..page + PAGE_SIZE) };
        bytes += PAGE_SIZE;
    }
    bytes
}

/// The part of a range that is within bounds; empty, at the lower bound or above, if there is none.
fn clip(range: &Range<usize>, bounds: Range<usize>) -> Range<usize> {
    let start = range.start.max(bounds.start);
    start..range.end.min(bounds.end).max(start)
}

/// # Safety
/// The addresses are accessible, were exposed, and nobody uses them.
unsafe fn zero(range: Range<usize>) {
    if !range.is_empty() {
        let start = ptr::with_exposed_provenance_mut::<u8>(range.start);
        // SAFETY: as the caller says.
        unsafe { ptr::write_bytes(start, 0, range.len()) };
    }
}

/// Checks a module against what a pool allows each instance.
///
/// # Errors
/// What it has too much of.
pub(crate) fn check_pool_limits(
    pool: &Pool,
    info: &cowling_abi::ModuleInfo,
    instance_bytes: usize,
) -> Result<(), InstantiateError> {
    let config = pool.config();
    let memories = (0..info.defined_memory_count())
        .map(|index| &info.memories[info.memory_index(DefinedMemoryIndex::new(index))]);
    let tables = (0..info.defined_table_count())
        .map(|index| &info.tables[info.table_index(DefinedTableIndex::new(index))]);
    let largest_memory = memories
        .map(|ty| ty.minimum_bytes().unwrap_or(u64::MAX))
        .max();
    let largest_table = tables.map(|ty| ty.minimum).max();
    let limits = [
        (
            "memories in a module",
            info.defined_memory_count() as u64,
            config.memories_per_module as u64,
        ),
        (
            "tables in a module",
            info.defined_table_count() as u64,
            config.tables_per_module as u64,
        ),
        (
            "bytes in a memory",
            largest_memory.unwrap_or(0),
            config.memory_bytes,
        ),
        (
            "elements in a table",
            largest_table.unwrap_or(0),
            config.table_elements,
        ),
        (
            "bytes in an instance besides its memories",
            instance_bytes as u64,
            config.instance_bytes as u64,
        ),
    ];
    match limits.into_iter().find(|(_, wanted, limit)| wanted > limit) {
        Some((what, wanted, limit)) => Err(InstantiateError::PoolLimit {
            what,
            wanted,
            limit,
        }),
        None => Ok(()),
    }
}
