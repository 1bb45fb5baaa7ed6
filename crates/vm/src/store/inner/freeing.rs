//! Removing instances from a store that lives on, and freeing them when nothing reaches them any more.
//!
//! ```text
//!   claimed instances ----> imports, tables, globals ---.
//!   stacks (every word), direct calls of the host ------+--> addresses ---> unclaimed instances reached
//!   live objects and exceptions: functions, tags -------'        ^                  |
//!            ^                                                   '------------------+
//!            '------- globals, tables of objects, segments -------------------------'
//!
//!   what is not claimed and not reached: its place emptied, counts given back, slot retired
//! ```
//!
//! Removing an instance gives up the claim to it: handles from before are no good from then on. It is freed at once unless something
//! can still reach it. Then it stays whole, for whatever reaches it, until a later removal or collection finds that nothing does. One pass
//! looks at all of it together, so cycles among removed instances, and through objects, are no obstacle.
//!
//! Nothing is ever followed that may be dangling: what is found is an address, and is looked up among those of the instances in
//! question. Everything compiled code can hold of an instance while it waits for a call is an address in its area or in one of its
//! memories or tables; so is the import record of a host function while that runs (`host::store_of`).
//!
//! # Invariants
//!
//! * What is freed is in no frame, table, global, object, exception or import record that is itself alive.
//! * Nothing is freed while a guest waits at an instruction that is no call, where it may have anything derived from anything in its
//!   registers; nor while another thread waits with things in its registers; nor while the call hook runs: then the function that is
//!   about to be called, its arguments, or results that nobody has looked at yet are in buffers that are not searched.
//! * Nothing is freed between the check of a handle and the end of its use. What makes something makes room for it first.
//! * Code stays while there may be a return address into it. A frame of a guest need not hold its instance: one that only returns
//!   needs none.
//! * A slot that has the store's stack is not given back while that is in use.

use super::StoreInner;
use super::ending::retire_all;
use super::spans::Spans;
use crate::arch;
use crate::code::CompiledModule;
use crate::conservative::scan_stacks;
use crate::error::{HandleError, InstanceNumber, Result};
use crate::instance::InstancePtr;
use crate::instance::recycle::Life;
use crate::instantiate::counts;
use crate::store::places::Thing;
use crate::store::{
    Counts, FuncHandle, GlobalHandle, InstanceHandle, MemoryHandle, StoreId, TableHandle, TagHandle,
};
use cowling_abi::layout::VmFuncImport;
use smallvec::SmallVec;
use std::ops::Range;
use std::panic::resume_unwind;
use std::ptr::NonNull;
use std::sync::Arc;

/// What became of something that was removed from its store.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone: slot, memories and tables were given back.
    Freed,
    /// Something still reaches it. It is freed when nothing does any more, which the next removal or collection finds out.
    Kept(Holder),
}

/// What keeps something alive that was removed: the first that was found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An instance, by an import, or by a reference in a table or global.
    Instance(InstanceHandle),
    /// An object or exception that is alive.
    Object,
    /// It runs or is suspended, or something that does refers to it.
    Stack,
    /// A guest of the store was interrupted, its call hook runs, or another thread waits for this one: until that goes on nothing can
    /// be freed, and nothing is looked for.
    Interrupted,
}

/// Something was not removed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It is part of an instance, and goes with that.
    #[error("{what} is part of instance {instance} and cannot be removed by itself")]
    Part {
        /// What it is: `function`, `table`, `memory`, `global` or `tag`.
        what: &'static str,
        /// Whose it is.
        instance: InstanceNumber,
    },
}

/// Something that is not claimed, and whether it is reached.
struct Candidate {
    number: InstanceNumber,
    thing: Thing,
    held_by: Option<Holder>,
}

/// Which of the things that are not claimed are reached.
pub(super) struct Reach {
    /// In order of their places.
    candidates: Vec<Candidate>,
    /// Addresses of each, with its position among them.
    spans: Spans,
    /// Positions of those that were reached and have not been followed.
    pending: Vec<usize>,
    /// Code that may be returned to after nothing else refers to it: each module's once, by address.
    texts: Vec<(Range<usize>, bool)>,
    store: StoreId,
}

impl Reach {
    fn new(store: &StoreInner) -> Reach {
        let candidates: Vec<Candidate> = (store.places.unclaimed())
            .map(|(place, thing)| Candidate {
                number: store.number(place),
                thing,
                held_by: None,
            })
            .collect();
        let mut ranges = Vec::new();
        for (position, candidate) in candidates.iter().enumerate() {
            let mut add = |range: Range<usize>| ranges.push((range, position));
            match candidate.thing {
                Thing::Instance(instance) | Thing::Made(instance) => {
                    // SAFETY: what is in a place lives.
                    let instance = unsafe { InstancePtr::new(instance) };
                    instance.addresses().into_iter().for_each(&mut add);
                }
                Thing::Func(record) => {
                    let start = record.addr().get();
                    // SAFETY: as above; only the size is used.
                    add(start..start + size_of_val(unsafe { record.as_ref() }));
                }
            }
        }
        Reach {
            candidates,
            spans: Spans::new(ranges),
            pending: Vec::new(),
            texts: Vec::new(),
            store: store.id,
        }
    }

    /// Notes that an address was found.
    pub(super) fn address(&mut self, address: usize, by: Holder) {
        let owners: SmallVec<[usize; 2]> = self.spans.owners(address).collect();
        owners.into_iter().for_each(|owner| self.found(owner, by));
    }

    /// Notes that what is in a place was found.
    fn place(&mut self, place: u32, by: Holder) {
        if let Some(position) = self.position(place) {
            self.found(position, by);
        }
    }

    fn position(&self, place: u32) -> Option<usize> {
        let found = (self.candidates).binary_search_by_key(&place, |one| one.number.place);
        found.ok()
    }

    fn found(&mut self, position: usize, by: Holder) {
        let candidate = &mut self.candidates[position];
        if candidate.held_by.is_none() {
            candidate.held_by = Some(by);
            self.pending.push(position);
        }
    }

    /// Notes that a word was found on a stack.
    fn word(&mut self, word: u64) {
        let word = word as usize;
        self.address(word, Holder::Stack);
        let after = (self.texts).partition_point(|(text, _)| text.start <= word);
        // A call at the very end returns to behind it, where the next may begin.
        for (text, used) in self.texts[..after].iter_mut().rev().take(2) {
            *used |= word <= text.end;
        }
    }

    /// Notes what an instance reaches.
    fn instance(&mut self, instance: InstancePtr, handle: InstanceHandle) {
        let by = Holder::Instance(handle);
        let mut places = Vec::new();
        instance.visit_reached(
            |address| self.address(address, by),
            |place| places.push(place),
        );
        places.into_iter().for_each(|place| self.place(place, by));
    }

    /// Follows what was found, and what is found by that. Returns the instances among it.
    pub(super) fn follow(&mut self) -> Vec<InstancePtr> {
        let mut all = Vec::new();
        while let Some(position) = self.pending.pop() {
            let Candidate { number, thing, .. } = self.candidates[position];
            let Some(instance) = thing.instance() else {
                continue;
            };
            // SAFETY: what is in a place lives.
            let instance = unsafe { InstancePtr::new(instance) };
            all.push(instance);
            let handle = InstanceHandle::new(self.store, number, instance.as_ptr());
            self.instance(instance, handle);
        }
        all
    }

    /// Is it claimed, or has it been reached?
    pub(super) fn is_kept(&self, instance: InstancePtr) -> bool {
        match self.position(instance.place()) {
            Some(position) => self.candidates[position].held_by.is_some(),
            None => true,
        }
    }
}

impl StoreInner {
    /// Removes an instance: handles to it and to what it defines are no good any more, and it is freed when nothing else can reach it.
    ///
    /// # Errors
    /// When the handle is another store's, or it has been removed before.
    pub fn remove_instance(&mut self, instance: InstanceHandle) -> Result<Removal, HandleError> {
        self.check(&instance)?;
        Ok(self.remove(instance.instance_number().place))
    }

    /// Removes a memory that the host has made in this store.
    ///
    /// # Errors
    /// [`HandleError`] for a handle that is no good, and [`RemoveError`] for a memory of an instance.
    pub fn remove_memory(&mut self, memory: MemoryHandle) -> Result<Removal> {
        self.check(&memory)?;
        Ok(self.remove_made("memory", memory.instance_number())?)
    }

    /// Removes a table that the host has made in this store.
    ///
    /// # Errors
    /// As [`remove_memory`](Self::remove_memory).
    pub fn remove_table(&mut self, table: TableHandle) -> Result<Removal> {
        self.check(&table)?;
        Ok(self.remove_made("table", table.instance_number())?)
    }

    /// Removes a global that the host has made in this store.
    ///
    /// # Errors
    /// As [`remove_memory`](Self::remove_memory).
    pub fn remove_global(&mut self, global: GlobalHandle) -> Result<Removal> {
        self.check(&global)?;
        Ok(self.remove_made("global", global.instance_number())?)
    }

    /// Removes a tag that the host has made in this store.
    ///
    /// # Errors
    /// As [`remove_memory`](Self::remove_memory).
    pub fn remove_tag(&mut self, tag: TagHandle) -> Result<Removal> {
        self.check(&tag)?;
        Ok(self.remove_made("tag", tag.instance_number())?)
    }

    /// Removes a host function from this store.
    ///
    /// # Errors
    /// As [`remove_memory`](Self::remove_memory).
    pub fn remove_func(&mut self, func: FuncHandle) -> Result<Removal> {
        self.check(&func)?;
        Ok(self.remove_made("function", func.instance_number())?)
    }

    fn remove_made(
        &mut self,
        what: &'static str,
        instance: InstanceNumber,
    ) -> Result<Removal, RemoveError> {
        match self.places.thing(instance.place) {
            Some(Thing::Made(_) | Thing::Func(_)) => Ok(self.remove(instance.place)),
            _ => Err(RemoveError::Part { what, instance }),
        }
    }

    fn remove(&mut self, place: u32) -> Removal {
        self.places.release(place);
        self.look_closely();
        self.free(Some(place))
    }

    /// From now on handles have to have the right numbers.
    fn look_closely(&mut self) {
        self.unremoved_id = StoreId::nobody();
    }

    /// Removes an instance that failed. Its handle is nobody's.
    pub(crate) fn give_up(&mut self, instance: InstanceHandle) {
        // The handle is good: it was made for this.
        let _removed = self.remove_instance(instance);
    }

    /// Frees what has been removed and is not reached any more.
    pub fn free_unreachable(&mut self) {
        self.free(None);
    }

    /// Frees what has been removed and is not reached any more if the store's limits do not allow this much more otherwise. To be called
    /// before handles are looked at, values lowered, or shared memories brought in: none of that keeps anything.
    pub(crate) fn make_room_for(&mut self, wanted: Counts) {
        if !self.places.has_unclaimed() {
            return;
        }
        match self.count(wanted) {
            Ok(()) => self.uncount(wanted),
            Err(_) => self.free_unreachable(),
        }
    }

    /// Frees what is not claimed and not reached. Says what became of the thing in a place that is not claimed.
    // Here the frames begin that have addresses of the instances in question only because they are looked at. Callers have handles.
    #[inline(never)]
    fn free(&mut self, asked: Option<u32>) -> Removal {
        let (registers, from) = (arch::callee_saved_registers(), arch::stack_pointer());
        let lingering = self
            .brought
            .as_ref()
            .is_some_and(|b| !b.lingering.is_empty());
        if !self.places.has_unclaimed() && !lingering {
            return Removal::Freed;
        }
        let interrupted = self.execution.computations().is_interrupted();
        if interrupted || self.is_in_hook() || !self.execution.is_on_this_thread() {
            return Removal::Kept(Holder::Interrupted);
        }
        let reach = self.reach(&registers, from);
        let asked = asked.and_then(|place| {
            let position = reach.position(place)?;
            reach.candidates[position].held_by
        });
        self.sweep(reach);
        asked.map_or(Removal::Freed, Removal::Kept)
    }

    /// Finds out what is reached. On the stack that this runs on, guests and host functions have what is in these registers and what
    /// lies from this address on.
    #[inline(never)]
    fn reach(&mut self, registers: &[u64], from: usize) -> Reach {
        let mut reach = Reach::new(self);
        // A slot's stack goes with it.
        if !self.execution.is_idle() {
            for position in 0..reach.candidates.len() {
                let instance = reach.candidates[position].thing.instance();
                // SAFETY: what is in a place lives.
                let instance = instance.map(|instance| unsafe { InstancePtr::new(instance) });
                let holds = instance.is_some_and(|instance| {
                    (self.execution).has_stack_that(|stack| instance.has_in_slot(stack))
                });
                if holds {
                    reach.found(position, Holder::Stack);
                }
            }
            let modules = reach.candidates.iter().filter_map(|one| module(one.thing));
            let modules = modules.chain(
                self.brought
                    .iter()
                    .flat_map(|b| b.lingering.iter().cloned()),
            );
            let texts = modules.map(|module| module.text_addresses());
            let mut texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
            texts.sort_unstable_by_key(|text| text.start);
            texts.dedup();
            reach.texts = texts.into_iter().map(|text| (text, false)).collect();
        }
        for record in self.brought.iter().flat_map(|b| &b.direct_calls) {
            reach.address(record.addr().get(), Holder::Stack);
        }
        for (place, thing) in self.places.iter() {
            if let Some(instance) = thing.instance()
                && self.places.is_claimed(place)
            {
                // SAFETY: what is in a place lives.
                let instance = unsafe { InstancePtr::new(instance) };
                reach.instance(instance, self.instance_handle(instance));
            }
        }
        if self.execution.is_active() {
            registers.iter().for_each(|&word| reach.word(word));
        }
        scan_stacks(&self.execution, Some(from), |word| reach.word(word));
        reach.follow();
        let all = reach.candidates.iter().all(|one| one.held_by.is_some());
        if !all && self.reaches_through_objects() {
            self.collect_reaching(None, Some(&mut reach));
        }
        reach
    }

    /// Frees what was not reached.
    #[inline(never)]
    fn sweep(&mut self, reach: Reach) {
        let Reach {
            candidates, texts, ..
        } = reach;
        let dead: Vec<_> = candidates
            .into_iter()
            .filter(|one| one.held_by.is_none())
            .collect();
        let mut stack = None;
        let mut lingering = self
            .brought
            .as_mut()
            .map_or(Vec::new(), |b| std::mem::take(&mut b.lingering));
        if !dead.is_empty() {
            self.look_closely();
        }
        for Candidate { number, thing, .. } in &dead {
            self.places.free(number.place);
            lingering.extend(module(*thing));
            match *thing {
                Thing::Instance(instance) | Thing::Made(instance) => {
                    // SAFETY: it was alive up to here.
                    let instance = unsafe { InstancePtr::new(instance) };
                    let mut counted = counts(instance.info());
                    counted.instances = usize::from(matches!(thing, Thing::Instance(_)));
                    self.uncount(counted);
                    self.let_go(instance);
                    if (self.execution).has_stack_that(|stack| instance.has_in_slot(stack)) {
                        // SAFETY: nothing runs on it: otherwise the instance would have been kept.
                        unsafe {
                            self.execution.computations().clear();
                            stack = self.execution.take_stack();
                        }
                    }
                }
                Thing::Func(record) => {
                    if let Some(brought) = &mut self.brought {
                        brought.without_shim.retain(|other| *other != record);
                    }
                }
            }
        }
        let used = |module: &Arc<CompiledModule>| {
            let text = module.text_addresses();
            texts.iter().any(|(range, used)| *used && *range == text)
        };
        lingering.retain(used);
        lingering.sort_unstable_by_key(|module| Arc::as_ptr(module).addr());
        lingering.dedup_by(|a, b| Arc::ptr_eq(a, b));
        if !lingering.is_empty() {
            self.brought.get_or_insert_default().lingering = lingering;
        }
        let life = Life {
            touched: self.execution.is_touched(),
            small_frames: !self.execution.had_host_frames()
                && self.instances().all(|instance| instance.has_small_frames()),
        };
        let dead = dead.into_iter().map(|candidate| candidate.thing);
        // SAFETY: nothing reaches them, and they are in no list of the store any more.
        let dropped = unsafe { retire_all(dead, life, &mut stack) };
        // All is whole again.
        dropped.unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// Sees to what outlives an instance that is freed.
    fn let_go(&mut self, instance: InstancePtr) {
        if !instance.has_small_frames() {
            self.execution.note_host_frames();
        }
        if let Some(brought) = &mut self.brought {
            let own = instance.as_ptr();
            brought.shared_memories.retain(|memory| *memory != own);
        }
        if self.heap().is_some() {
            let types: Vec<_> = instance.module().object_types().collect();
            types.iter().for_each(|ty| self.keep_type(ty));
        }
    }

    /// Notes that the host calls a host function.
    pub(crate) fn begin_direct_call(&mut self, record: NonNull<VmFuncImport>) {
        let brought = self.brought.get_or_insert_default();
        brought.direct_calls.push(record);
    }

    /// Notes that it has returned.
    pub(crate) fn end_direct_call(&mut self, record: NonNull<VmFuncImport>) {
        // Calls in computations that are suspended need not end in the order in which they began.
        if let Some(brought) = &mut self.brought
            && let Some(last) = brought.direct_calls.iter().rposition(|one| *one == record)
        {
            brought.direct_calls.remove(last);
        }
    }
}

/// The module whose code something may be running.
fn module(thing: Thing) -> Option<Arc<CompiledModule>> {
    match thing {
        // SAFETY: what is in a place, or was until now, lives.
        Thing::Instance(instance) => Some(unsafe { InstancePtr::new(instance) }.module().clone()),
        Thing::Made(_) => None,
        // SAFETY: as above; nobody changes it meanwhile.
        Thing::Func(record) => unsafe { record.as_ref() }.shim.clone(),
    }
}
