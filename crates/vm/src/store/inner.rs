//! The part of a store that does not depend on the embedder's data: what it owns, its limiter, its objects.

mod ending;
mod freeing;
mod heap;
mod spans;

pub use freeing::{Holder, Removal, RemoveError};
pub(crate) use heap::For;
use heap::Gc;

use super::places::{HostFuncRecord, Places, Thing};
use super::shell::Shell;
use super::{FuncHandle, InstanceHandle, RuntimeConfig, StoreId, StoreSpec, TagHandle};
use crate::activation::{Execution, Stacks};
use crate::call_hook::HookAccess;
use crate::code::{CompiledModule, RegisteredType};
use crate::control::Control;
use crate::epoch::EpochCallback;
use crate::error::{GrowError, HandleError, InstanceNumber, InstantiateError, RefError};
use crate::gc::Heap;
use crate::host::SharedBody;
use crate::host_ref::{
    AnyRef, ExnRef, HostRef, ObjectTable, OwnedAnyRef, OwnedExnRef, OwnedHostRef, RootScope,
    is_object,
};
use crate::instance::{Instance, InstancePtr};
use crate::limits::{
    Answers, AnyLimiter, DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT,
    Growing, Growth, LimiterAccess,
};
use crate::memory::current_len;
use crate::pool::Pool;
use crate::quota::{self, Quota};
use crate::repair::RepairCallback;
use crate::spread::Share;
use crate::suspend::Mark;
use crate::values::Value;
use cowling_abi::entity::EntityRef;
use cowling_abi::layout::{VmFuncImport, VmFuncRef, VmTag};
use cowling_abi::{
    DefinedMemoryIndex, DefinedTableIndex, FuncType, MemoryIndex, MemoryType, RefType, TypeIndex,
};
use std::any::Any;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// The part of a store that does not depend on the embedder's data.
#[repr(C)]
pub struct StoreInner {
    /// First: compiled code's pointer to its store is a pointer to this.
    execution: Execution,
    /// A pointer to all of the store, made when it was allocated.
    this: NonNull<StoreInner>,
    id: StoreId,
    /// Its id as long as nothing has been removed from it; nobody's from then on, so that handles are looked at closely.
    unremoved_id: StoreId,
    /// What the next store of the engine gets, too.
    shell: Option<Shell>,
    /// What lives in it.
    places: Places,
    pool: Option<Arc<Share<Pool>>>,
    /// Made when it is first needed: most stores have nothing of it.
    pub(super) brought: Option<Box<Brought>>,
    objects: ObjectTable,
    /// What became an error for the host last and has been neither thrown on nor taken.
    pub(crate) pending_exception: Option<OwnedExnRef>,
    /// Made when it is first needed.
    gc: Option<Box<Gc>>,
    limiter: Option<LimiterAccess>,
    /// Of an asynchronous limiter.
    answers: Option<Box<Answers>>,
    on_epoch: Option<EpochCallback>,
    repair: Option<RepairCallback>,
    call_hook: Option<HookAccess>,
    quota: Quota,
    counts: Counts,
}

/// What was brought into a store from outside, other than by imports of its instances.
#[derive(Default)]
pub(super) struct Brought {
    /// Host functions for whose type no module with a shim has been instantiated yet.
    without_shim: Vec<NonNull<HostFuncRecord>>,
    /// What holds shared memories as memories of this store.
    pub(super) shared_memories: Vec<NonNull<Instance>>,
    /// Modules of instances that are gone, whose code is still on a stack: it may be returned to, which needs no instance.
    lingering: Vec<Arc<CompiledModule>>,
    /// Host functions that the host is calling directly, outermost first. Those that guests call are on a guest stack.
    direct_calls: Vec<NonNull<VmFuncImport>>,
}

/// How many of each the limiter has allowed so far.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) instances: usize,
    pub(crate) memories: usize,
    pub(crate) tables: usize,
}

impl StoreInner {
    // Inlined, so that the store is made where it will be: it is large, and was copied there otherwise, which took 20 ns.
    #[inline]
    pub(super) fn new(shell: Shell, id: StoreId, spec: StoreSpec) -> StoreInner {
        let StoreSpec { quota, pool } = spec;
        let stacks = Stacks(shell.config.supplied.stacks.clone());
        StoreInner {
            execution: Execution::new(quota.wasm_stack, quota.host_stack_reserve, stacks),
            this: NonNull::dangling(),
            id,
            unremoved_id: id,
            shell: Some(shell),
            places: Places::new(),
            pool,
            brought: None,
            objects: ObjectTable::new(id),
            pending_exception: None,
            gc: None,
            limiter: None,
            answers: None,
            on_epoch: None,
            repair: None,
            call_hook: None,
            quota,
            counts: Counts::default(),
        }
    }

    fn shell(&self) -> &Shell {
        let shell = self.shell.as_ref();
        shell.unwrap_or_else(|| unreachable!("a store has a shell until it is dropped"))
    }

    /// Where the slots of its instances come from.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        match &self.pool {
            Some(pool) => pool,
            None => &self.shell().config.pool,
        }
    }

    /// What the embedder's layer shares between the stores of an engine.
    pub fn embedder(&self) -> &(dyn Any + Send + Sync) {
        &*self.shell().embedder
    }

    /// Tells the store where it is. `this` must be a pointer to all of its allocation.
    pub(super) fn set_self(&mut self, this: NonNull<StoreInner>) {
        self.this = this;
    }

    pub(super) fn set_limiter(&mut self, access: LimiterAccess, answers: Option<Box<Answers>>) {
        (self.limiter, self.answers) = (Some(access), answers);
    }

    /// Is its limiter one that has to be waited for?
    pub fn has_async_limiter(&self) -> bool {
        self.answers.is_some()
    }

    /// What is known of an asynchronous limiter's answers.
    pub(crate) fn answers(&mut self) -> Option<&mut Answers> {
        self.answers.as_deref_mut()
    }

    pub(super) fn set_epoch_callback(&mut self, callback: EpochCallback) {
        self.on_epoch = Some(callback);
    }

    pub(super) fn set_repair_callback(&mut self, callback: RepairCallback) {
        self.repair = Some(callback);
    }

    pub(super) fn set_call_hook(&mut self, access: HookAccess) {
        self.call_hook = Some(access);
        self.execution.computations().mark(Mark::Hooked, true);
    }

    pub(crate) fn call_hook(&self) -> Option<HookAccess> {
        self.call_hook
    }

    pub(crate) fn repair_callback(&self) -> Option<RepairCallback> {
        self.repair
    }

    pub(crate) fn epoch_callback(&self) -> Option<EpochCallback> {
        self.on_epoch
    }

    /// By which other threads kill and preempt the store's guests. Made when it is first asked for: from then on every call costs
    /// a little more.
    pub fn control(&self) -> Arc<Control> {
        self.execution
            .interrupts()
            .control(&self.config().epochs, self.execution.phase())
            .clone()
    }

    /// From now on this signal, sent to the process, ends what runs in the store, or what runs in it next, as a kill switch does. When it
    /// comes again the process exits, with 128 and the signal's number. A process has one store for which this is so.
    ///
    /// # Errors
    /// When there is no such signal, or it cannot be handled.
    pub fn end_on_signal(&self, signal: i32) -> std::io::Result<()> {
        crate::ending::end_on_signal(self.control(), signal)
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// What the engine's stores have in common.
    pub fn config(&self) -> &Arc<RuntimeConfig> {
        &self.shell().config
    }

    /// A pointer to all of the store.
    pub(crate) fn as_ptr(&self) -> NonNull<StoreInner> {
        self.this
    }

    pub(crate) fn execution(&self) -> &Execution {
        &self.execution
    }

    // --- instances ---

    /// Takes an instance over: it lives as long as it is claimed, or something reaches it, or the store lives. One that could not be
    /// `finished` is not claimed.
    pub(crate) fn adopt(&mut self, instance: InstancePtr, adoption: Adoption, finished: bool) {
        let pointer = instance.as_ptr();
        let (thing, claimed) = match adoption {
            Adoption::Guest => (Thing::Instance(pointer), finished),
            Adoption::Made => (Thing::Made(pointer), finished),
            Adoption::Shared => (Thing::Made(pointer), false),
        };
        let place = self.places.insert(thing, claimed);
        instance.set_place(place);
        self.note_functions_in_objects(instance.module().has_functions_in_objects());
        self.give_shims(instance);
    }

    pub(super) fn instances(&self) -> impl DoubleEndedIterator<Item = InstancePtr> + '_ {
        let instances = self.places.iter().filter_map(|(_, thing)| thing.instance());
        // SAFETY: the store owns its instances until it frees them, which takes `&mut self`.
        instances.map(|instance| unsafe { InstancePtr::new(instance) })
    }

    pub(super) fn unremoved_id(&self) -> StoreId {
        self.unremoved_id
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// What handles have to have of what is in this place now.
    #[inline]
    fn number(&self, place: u32) -> InstanceNumber {
        let number = self.places.number(place);
        number.unwrap_or_else(|| unreachable!("what is alive has a place"))
    }

    /// The number of an instance of this store. Costs nothing if nobody wants it: every host function's call asks.
    #[inline(always)]
    pub(crate) fn number_of(&self, instance: InstancePtr) -> InstanceNumber {
        debug_assert_eq!(instance.store(), NonNull::from(self));
        // SAFETY: an instance that lives in a store has a place there, and the header says which.
        unsafe { self.places.number_unchecked(instance.place()) }
    }

    /// A handle to an instance of this store.
    #[inline(always)]
    pub(crate) fn instance_handle(&self, instance: InstancePtr) -> InstanceHandle {
        InstanceHandle::new(self.id, self.number_of(instance), instance.as_ptr())
    }

    /// A handle to a function of this store.
    ///
    /// # Safety
    /// It is alive.
    pub(crate) unsafe fn func_handle(&self, func: NonNull<VmFuncRef>) -> FuncHandle {
        // SAFETY: as the caller says: so is what its context is part of.
        let place = unsafe {
            let (ctx, is_host) = (func.as_ref().ctx, func.as_ref().is_host == 1);
            let caller = match is_host {
                true => (*ctx.cast::<VmFuncImport>()).caller,
                false => ctx.cast(),
            };
            match NonNull::new(caller) {
                Some(vmctx) => InstancePtr::new(Instance::from_vmctx(vmctx)).place(),
                None => (*ctx.cast::<VmFuncImport>()).keeper - 1,
            }
        };
        FuncHandle::new(self.id, self.number(place), func)
    }

    /// A handle to a tag of this store.
    ///
    /// # Safety
    /// It is alive.
    pub(crate) unsafe fn tag_handle(&self, tag: NonNull<VmTag>) -> TagHandle {
        // SAFETY: as the caller says.
        let place = unsafe { tag.as_ref() }.place;
        TagHandle::new(self.id, self.number(place), tag)
    }

    /// Every memory: its index in the module that defines it, its address and its size.
    pub(crate) fn memory_ranges(&self) -> impl Iterator<Item = (MemoryIndex, usize, u64)> + '_ {
        self.instances().flat_map(|instance| {
            let memories = 0..instance.memories.len() as u32;
            memories
                .map(DefinedMemoryIndex::from_u32)
                .map(move |index| {
                    let record = instance.defined_memory_record(index);
                    let index = instance.info().memory_index(index);
                    // SAFETY: the record is in the VMContext of a living instance.
                    unsafe { (index, (*record).base.addr(), current_len(record) as u64) }
                })
        })
    }

    /// How many bytes all memories and the heap have together.
    fn bytes_in_use(&self) -> u64 {
        let heap = self.heap().map_or(0, Heap::size);
        let memories = self.memory_ranges().map(|(_, _, bytes)| bytes);
        memories.fold(heap, u64::saturating_add)
    }

    /// What it may take.
    fn quota(&self) -> &Quota {
        &self.quota
    }

    /// How many elements all tables have together.
    fn table_elements(&self) -> u64 {
        self.instances()
            .flat_map(|instance| {
                let defined =
                    (0..instance.info().defined_table_count()).map(DefinedTableIndex::new);
                defined.map(move |index| {
                    instance.table(instance.info().table_index(index)).len() as u64
                })
            })
            .sum()
    }

    // --- host functions ---

    /// Makes a host function a function of this store. Its data type is this store's.
    ///
    /// # Panics
    /// If it is of a type of another engine.
    pub(crate) fn add_host_func(&mut self, body: &SharedBody) -> FuncHandle {
        let registry = &self.config().types;
        let type_id = match body.registered() {
            Some(ty) => {
                // Its number would be that of another type here.
                assert!(
                    Arc::ptr_eq(ty.registry(), registry),
                    "a host function of a type of another engine"
                );
                ty.id()
            }
            None => registry.intern(body.ty()),
        };
        let code = body.head().code(self.config().knobs.consume_fuel);
        let mut shim = None;
        let code = code.or_else(|| {
            let mut newest_first = self.instances().rev();
            newest_first.find_map(|instance| {
                let code = host_shim(instance, body.ty())?;
                shim = Some(instance.module().clone());
                Some(code)
            })
        });
        let code = code.unwrap_or(ptr::null());
        let record = Box::leak(Box::new(HostFuncRecord {
            import: VmFuncImport {
                code,
                ctx: ptr::null_mut(),
                host: ptr::from_ref(body.head()).cast(),
                caller: ptr::null_mut(),
                store: self.this.as_ptr().cast(),
                entry: ptr::null(),
                type_id,
                keeper: 0,
            },
            func_ref: VmFuncRef {
                code,
                ctx: ptr::null_mut(),
                entry: ptr::null(),
                type_id,
                is_host: 1,
            },
            body: body.clone(),
            shim,
        }));
        let record = NonNull::from(record);
        let number = self.places.insert(Thing::Func(record), true);
        if code.is_null() {
            let brought = self.brought.get_or_insert_default();
            brought.without_shim.push(record);
        }
        let place = record.as_ptr();
        // SAFETY: the record was just made and is used through raw pointers only.
        let func = unsafe {
            let ctx = (&raw mut (*place).import).cast::<u8>();
            (*place).import.ctx = ctx;
            (*place).import.keeper = number + 1;
            (*place).func_ref.ctx = ctx;
            NonNull::new_unchecked(&raw mut (*place).func_ref)
        };
        FuncHandle::new(self.id, self.number(number), func)
    }

    /// Gives host functions that have no shim yet those of a new instance's module. Until a module with a type that is called like
    /// theirs is in the store nobody can call them: callers compare types first, and those that are below each other are called alike.
    fn give_shims(&mut self, instance: InstancePtr) {
        let Some(brought) = &mut self.brought else {
            return;
        };
        brought.without_shim.retain(|record| {
            let record = record.as_ptr();
            // SAFETY: records live until they are freed, and are not in this list any more then; the body is not changed.
            let ty = unsafe { &(*record).body }.ty();
            let Some(code) = host_shim(instance, ty) else {
                return true;
            };
            // SAFETY: as above.
            unsafe {
                (*record).import.code = code;
                (*record).func_ref.code = code;
                (*record).shim = Some(instance.module().clone());
            }
            false
        });
    }

    /// A function's type.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn func_type(&self, func: FuncHandle) -> Result<FuncType, HandleError> {
        let ty = self.config().types.func_type(self.func_type_id(func)?);
        Ok(ty.unwrap_or_else(|| unreachable!("functions of a store have types of its engine")))
    }

    /// A function's type, kept.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn func_registered_type(&self, func: FuncHandle) -> Result<RegisteredType, HandleError> {
        let ty = self.config().types.get(self.func_type_id(func)?);
        Ok(ty.unwrap_or_else(|| unreachable!("functions of a store have types of its engine")))
    }

    /// The number of a function's type.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn func_type_id(&self, func: FuncHandle) -> Result<u32, HandleError> {
        self.check(&func)?;
        // SAFETY: the function is this store's.
        Ok(unsafe { func.pointer().as_ref() }.type_id)
    }

    /// Is a function's type what `test` says? Takes no lock for functions of guests: their modules know the type.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub(crate) fn func_type_is(
        &self,
        func: FuncHandle,
        test: impl FnOnce(&FuncType) -> bool,
    ) -> Result<bool, HandleError> {
        self.check(&func)?;
        // SAFETY: the function is this store's.
        let record = unsafe { func.pointer().as_ref() };
        if record.is_host == 0
            && let Some(vmctx) = NonNull::new(record.ctx.cast())
        {
            // SAFETY: the context of a guest's function is the VMContext of a living instance, as the function lives.
            let instance = unsafe { InstancePtr::new(Instance::from_vmctx(vmctx)) };
            let ids = instance.module().type_ids().iter();
            if let Some(index) = ids.copied().position(|id| id == record.type_id) {
                return Ok(test(instance.info().signature(TypeIndex::new(index))));
            }
        }
        Ok(test(&self.func_type(func)?))
    }

    // --- limits ---

    fn with_limiter<R>(&mut self, ask: impl FnOnce(AnyLimiter<'_>) -> R) -> Option<R> {
        let access = self.limiter?;
        let (mut ask, mut answer) = (Some(ask), None);
        // SAFETY: `this` points to all of the store; `&mut self` borrows this part only, and whoever has it has no reference to
        // the embedder's data, which is borrowed from the same `StoreMut`.
        unsafe {
            access(self.this, &mut |limiter| {
                if let Some(ask) = ask.take() {
                    answer = Some(ask(limiter));
                }
            });
        }
        answer
    }

    /// What the limiter says, if there is one.
    fn ask_limiter(&mut self, growth: Growth) -> Option<anyhow::Result<bool>> {
        match self.answers() {
            Some(answers) => Some(answers.to(growth)),
            None => self.with_limiter(|limiter| limiter.growing(growth)),
        }
    }

    /// Notes that an instance with this many memories and tables will be made.
    ///
    /// # Errors
    /// When that is more than the limiter allows.
    pub(crate) fn count(&mut self, wanted: Counts) -> Result<(), InstantiateError> {
        let limits = self.with_limiter(|limiter| limiter.counts());
        let limits = limits.unwrap_or(Counts {
            instances: DEFAULT_INSTANCE_LIMIT,
            memories: DEFAULT_MEMORY_LIMIT,
            tables: DEFAULT_TABLE_LIMIT,
        });
        let allow = |what, have: usize, wanted: usize, limit: usize| match have.checked_add(wanted)
        {
            Some(total) if wanted == 0 || total <= limit => Ok(total),
            _ => Err(InstantiateError::Limit {
                what,
                limit,
                wanted,
            }),
        };
        let have = self.counts;
        self.counts = Counts {
            instances: allow(
                "instances",
                have.instances,
                wanted.instances,
                limits.instances,
            )?,
            memories: allow("memories", have.memories, wanted.memories, limits.memories)?,
            tables: allow("tables", have.tables, wanted.tables, limits.tables)?,
        };
        Ok(())
    }

    /// Takes back what [`count`](Self::count) noted for an instance that was not made.
    pub(crate) fn uncount(&mut self, wanted: Counts) {
        self.counts.instances -= wanted.instances;
        self.counts.memories -= wanted.memories;
        self.counts.tables -= wanted.tables;
    }

    /// Asks the limiter whether a memory may grow from `current` to `desired` pages.
    ///
    /// # Errors
    /// When it says no or fails.
    pub(crate) fn memory_growing(
        &mut self,
        ty: &MemoryType,
        current: u64,
        desired: u64,
    ) -> Result<(), GrowError> {
        let bytes = |pages: u64| {
            usize::try_from(pages.saturating_mul(ty.page_size())).unwrap_or(usize::MAX)
        };
        let used = || self.bytes_in_use();
        let growth = (current, desired);
        let limit = self.quota.memory_bytes;
        quota::check("memory", "pages", growth, ty.page_size(), used, limit)?;
        let answer = self.ask_limiter(Growth {
            what: Growing::Memory,
            current: bytes(current),
            desired: bytes(desired),
            maximum: Some(bytes(ty.largest())),
        });
        decide(answer, "memory", "pages", current, desired)
    }

    /// Asks the limiter whether a table that can have `largest` elements may grow from `current` to `desired`.
    ///
    /// # Errors
    /// When it says no or fails.
    pub(crate) fn table_growing(
        &mut self,
        current: u64,
        desired: u64,
        largest: u64,
    ) -> Result<(), GrowError> {
        let used = || self.table_elements();
        let limit = self.quota.table_elements;
        quota::check("table", "elements", (current, desired), 1, used, limit)?;
        let size = |elements: u64| usize::try_from(elements).unwrap_or(usize::MAX);
        let answer = self.ask_limiter(Growth {
            what: Growing::Table,
            current: size(current),
            desired: size(desired),
            maximum: Some(size(largest)),
        });
        decide(answer, "table", "elements", current, desired)
    }

    /// Tells the limiter that a memory did not grow, and returns the error, or the limiter's.
    pub(crate) fn memory_grow_failed(&mut self, error: GrowError) -> GrowError {
        self.grow_failed(Growing::Memory, error)
    }

    /// Tells the limiter that a table did not grow, and returns the error, or the limiter's.
    pub(crate) fn table_grow_failed(&mut self, error: GrowError) -> GrowError {
        self.grow_failed(Growing::Table, error)
    }

    fn grow_failed(&mut self, what: Growing, error: GrowError) -> GrowError {
        let report = anyhow::anyhow!("{error}");
        let answer = self.with_limiter(|limiter| limiter.grow_failed(what, report));
        answer
            .and_then(Result::err)
            .map_or(error, GrowError::Limiter)
    }

    // --- objects ---

    pub(crate) fn objects(&self) -> &ObjectTable {
        &self.objects
    }

    pub(crate) fn objects_mut(&mut self) -> &mut ObjectTable {
        &mut self.objects
    }

    /// The host value behind a reference.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn host_ref_get(&self, reference: HostRef) -> Result<&(dyn Any + Send + Sync), RefError> {
        self.objects.host(reference)
    }

    /// The host value behind a reference, for change.
    ///
    /// # Errors
    /// As [`host_ref_get`](Self::host_ref_get).
    pub fn host_ref_get_mut(
        &mut self,
        reference: HostRef,
    ) -> Result<&mut (dyn Any + Send + Sync), RefError> {
        self.objects.host_mut(reference)
    }

    /// Do both refer to the same host value?
    ///
    /// # Errors
    /// As [`host_ref_get`](Self::host_ref_get).
    pub fn host_ref_eq(&self, a: HostRef, b: HostRef) -> Result<bool, RefError> {
        Ok(self.objects.raw(a.0)? == self.objects.raw(b.0)?)
    }

    /// The number by which guest code knows a host value, for hosts that pass references through interfaces of integers. Never 0.
    ///
    /// # Errors
    /// As [`host_ref_get`](Self::host_ref_get).
    pub fn host_ref_raw(&self, reference: HostRef) -> Result<u32, RefError> {
        self.objects.raw(reference.0)
    }

    /// The number by which guest code knows an exception. Never 0.
    ///
    /// # Errors
    /// As [`host_ref_get`](Self::host_ref_get).
    pub fn exn_ref_raw(&self, reference: ExnRef) -> Result<u32, RefError> {
        self.objects.raw(reference.0)
    }

    /// Keeps a host value until the result is dropped, whatever scopes end.
    ///
    /// # Errors
    /// As [`host_ref_get`](Self::host_ref_get).
    pub fn host_ref_to_owned(&mut self, reference: HostRef) -> Result<OwnedHostRef, RefError> {
        self.objects.own_host(reference)
    }

    /// Roots an owned reference in the current scope.
    ///
    /// # Errors
    /// When it is another store's.
    pub fn host_ref_from_owned(&mut self, owned: &OwnedHostRef) -> Result<HostRef, RefError> {
        self.objects.root_host(owned)
    }

    /// Keeps an exception until the result is dropped, whatever scopes end.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn exn_ref_to_owned(&mut self, reference: ExnRef) -> Result<OwnedExnRef, RefError> {
        self.objects.own_exception(reference)
    }

    /// Roots an owned reference in the current scope.
    ///
    /// # Errors
    /// When it is another store's.
    pub fn exn_ref_from_owned(&mut self, owned: &OwnedExnRef) -> Result<ExnRef, RefError> {
        self.objects.root_exception(owned)
    }

    /// Keeps something of the `any` hierarchy until the result is dropped, whatever scopes end.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn any_ref_to_owned(&mut self, reference: AnyRef) -> Result<OwnedAnyRef, RefError> {
        self.objects.own_any(reference)
    }

    /// Roots an owned reference in the current scope.
    ///
    /// # Errors
    /// When it is another store's.
    pub fn any_ref_from_owned(&mut self, owned: &OwnedAnyRef) -> Result<AnyRef, RefError> {
        self.objects.root_any(owned)
    }

    /// The most precise type of a reference; `funcref` if it is none.
    ///
    /// # Errors
    /// When it is another store's or its scope has ended.
    pub fn reference_type(&self, reference: Value) -> Result<RefType, RefError> {
        Ok(reference.precise_type(self)?.unwrap_or(RefType::FUNCREF))
    }

    /// Makes room for so many references.
    pub fn reserve_roots(&mut self, additional: usize) {
        self.objects.reserve(additional);
    }

    /// Begins a root scope: references made from now on are valid until it ends.
    #[inline]
    pub fn root_scope_enter(&self) -> RootScope {
        self.objects.enter_scope()
    }

    /// Ends a root scope, and those begun after it.
    #[inline]
    pub fn root_scope_exit(&mut self, scope: RootScope) {
        self.objects.exit_scope(scope);
    }

    /// How many host values and exceptions guests or host may still refer to, as far as the store knows.
    pub fn host_ref_count(&self) -> usize {
        self.objects.live()
    }
}

/// How an instance comes into a store.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// Of a module that somebody wanted an instance of.
    Guest,
    /// Made to hold something of the host.
    Made,
    /// Made to hold a shared memory that is imported: it stays as long as importers do.
    Shared,
}

/// The host shim in an instance's module for a type, or one whose functions are called alike, if it has one.
fn host_shim(instance: InstancePtr, ty: &FuncType) -> Option<*const u8> {
    let types = instance.info().types.iter();
    let mut alike = types.filter(|(_, other)| {
        let other = other.composite.as_func();
        other.is_some_and(|other| other.representations().eq(ty.representations()))
    });
    alike.find_map(|(index, _)| instance.module().host_shim(index))
}

fn decide(
    answer: Option<anyhow::Result<bool>>,
    what: &'static str,
    unit: &'static str,
    current: u64,
    desired: u64,
) -> Result<(), GrowError> {
    match answer {
        None | Some(Ok(true)) => Ok(()),
        Some(Ok(false)) => Err(GrowError::Denied {
            what,
            unit,
            current,
            delta: desired - current,
        }),
        Some(Err(error)) => Err(GrowError::Limiter(error)),
    }
}

impl InstancePtr {
    /// Calls `visit` with every reference in the instance's globals, tables and element segments that is not to a function.
    fn visit_references(self, mut visit: impl FnMut(u32)) {
        let info = self.info();
        for (index, ty) in info.globals.iter() {
            if is_object(ty.content)
                && let Some(defined) = info.defined_global(index)
            {
                // SAFETY: the record is in the VMContext of a living instance; references take its first 4 bytes.
                visit(unsafe { self.defined_global_record(defined).cast::<u32>().read() });
            }
        }
        for (index, ty) in info.tables.iter() {
            if is_object(cowling_abi::ValType::Ref(ty.element)) && !info.is_imported_table(index) {
                let table = self.table(index);
                (0..table.len()).for_each(|place| visit(table.get(place).u32()));
            }
        }
        for segment in self.element_values.borrow().values() {
            segment.iter().copied().for_each(&mut visit);
        }
    }
}

impl fmt::Debug for StoreInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("StoreInner").field("id", &self.id))
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
