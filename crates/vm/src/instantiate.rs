//! Instantiation, in the order of the specification.
//!
//! ```text
//!   link      imports against the module's: nothing has happened yet when one does not fit
//!   allocate  count, limiter (which is waited for between two attempts at all this), a warm slot; or a new one, memories with their images, tables
//!                                                                             any failure gives all of it back
//!   fill      import records, globals, tables: what a warm slot has not got
//!   adopt     from here on the instance belongs to the store, whatever happens: others may come to refer to it
//!   segments  active element segments, then active data segments: a trap leaves what was written before it
//!   start     the start function
//!
//! An instance that fails after it was adopted is removed: it stays only if something has come to refer to it.
//! ```
//!
//! # Invariant
//!
//! A memory image holds data segments that come before every other one. They count as applied when the element segments are
//! through; if one of those traps, the images are undone.

mod fill;
mod link;

use fill::{fill_globals, fill_imports, fill_tables, make_elements, origins};
use link::{check_imports, host_matches};

use crate::builtins::init_memory;
use crate::code::CompiledModule;
use crate::const_expr::evaluate;
use crate::embedder::HostMemory;
use crate::error::{Error, GrowError, InstantiateError, Result};
use crate::func;
use crate::host::{HostFunc, LinkedBodies, SharedBody};
use crate::instance::recycle::{Admission, Pooled, check_pool_limits};
use crate::instance::{Instance, InstanceMemory, InstancePtr, Origins};
use crate::memory::LinearMemory;
use crate::pool::{Handle, Kind, Pool, Usage};
use crate::shared::SharedMemory;
use crate::slot::{Slot, SlotMemory, SlotSpec};
use crate::stack::StackSpec;
use crate::store::{Adoption, Counts, ExternHandle, InstanceHandle, StoreInner, StoreMut};
use crate::table::{MAX_TABLE_ELEMENTS, Table};
use cowling_abi::entity::EntityRef;
use cowling_abi::layout::VmValue;
use cowling_abi::module::{Import, SegmentMode};
use cowling_abi::plan::MemoryPlan;
use cowling_abi::*;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

/// What is given for an import.
#[derive(Clone, Debug)]
pub enum ImportValue<T> {
    /// Something of the store.
    Extern(ExternHandle),
    /// A host function.
    Host(HostFunc<T>),
    /// A shared memory, which is of no store.
    Shared(SharedMemory),
}

/// An [`ImportValue`], whatever its store's data type.
#[derive(Copy, Clone)]
enum Given<'a> {
    Extern(ExternHandle),
    Host(&'a SharedBody),
}

/// What an instance is given for its imports.
#[derive(Copy, Clone)]
enum Imports<'a> {
    /// A value for each.
    Each(&'a [Given<'a>]),
    /// Host functions that were checked before.
    Linked(&'a Arc<LinkedBodies>),
    /// None; the one memory that it defines is there already.
    Memory(&'a SharedMemory),
}

/// A module whose imports are all host functions, given and checked. Its instances can be made in any store, and one that gets a slot
/// which such an instance had finds its imports there.
///
/// Clones are the same. It keeps module and host functions.
pub struct Linked<T> {
    module: Arc<CompiledModule>,
    bodies: Handle<LinkedBodies>,
    _data: PhantomData<fn(T)>,
}

impl<T> Clone for Linked<T> {
    fn clone(&self) -> Self {
        Linked {
            module: self.module.clone(),
            bodies: self.bodies.clone(),
            _data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Linked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Linked")
            .field("imports", &self.bodies.bodies().len()))
        .finish_non_exhaustive()
    }
}

impl<T: 'static> Linked<T> {
    /// A module with a value for each of its imports, in order. `None` if these are not all host functions, or do not fit.
    pub fn new(module: &Arc<CompiledModule>, imports: &[ImportValue<T>]) -> Option<Linked<T>> {
        let info = module.info();
        if imports.len() != info.imports.len() {
            return None;
        }
        let body = |(import, given): (&Import, &ImportValue<T>)| match (import.entity, given) {
            (EntityIndex::Func(index), ImportValue::Host(host))
                if host_matches(module, index, host.body()) =>
            {
                Some(host.body().clone())
            }
            _ => None,
        };
        let bodies: Option<Box<[SharedBody]>> =
            info.imports.iter().zip(imports).map(body).collect();
        Some(Linked {
            module: module.clone(),
            bodies: Handle::new(Arc::new(LinkedBodies::new(bodies?))),
            _data: PhantomData,
        })
    }
}

impl<T: 'static> HostFunc<T> {
    /// Fits it an import of a module?
    pub fn fits(&self, module: &CompiledModule, import: FuncIndex) -> bool {
        host_matches(module, import, self.body())
    }
}

impl<T: 'static> StoreMut<'_, T> {
    /// Makes an instance of a module, given a value for each of its imports, in order; runs its start function.
    ///
    /// # Errors
    /// [`LinkError`](crate::error::LinkError) when the imports do not fit, and [`InstantiateError`] when the instance cannot be had: nothing has happened
    /// then. When a segment does not fit its table or memory, or the start function fails, the error is that of a call: what
    /// the instance wrote to imported tables and memories stays.
    ///
    /// # Panics
    /// With the payload of a host function that panicked when the start function called it. The store stays usable.
    pub fn instantiate(
        &mut self,
        module: &Arc<CompiledModule>,
        imports: &[ImportValue<T>],
    ) -> Result<InstanceHandle> {
        let handle = self.instantiate_without_start(module, imports)?;
        self.run_start(handle)
    }

    /// As [`instantiate`](Self::instantiate), but leaves it to the caller to run the start function, which
    /// [`instance_start`](StoreInner::instance_start) names.
    ///
    /// # Errors
    /// As [`instantiate`](Self::instantiate).
    pub fn instantiate_without_start(
        &mut self,
        module: &Arc<CompiledModule>,
        imports: &[ImportValue<T>],
    ) -> Result<InstanceHandle> {
        self.asking(|store| {
            check_engine(store, module)?;
            make_room(store, module, imports);
            let given: Result<SmallVec<[Given<'_>; 16]>> = (imports.iter())
                .map(|import| {
                    Ok(match import {
                        ImportValue::Extern(handle) => Given::Extern(*handle),
                        ImportValue::Host(function) => Given::Host(function.body()),
                        ImportValue::Shared(memory) => {
                            Given::Extern(ExternHandle::Memory(store.share_memory(memory)?))
                        }
                    })
                })
                .collect();
            let given = given?;
            check_imports(store, module, &given)?;
            create(store, module, Imports::Each(&given))
        })
    }

    /// As [`instantiate`](Self::instantiate), of a module whose imports were checked before.
    ///
    /// # Errors
    /// As [`instantiate`](Self::instantiate).
    ///
    /// # Panics
    /// As [`instantiate`](Self::instantiate).
    pub fn instantiate_linked(&mut self, linked: &Linked<T>) -> Result<InstanceHandle> {
        let handle = self.instantiate_linked_without_start(linked)?;
        if linked.module.info().start.is_some() {
            return self.run_start(handle);
        }
        Ok(handle)
    }

    /// Runs the start function of a new instance, which is removed if that fails.
    fn run_start(&mut self, handle: InstanceHandle) -> Result<InstanceHandle> {
        // SAFETY: the handle is new; `self` has the right to use the store, of which no reference is alive.
        let started = unsafe { start(self.as_ptr(), InstancePtr::new(handle.pointer())) };
        if let Err(error) = started {
            self.inner_mut().give_up(handle);
            return Err(error);
        }
        Ok(handle)
    }

    /// As [`instantiate_linked`](Self::instantiate_linked), but leaves it to the caller to run the start function.
    ///
    /// # Errors
    /// As [`instantiate`](Self::instantiate).
    pub fn instantiate_linked_without_start(
        &mut self,
        linked: &Linked<T>,
    ) -> Result<InstanceHandle> {
        self.asking(|store| {
            check_engine(store, &linked.module)?;
            store.make_room_for(counts(linked.module.info()));
            create(store, &linked.module, Imports::Linked(linked.bodies.arc()))
        })
    }
}

/// Makes room for an instance and for the shared memories that it brings into the store.
fn make_room<T>(store: &mut StoreInner, module: &CompiledModule, imports: &[ImportValue<T>]) {
    let mut wanted = counts(module.info());
    let mut brought: SmallVec<[&SharedMemory; 1]> = SmallVec::new();
    for import in imports {
        if let ImportValue::Shared(memory) = import
            && !brought.iter().any(|other| other.is_same(memory))
            && store.shared_as(memory).is_none()
        {
            brought.push(memory);
        }
    }
    wanted.memories += brought.len();
    store.make_room_for(wanted);
}

fn check_engine(store: &StoreInner, module: &CompiledModule) -> Result<(), InstantiateError> {
    if Arc::ptr_eq(module.type_registry(), &store.config().types) {
        return Ok(());
    }
    Err(InstantiateError::WrongEngine { what: "module" })
}

/// Everything but the start function.
fn create(
    store: &mut StoreInner,
    module: &Arc<CompiledModule>,
    imports: Imports<'_>,
) -> Result<InstanceHandle> {
    let counts = counts(module.info());
    let instance = allocate(store, module, imports, counts, Adoption::Guest)?;
    let handle = store.instance_handle(instance);
    if module.template().active_segments {
        store.execution().touch();
        if let Err(error) = apply_segments(instance) {
            store.give_up(handle);
            return Err(error);
        }
    }
    Ok(handle)
}

/// Makes an instance of a module that imports nothing and has neither segments nor a start function. It does not count as an
/// instance for the limiter.
pub(crate) fn without_imports(
    store: &mut StoreInner,
    module: &Arc<CompiledModule>,
) -> Result<InstancePtr> {
    let counts = Counts {
        instances: 0,
        ..counts(module.info())
    };
    allocate(store, module, Imports::Each(&[]), counts, Adoption::Made)
}

/// As [`without_imports`], of a module that defines a memory and nothing else, which is this one. It stays as long as something
/// imports it.
pub(crate) fn with_memory(
    store: &mut StoreInner,
    module: &Arc<CompiledModule>,
    memory: &SharedMemory,
) -> Result<InstancePtr> {
    let counts = Counts {
        instances: 0,
        ..counts(module.info())
    };
    allocate(
        store,
        module,
        Imports::Memory(memory),
        counts,
        Adoption::Shared,
    )
}

/// What an instance of a guest's module counts for.
pub(crate) fn counts(info: &ModuleInfo) -> Counts {
    Counts {
        instances: 1,
        memories: info.defined_memory_count(),
        tables: info.defined_table_count(),
    }
}

// --- allocate and fill ---

fn allocate(
    store: &mut StoreInner,
    module: &Arc<CompiledModule>,
    imports: Imports<'_>,
    counts: Counts,
    adoption: Adoption,
) -> Result<InstancePtr> {
    store.count(counts)?;
    // Objects that it begins with are known to the store once it is.
    let scope = store.root_scope_enter();
    let mut made = None;
    // What is counted and made is given back also if the embedder's limiter panics.
    let filled = catch_unwind(AssertUnwindSafe(|| {
        let instance = *made.insert(try_allocate(store, module, imports)?);
        fill_computed(store, instance)?;
        Ok(instance)
    }));
    let whole = matches!(filled, Ok(Ok(_)));
    match made {
        Some(instance) => {
            store.adopt(instance, adoption, whole);
            if !whole {
                store.execution().touch();
                // SAFETY: nobody uses it.
                unsafe { instance.forget_values() };
                // It is over: nobody uses what was given any more.
                store.free_unreachable();
            }
        }
        None => store.uncount(counts),
    }
    store.root_scope_exit(scope);
    filled.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Fills what constant expressions say that are evaluated for each instance anew.
fn fill_computed(store: &mut StoreInner, instance: InstancePtr) -> Result<()> {
    let template = instance.module().template();
    if template.globals.is_none() {
        fill_globals(store, instance)?;
    }
    if template.filled_tables {
        fill_tables(store, instance)?;
    }
    if template.objects_in_segments {
        make_elements(store, instance)?;
    }
    Ok(())
}

fn try_allocate(
    store: &mut StoreInner,
    module: &Arc<CompiledModule>,
    imports: Imports<'_>,
) -> Result<InstancePtr> {
    allow_memories(store, module.info())?;
    allow_tables(store, module.info())?;
    if module.template().needs_heap {
        store.provided_heap()?;
    }
    // The stack of a store whose instances have no code would be for nothing.
    let wants_stack =
        module.info().defined_func_count() > 0 && store.execution().wants_stack_in_slot();
    let stack = wants_stack.then(|| store.execution().stack_spec());
    let kind = Kind::new(module, stack);
    let pool = (!module.is_of_host()).then(|| store.pool());
    let warm = pool.and_then(|pool| pool.take(kind));
    let (instance, relink) = match warm {
        Some(warm) => {
            let relink = match imports {
                Imports::Linked(linked) => !warm.instance().has_imports(linked),
                Imports::Each(given) => !given.is_empty(),
                Imports::Memory(_) => false,
            };
            (InstancePtr::rebind(warm, store, relink), relink)
        }
        None => (
            allocate_new(store, module, imports, pool, kind, stack)?,
            true,
        ),
    };
    if relink {
        link(instance, store.as_ptr(), imports);
    }
    Ok(instance)
}

/// An instance in a slot of its own, with everything but its imports and what depends on them.
#[cold]
fn allocate_new(
    store: &StoreInner,
    module: &Arc<CompiledModule>,
    imports: Imports<'_>,
    pool: Option<&Arc<Pool>>,
    kind: Kind,
    stack: Option<StackSpec>,
) -> Result<InstancePtr> {
    let info = module.info();
    let pooled = match pool {
        Some(pool) => {
            check_pool_limits(pool, info, Instance::area_bytes(module))?;
            let usage = Usage {
                slots: 1,
                memories: info.defined_memory_count(),
                tables: info.defined_table_count(),
                stacks: usize::from(stack.is_some()),
            };
            let admission = Admission::new(pool, usage)?;
            Some(Pooled::new(kind, admission))
        }
        None => None,
    };
    let tables = make_tables(info)?;
    let slot = map_slot(store, module, pool, stack)?;
    let most = pool.map_or(u64::MAX, |pool| pool.config().memory_bytes);
    let mut memories: SmallVec<[InstanceMemory; 1]> = SmallVec::new();
    if let Imports::Memory(memory) = imports {
        memories.push(InstanceMemory::Shared(memory.clone()));
    }
    memories.extend(slot.memory.map(|memory| InstanceMemory::Own(memory.into())));
    for index in (memories.len()..info.defined_memory_count()).map(DefinedMemoryIndex::new) {
        memories.push(make_memory(store, module, index, most)?);
    }
    for memory in &memories {
        memory.limit(usize::try_from(most).unwrap_or(usize::MAX));
    }
    if let Some(stack) = slot.stack {
        store.execution().provide_stack(stack);
    }
    // SAFETY: the area is new and was made for this module; the memories and tables are those it defines.
    Ok(unsafe {
        Instance::create(
            slot.instance,
            store.as_ptr(),
            module.clone(),
            memories,
            tables,
            pooled,
        )
    })
}

/// Gives an instance its imports.
fn link(instance: InstancePtr, store: NonNull<StoreInner>, imports: Imports<'_>) {
    let hosts: SmallVec<[Given<'_>; 16]>;
    let (given, origins, linked) = match imports {
        Imports::Each(given) => (given, origins(instance.info(), given), None),
        Imports::Linked(linked) => {
            hosts = linked.bodies().iter().map(Given::Host).collect();
            // The bodies are kept by what they are linked as.
            (&hosts[..], Origins::default(), Some(linked.clone()))
        }
        Imports::Memory(_) => return,
    };
    // SAFETY: the instance is new to its store, and nobody uses it yet.
    unsafe { instance.set_origins(origins, linked) };
    fill_imports(instance, store, given);
}

fn table_error(info: &ModuleInfo, index: TableIndex, reason: String) -> InstantiateError {
    InstantiateError::Table {
        index: index.as_u32(),
        ty: info.tables[index],
        reason,
    }
}

fn allow_tables(store: &mut StoreInner, info: &ModuleInfo) -> Result<()> {
    for index in (0..info.defined_table_count()).map(DefinedTableIndex::new) {
        let index = info.table_index(index);
        let ty = info.tables[index];
        store
            .table_growing(0, ty.minimum, ty.largest())
            .map_err(|error| refused(error, |reason| table_error(info, index, reason)))?;
    }
    Ok(())
}

fn make_tables(info: &ModuleInfo) -> Result<SmallVec<[RefCell<Table>; 1]>> {
    let mut tables = SmallVec::new();
    for index in (0..info.defined_table_count()).map(DefinedTableIndex::new) {
        let index = info.table_index(index);
        let ty = info.tables[index];
        let failed = |reason| table_error(info, index, reason);
        if ty.minimum > MAX_TABLE_ELEMENTS {
            return Err(
                failed(format!("tables have at most {MAX_TABLE_ELEMENTS} elements")).into(),
            );
        }
        let table = Table::new(ty.element, ty.minimum as usize);
        tables.push(RefCell::new(
            table.map_err(|error| failed(error.to_string()))?,
        ));
    }
    Ok(tables)
}

fn allow_memories(store: &mut StoreInner, info: &ModuleInfo) -> Result<()> {
    for index in (0..info.defined_memory_count()).map(DefinedMemoryIndex::new) {
        let index = info.memory_index(index);
        let ty = info.memories[index];
        let failed = |reason: String| InstantiateError::Memory {
            index: index.as_u32(),
            ty,
            reason,
        };
        store
            .memory_growing(&ty, 0, ty.minimum)
            .map_err(|error| refused(error, failed))?;
    }
    Ok(())
}

/// The error for a memory or table whose initial size the limiter does not allow: its own, if it gave one.
fn refused(error: GrowError, failed: impl FnOnce(String) -> InstantiateError) -> Error {
    match error {
        GrowError::Limiter(error) => error,
        _ => failed("the store's limiter does not allow its minimum size".into()).into(),
    }
}

fn memory_error(ty: MemoryType, index: MemoryIndex, error: &impl ToString) -> InstantiateError {
    InstantiateError::Memory {
        index: index.as_u32(),
        ty,
        reason: error.to_string(),
    }
}

fn map_slot(
    store: &StoreInner,
    module: &CompiledModule,
    pool: Option<&Arc<Pool>>,
    stack: Option<StackSpec>,
) -> Result<Slot> {
    let info = module.info();
    let first = MemoryIndex::new(0);
    let mut spec = SlotSpec {
        stack,
        instance_bytes: Instance::area_bytes(module),
        memory: None,
    };
    if let Some(&ty) = info.memories.get(first) {
        let plan = MemoryPlan::new(info, first, &store.config().knobs);
        // One that code does not look for there may lie there all the same: it takes fewer mappings. A shared one outlives the slot.
        let is_ours = store.config().supplied.memories.is_none();
        if is_ours && !info.is_imported_memory(first) && !ty.shared {
            let image = module.memory_image(DefinedMemoryIndex::new(0));
            spec.memory = Some(SlotMemory { ty, plan, image });
        }
    }
    let slot = Slot::map(&spec, |shape| pool?.take_spare(shape));
    slot.map_err(|error| match &spec.memory {
        Some(memory) => memory_error(memory.ty, first, &error).into(),
        None => InstantiateError::Slot(error.to_string()).into(),
    })
}

/// A memory that is not in the slot, with at most so many bytes if it is shared.
fn make_memory(
    store: &StoreInner,
    module: &CompiledModule,
    defined: DefinedMemoryIndex,
    most: u64,
) -> Result<InstanceMemory> {
    let info = module.info();
    let index = info.memory_index(defined);
    let ty = info.memories[index];
    let knobs = &store.config().knobs;
    if ty.shared {
        let memory = SharedMemory::limited(ty, knobs, most);
        let memory = memory.map_err(|error| memory_error(ty, index, &error))?;
        return Ok(InstanceMemory::Shared(memory));
    }
    let plan = MemoryPlan::new(info, index, knobs);
    if let Some(creator) = &store.config().supplied.memories {
        let memory = HostMemory::new(&**creator, &plan, &ty, module.memory_image(defined));
        let memory =
            memory.map_err(|error| Error::new(memory_error(ty, index, &error)).context(error))?;
        return Ok(InstanceMemory::Host(memory.into()));
    }
    let memory = LinearMemory::new(&plan, &ty, module.memory_image(defined));
    let memory = memory.map_err(|error| memory_error(ty, index, &error))?;
    Ok(InstanceMemory::Own(memory.into()))
}

// --- segments and start ---

fn apply_segments(instance: InstancePtr) -> Result<()> {
    if let Err(trap) = apply_elements(instance) {
        for memory in &instance.memories {
            memory.undo_image()?;
        }
        return Err(trap.into());
    }
    apply_data(instance)?;
    Ok(())
}

/// The value of an offset: unsigned, as wide as the index type.
fn offset(instance: InstancePtr, expr: &module::ConstExpr, wide: bool) -> u64 {
    // Integers need no objects.
    let value = evaluate(expr, &mut { instance }).unwrap_or_default();
    if wide {
        value.u64()
    } else {
        u64::from(value.u32())
    }
}

fn apply_elements(instance: InstancePtr) -> Result<(), Trap> {
    let info = instance.info();
    for (index, segment) in info.elements.iter() {
        if let SegmentMode::Active {
            target,
            offset: expr,
        } = &segment.mode
        {
            let start = offset(instance, expr, info.tables[*target].table64);
            let table = instance.table(*target);
            table.init(instance, index, start, 0, segment.items.len() as u64)?;
            instance.drop_elements(index);
        }
    }
    Ok(())
}

fn apply_data(instance: InstancePtr) -> Result<(), Trap> {
    let info = instance.info();
    for (index, segment) in info.data.iter() {
        if let SegmentMode::Active {
            target,
            offset: expr,
        } = &segment.mode
        {
            let start = offset(instance, expr, info.memories[*target].memory64);
            let len = segment.bytes.end - segment.bytes.start;
            init_memory(instance, target.as_u32(), index, start, 0, len)?;
            instance.dropped_data.insert(index.index());
        }
    }
    Ok(())
}

/// Runs the start function.
///
/// # Safety
/// `store` points to all of the instance's store, which we have the right to use and of which no reference is alive.
unsafe fn start(store: NonNull<StoreInner>, instance: InstancePtr) -> Result<()> {
    let Some(index) = instance.info().start else {
        return Ok(());
    };
    let missing = || InstantiateError::Slot("its start function has no code".into());
    let func = NonNull::new(instance.func_ref(index)).ok_or_else(missing)?;
    // SAFETY: start functions have neither parameters nor results, and this one is the store's.
    unsafe { func::call_func_ref(store, func, NonNull::<VmValue>::dangling().as_ptr()) }
}
