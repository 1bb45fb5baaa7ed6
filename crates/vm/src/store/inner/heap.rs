//! When a store collects its garbage and when its heap grows.
//!
//! ```text
//!   an object is wanted, and there is no room
//!     |
//!     |-- much was allocated since the last collection: collect; if more than two fifths are alive then, grow
//!     |-- little was: grow, for room is there, but in too small pieces
//!     '-- cannot grow (limit, limiter, system): collect, if that was not done yet
//!   still no room, or hardly any of it free after a collection: out of memory
//! ```
//!
//! A heap has its address space from the first instance of a module on that defines types of objects, or the first object of the
//! host. It grows in proportion to what is alive, so the work of collecting is in proportion to what is allocated. A store that is
//! dropped leaves its heap to the next one of its engine on the thread.

use super::freeing::{Holder, Reach};
use super::{StoreInner, decide};
use crate::code::{RegisteredType, TypeRegistry, holds_functions};
use crate::conservative;
use crate::error::{GcError, GrowError, RefError};
use crate::gc::layouts::{Layouts, object_size};
use crate::gc::mark::{Kind, Marking, kind};
use crate::gc::{GcStats, Heap};
use crate::host_ref::{Exception, HostRef, HostValue, ObjectTable};
use crate::limits::{Growing, Growth};
use crate::pool::{Pool, PoolFull};
use crate::quota;
use crate::suspend::Mark;
use cowling_abi::gc_heap::{HEAP_LIMIT, LARGE_OBJECT, LINE_SIZE, VmGcHeap};
use cowling_abi::gc_layout::GcLayout;
use cowling_abi::{CompositeType, FieldType, Representation, StorageType};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Up to this many live bytes heaps get three times as much as is alive; beyond, twice.
const GENEROUS: u64 = 64 << 20;

/// Who wants an object.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Guest code, which has come to a call for it. Everything it has in registers is on its stack, from this address on.
    Guest { stack: usize },
    /// The host, maybe while guest code is interrupted.
    Host,
}

/// What a store has for its objects.
#[derive(Default)]
pub(super) struct Gc {
    heap: Option<Box<Heap>>,
    stats: GcStats,
    /// Types of objects that no module need have, by number: of those that the host has made, and those of instances that are gone.
    kept_types: HashMap<u32, RegisteredType>,
    /// From how many kept types on those without objects are looked for.
    trim_types_at: usize,
    /// May objects hold references to functions?
    holds_functions: bool,
}

/// Number of kept types from which on those without objects are looked for.
const FIRST_TRIM: usize = 64;

/// What a collection has to look through.
struct Collector<'a> {
    objects: &'a mut ObjectTable,
    marking: Option<Marking<'a>>,
}

impl Collector<'_> {
    /// Marks what a reference refers to.
    fn reference(&mut self, raw: u32) {
        match (kind(raw), &mut self.marking) {
            (Kind::Foreign, _) => self.objects.mark(raw),
            (Kind::Object, Some(marking)) => marking.mark(raw),
            _ => {}
        }
    }

    /// Marks what a word may refer to.
    fn word(&mut self, word: u64) {
        if let Some(marking) = &mut self.marking {
            marking.mark_address(word);
        }
        for half in [word as u32, (word >> 32) as u32] {
            match (kind(half), &mut self.marking) {
                (Kind::Foreign, _) => self.objects.mark(half),
                (_, Some(marking)) => marking.mark_inside(half),
                _ => {}
            }
        }
    }

    /// Marks what marked things refer to, until there is no more.
    fn trace(&mut self) {
        let objects = &mut *self.objects;
        let Some(marking) = &mut self.marking else {
            return objects.trace(|_| {});
        };
        loop {
            marking.trace(&mut |foreign| objects.mark(foreign));
            if !objects.has_untraced() {
                return;
            }
            objects.trace(|object| marking.mark(object));
        }
    }
}

/// Where objects have references to functions, by their types' numbers. Those of all objects that were looked at.
#[derive(Default)]
struct Functions(HashMap<u32, FunctionFields>);

/// Where objects of a type have references to functions.
#[derive(Default)]
struct FunctionFields {
    /// Offsets in a struct.
    fields: Box<[u32]>,
    /// Offset of an array's first element, if the elements are such references.
    elements: Option<u32>,
}

impl FunctionFields {
    fn new(ty: &CompositeType) -> FunctionFields {
        let is_function = |field: &FieldType| matches!(field.storage, StorageType::Val(ty) if ty.representation() == Representation::FuncRef);
        match (ty, GcLayout::new(ty)) {
            (CompositeType::Struct(ty), Some(GcLayout::Struct(layout))) => {
                let fields = layout.offsets.iter().zip(&ty.fields);
                let fields = fields.filter(|(_, field)| is_function(field));
                FunctionFields {
                    fields: fields.map(|(offset, _)| *offset).collect(),
                    elements: None,
                }
            }
            (CompositeType::Array(ty), Some(GcLayout::Array(layout))) => FunctionFields {
                elements: is_function(&ty.element).then_some(layout.first),
                ..FunctionFields::default()
            },
            _ => FunctionFields::default(),
        }
    }
}

impl Collector<'_> {
    /// Marks on: what instances refer to that are found to be reached, and what reaches instances. Everything else that is alive has been
    /// marked.
    fn reach(&mut self, types: &Arc<TypeRegistry>, reach: &mut Reach) -> Functions {
        let mut functions = Functions::default();
        loop {
            self.functions(types, &mut functions, &mut |address| {
                reach.address(address, Holder::Object);
            });
            let reached = reach.follow();
            if reached.is_empty() {
                return functions;
            }
            for instance in reached {
                instance.visit_references(|raw| self.reference(raw));
            }
            self.trace();
        }
    }

    /// Calls `found` with what marked objects and exceptions have of references to functions and tags.
    fn functions(
        &self,
        types: &Arc<TypeRegistry>,
        known: &mut Functions,
        found: &mut dyn FnMut(usize),
    ) {
        self.objects.each_marked_exception(|exception| {
            found(exception.tag.addr().get());
            for (ty, value) in exception.types.iter().zip(&exception.values) {
                if ty.representation() == Representation::FuncRef {
                    found(value.u64() as usize);
                }
            }
        });
        let Some(marking) = &self.marking else {
            return;
        };
        marking.each_marked(|type_id, len, read| {
            let of = known.0.entry(type_id).or_insert_with(|| {
                let ty = types.get(type_id);
                ty.map_or_else(FunctionFields::default, |ty| {
                    FunctionFields::new(&ty.ty().composite)
                })
            });
            of.fields
                .iter()
                .for_each(|&offset| found(read(offset) as usize));
            if let Some(first) = of.elements {
                (0..len).for_each(|element| found(read(first + 8 * element) as usize));
            }
        });
    }
}

impl StoreInner {
    fn gc(&mut self) -> &mut Gc {
        self.gc.get_or_insert_default()
    }

    /// The heap, if there is one.
    pub(crate) fn heap(&self) -> Option<&Heap> {
        self.gc.as_deref()?.heap.as_deref()
    }

    fn heap_mut(&mut self) -> Option<&mut Heap> {
        self.gc.as_deref_mut()?.heap.as_deref_mut()
    }

    /// Notes that objects may hold references to functions, if those of a module's types do.
    pub(super) fn note_functions_in_objects(&mut self, any: bool) {
        if any {
            self.gc().holds_functions = true;
        }
    }

    /// Does it take a collection to find out which instances are reached?
    pub(super) fn reaches_through_objects(&self) -> bool {
        let trims = |gc: &Gc| gc.kept_types.len() >= gc.trim_types_at.max(FIRST_TRIM);
        self.objects.may_have_exceptions()
            || (self.gc.as_deref()).is_some_and(|gc| gc.holds_functions || trims(gc))
    }

    /// Keeps a type as long as there are objects of it.
    pub(in crate::store) fn keep_type(&mut self, ty: &RegisteredType) {
        self.note_functions_in_objects(holds_functions(&ty.ty().composite));
        let kept = self.gc().kept_types.entry(ty.id());
        kept.or_insert_with(|| ty.clone());
    }

    /// The heap, which the store gets now if it has none.
    ///
    /// # Errors
    /// When the pool, the limiter or the system does not allow it.
    pub(crate) fn provided_heap(&mut self) -> Result<&mut Heap, GcError> {
        if self.heap().is_none() {
            self.make_heap()?;
        }
        let heap = self.heap_mut();
        Ok(heap.unwrap_or_else(|| unreachable!("it was just made")))
    }

    #[cold]
    fn make_heap(&mut self) -> Result<(), GcError> {
        let admitted = AdmittedHeap::new(self.pool())?;
        let kept = self.shell.as_mut().and_then(|shell| shell.heap.take());
        let limit = self.pool().config().memory_bytes;
        let capacity = self.config().knobs.gc_heap_reservation.min(limit);
        let made = match kept {
            Some(heap) => Ok(heap),
            None => Heap::reserve(capacity).map(Box::new),
        };
        let heap = made.map_err(|error| GcError::OutOfMemory {
            reason: error.to_string(),
        })?;
        let code = heap.for_code();
        let initial = heap.size_with(self.config().knobs.gc_heap_initial_size);
        let allowed = match initial {
            0 => Ok(()),
            _ => self.allow_heap(0, initial, heap.capacity()),
        };
        if let (Err(GcError::Limiter(_)), Some(shell)) = (&allowed, &mut self.shell) {
            // Perhaps only for now: nothing has happened.
            shell.heap = Some(heap);
            return allowed;
        }
        self.gc().heap = Some(heap);
        admitted.keep();
        // SAFETY: compiled code that knows of the heap has not been entered.
        unsafe { self.execution.gc_heap().write(code) };
        // Without it the heap has no room; who needs some asks again.
        allowed?;
        self.grow_heap(initial)
    }

    /// Asks quota and limiter whether a heap with this capacity may have this many bytes.
    fn allow_heap(&mut self, current: u64, desired: u64, capacity: u64) -> Result<(), GcError> {
        let used = || self.bytes_in_use();
        let limit = self.quota().memory_bytes;
        quota::check("GC heap", "bytes", (current, desired), 1, used, limit)?;
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let answer = self.ask_limiter(Growth {
            what: Growing::Memory,
            current: size(current),
            desired: size(desired),
            maximum: Some(size(capacity)),
        });
        Ok(decide(answer, "GC heap", "bytes", current, desired)?)
    }

    /// Grows the heap to this many bytes, which are allowed.
    fn grow_heap(&mut self, size: u64) -> Result<(), GcError> {
        let Some(heap) = self.heap_mut() else {
            return Ok(());
        };
        if size <= heap.size() {
            return Ok(());
        }
        let Err(error) = heap.grow(size) else {
            return Ok(());
        };
        let error = self.memory_grow_failed(GrowError::OutOfMemory {
            what: "GC heap",
            reason: error.to_string(),
        });
        Err(error.into())
    }

    /// Makes an object of a type of structs or arrays, with all its contents 0; `word` is an array's length. Returns a reference to
    /// it, which nothing knows yet.
    ///
    /// # Errors
    /// When there is no room for it, or it would be larger than any heap.
    pub(crate) fn new_object(
        &mut self,
        type_id: u32,
        word: u32,
        wanted_for: For,
    ) -> Result<u32, GcError> {
        let stack = match wanted_for {
            For::Guest { stack } => Some(stack),
            For::Host => None,
        };
        let size = object_size(self.layouts().get(type_id), word);
        let size = match u32::try_from(size) {
            Ok(size) if size < HEAP_LIMIT => size,
            _ => return Err(GcError::TooLarge),
        };
        self.provided_heap()?;
        let keep = self.execution.computations().is_interrupted() || self.is_in_hook();
        let stress = self.config().knobs.gc_stress;
        if stress && !keep {
            self.collect_from(stack);
        }
        let mut may_collect = !keep && !stress;
        let mut grown = false;
        loop {
            let guest = stack.is_some() && !stress;
            let code = self.execution.gc_heap();
            if let Some(heap) = self.heap_mut() {
                // SAFETY: guest code of this store does not run, and no other reference to this is alive.
                let code = unsafe { &mut *code };
                if let Some(start) = room(heap, code, size, guest) {
                    return Ok(heap.make(start, type_id, word));
                }
            }
            if may_collect && self.heap().is_some_and(Heap::is_worth_collecting) {
                may_collect = false;
                self.collect_from(stack);
                self.adapt_heap()?;
                continue;
            }
            if grown {
                return Err(self.heap_is_full(size));
            }
            match self.extend_heap(size) {
                Ok(()) => grown = true,
                Err(GcError::Limiter(error)) => return Err(GcError::Limiter(error)),
                Err(_) if may_collect => {
                    may_collect = false;
                    self.collect_from(stack);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// After a collection: grows the heap in proportion to what is alive. Fails if hardly anything is free and it cannot grow.
    fn adapt_heap(&mut self) -> Result<(), GcError> {
        let Some(heap) = self.heap() else {
            return Ok(());
        };
        let (live, size) = (heap.live(), heap.size());
        if live.saturating_mul(5) >= size.saturating_mul(2) {
            let factor = if live <= GENEROUS { 3 } else { 2 };
            let wanted = live.saturating_mul(factor).saturating_sub(size);
            let wanted = heap.size_with(wanted);
            let grown = match self.resize_heap(wanted) {
                Err(GcError::Limiter(error)) => Err(GcError::Limiter(error)),
                Err(_) => self.extend_heap(LINE_SIZE),
                done => done,
            };
            if let Err(GcError::Limiter(error)) = grown {
                return Err(GcError::Limiter(error));
            }
        }
        let (live, size) = self
            .heap()
            .map_or((0, 0), |heap| (heap.live(), heap.size()));
        if size - live < size / 32 {
            return Err(self.heap_is_full(0));
        }
        Ok(())
    }

    /// Grows the heap so that an object of this many bytes has room behind everything else, and by a good part of what it has.
    fn extend_heap(&mut self, size: u32) -> Result<(), GcError> {
        let Some(heap) = self.heap() else {
            return Ok(());
        };
        let least = heap.size_with(u64::from(size.next_multiple_of(LINE_SIZE)));
        if least < heap.size() + u64::from(size) {
            return Err(self.heap_is_full(size));
        }
        let generous = heap.size_with((heap.size() / 2).max(u64::from(size)));
        match self.resize_heap(generous) {
            Err(GcError::Limiter(error)) => Err(GcError::Limiter(error)),
            Err(_) if least < generous => self.resize_heap(least),
            done => done,
        }
    }

    fn resize_heap(&mut self, size: u64) -> Result<(), GcError> {
        let heap = self.heap();
        let (current, capacity) = heap.map_or((0, 0), |heap| (heap.size(), heap.capacity()));
        if size <= current {
            return Ok(());
        }
        self.allow_heap(current, size, capacity)?;
        self.grow_heap(size)
    }

    fn heap_is_full(&self, size: u32) -> GcError {
        let heap = self.heap();
        GcError::Full {
            size: heap.map_or(0, Heap::size),
            live: heap.map_or(0, Heap::live),
            wanted: u64::from(size),
        }
    }

    /// Does the store's call hook run?
    pub(super) fn is_in_hook(&self) -> bool {
        self.execution.computations().any([Mark::InHook])
    }

    /// What the collector knows of types.
    pub(crate) fn layouts(&self) -> Layouts {
        // SAFETY: types of objects of this store are alive as long as it: its instances' modules and the registrations it holds
        // keep them.
        unsafe { Layouts::new(self.config().types.rows().base()) }
    }

    /// Frees objects, host values and exceptions that neither guests nor host can reach any more. Does nothing while a guest of the
    /// store is interrupted, or its call hook runs.
    pub fn collect(&mut self) {
        self.collect_from(None);
    }

    /// Collects. `stack` is where on the stack that this runs on references begin, if that is known: what is below are frames of the
    /// runtime, with what others have left there.
    fn collect_from(&mut self, stack: Option<usize>) {
        let interrupted = self.execution.computations().is_interrupted();
        if interrupted && self.heap().is_some() || self.is_in_hook() {
            return;
        }
        self.collect_reaching(stack, None);
    }

    /// Collects. If `reach` is given, it finds out which of its instances are reached, and what others refer to is not kept alive.
    /// Not to be called while the call hook runs, nor, if there is a heap, while a guest is interrupted.
    pub(super) fn collect_reaching(&mut self, stack: Option<usize>, mut reach: Option<&mut Reach>) {
        debug_assert!(!self.is_in_hook());
        let started = Instant::now();
        let layouts = self.layouts();
        let types = self.config().types.clone();
        let instances: Vec<_> = self.instances().collect();
        let (heap, kept_types) = match self.gc.as_deref_mut() {
            Some(gc) => (gc.heap.as_deref_mut(), Some(&mut gc.kept_types)),
            None => (None, None),
        };
        let mut collector = Collector {
            objects: &mut self.objects,
            marking: heap.map(|heap| Marking::begin(heap, layouts)),
        };
        let marking = &mut collector.marking;
        collector.objects.mark_roots(|object| {
            if let Some(marking) = marking {
                marking.mark(object);
            }
        });
        for instance in instances {
            if reach.as_ref().is_none_or(|reach| reach.is_kept(instance)) {
                instance.visit_references(|raw| collector.reference(raw));
            }
        }
        conservative::scan_stacks(&self.execution, stack, |word| collector.word(word));
        collector.trace();
        let mut trim_types_at = None;
        if let Some(reach) = &mut reach {
            let functions = collector.reach(&types, reach);
            if let Some(kept) = kept_types {
                kept.retain(|id, _| functions.0.contains_key(id));
                trim_types_at = Some(kept.len() * 2);
            }
        }
        let live_bytes = collector.marking.map_or(0, Marking::finish);
        let dead = self.objects.sweep();
        if let Some(heap) = self.heap() {
            // SAFETY: guest code of this store does not run; when it goes on it finds no room, and asks.
            unsafe { self.execution.gc_heap().write(heap.for_code()) };
        }
        let gc = self.gc();
        gc.stats.note(started.elapsed(), live_bytes);
        gc.trim_types_at = trim_types_at.unwrap_or(gc.trim_types_at);
        // Destructors are the embedder's code. All is whole again, so one that panics harms nothing.
        drop(dead);
    }

    /// Collects, and makes room for an object of this many bytes.
    ///
    /// # Errors
    /// When the limiter or the system does not allow the heap to grow as far.
    pub fn make_room(&mut self, bytes: u64) -> Result<(), GcError> {
        self.collect();
        let Some(heap) = self.heap() else {
            return Ok(());
        };
        if heap.size() - heap.live() >= bytes.saturating_mul(2) {
            return Ok(());
        }
        let bytes = u32::try_from(bytes).map_err(|_| GcError::TooLarge)?;
        self.extend_heap(bytes)
    }

    /// What collections have cost and left so far.
    pub fn gc_stats(&self) -> GcStats {
        GcStats {
            heap_bytes: self.heap().map_or(0, Heap::size),
            ..self.gc.as_deref().map_or(GcStats::default(), |gc| gc.stats)
        }
    }

    /// Makes a host value something guests can refer to, rooted in the current scope. May collect first.
    ///
    /// # Errors
    /// When there are too many.
    pub fn host_ref_new(&mut self, value: HostValue) -> Result<HostRef, RefError> {
        if self.objects.wants_collection() {
            self.collect();
        }
        self.objects.insert_host(value)
    }

    /// Makes an exception an object. May collect first: what its values refer to must be rooted or on the guest stack.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn new_exception(&mut self, exception: Exception) -> Result<u32, RefError> {
        if self.objects.wants_collection() {
            self.collect();
        }
        self.objects.insert_exception(exception)
    }

    /// The heap for the store's shell, if there is one: of no store, for the next.
    pub(super) fn end_heap(&mut self) -> Option<Box<Heap>> {
        let mut heap = self.gc.as_deref_mut()?.heap.take()?;
        self.pool().release_heap();
        // What cannot be recycled is unmapped.
        heap.recycle().is_ok().then_some(heap)
    }
}

/// What a pool has admitted for a heap: given back unless it is kept.
struct AdmittedHeap(Option<Arc<Pool>>);

impl AdmittedHeap {
    /// # Errors
    /// When the pool has as many as it may have.
    fn new(pool: &Arc<Pool>) -> Result<AdmittedHeap, PoolFull> {
        pool.admit_heap()?;
        Ok(AdmittedHeap(Some(pool.clone())))
    }

    /// The heap is there; it is given back [at its end](StoreInner::end_heap).
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for AdmittedHeap {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.release_heap();
        }
    }
}

/// Room for an object, where compiled code has its own if it is small and for that.
fn room(heap: &mut Heap, code: &mut VmGcHeap, size: u32, for_code: bool) -> Option<u32> {
    if for_code && size < LARGE_OBJECT {
        if let Some(start) = heap.take_next(code, size) {
            return Some(start);
        }
        if heap.refill(code, size) {
            return heap.take_next(code, size);
        }
        // What others get would soon be used up by small objects, each a call.
        if size <= LINE_SIZE {
            return None;
        }
    }
    heap.elsewhere(size)
}
