//! An instance: a Rust struct directly below its VMContext, in the slot's instance area.
//!
//! ```text
//!   area.start()           place                           vmctx - size()                   vmctx
//!   | small tables' first  | Instance (64-aligned size)    | records ...          VmHeader  | memory 0 ...
//!   | storage              |                               |                      .instance |
//!   +----------------------+-------------------------------+--------------------------|-----+
//!                            <---------------------------------------- from_vmctx ----+
//! ```
//!
//! # Invariant
//!
//! * An instance never moves. It lives until its store frees it, which it does when it is dropped, or when the instance was
//!   removed and nothing reaches it any more. Nobody outside this crate gets a reference to it.
//! * `vmctx`, and every pointer made from it, is derived from the pointer to the slot's mapping, so it may be used for all of the
//!   area; never from a reference to the `Instance`, which covers only its own bytes.
//! * Compiled code writes to the VMContext and never to the `Instance`. The VMContext is only ever accessed through raw pointers,
//!   so no Rust reference can be violated by what guest code does.
//! * After instantiation an `Instance` is only used through `&`. What still changes is in cells; a cell is borrowed within one
//!   function that runs neither guest code nor the embedder's.
//! * The store an instance belongs to is used by one thread at a time, or only read.
//!
//! A pooled instance outlives its store, and begins another life in the next: see [`recycle`].

pub(crate) mod recycle;

use crate::builtins::BUILTINS;
use crate::code::CompiledModule;
use crate::embedder::HostMemory;
use crate::host::SharedBody;
use crate::memory::{LinearMemory, MemoryGrowError};
use crate::shared::SharedMemory;
use crate::slot::{InstanceArea, MapError};
use crate::stack::GuestStack;
use crate::store::StoreInner;
use crate::table::{Table, TableRef};
use cowling_abi::entity::EntityRef;
use cowling_abi::layout::*;
use cowling_abi::*;
use recycle::Pooled;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

/// Values of element segments, by segment.
pub(crate) type ElementValues = RefCell<BTreeMap<ElemIndex, Box<[u32]>>>;

/// An instance. See the file's head.
#[repr(C, align(64))]
pub(crate) struct Instance {
    vmctx: NonNull<VmContext>,
    store: NonNull<StoreInner>,
    module: Arc<CompiledModule>,
    /// The memories it defines.
    pub(crate) memories: SmallVec<[InstanceMemory; 1]>,
    /// The tables it defines.
    pub(crate) tables: SmallVec<[RefCell<Table>; 1]>,
    /// Element segments that have been dropped.
    pub(crate) dropped_elements: BitSet,
    /// The values of element segments whose expressions make objects: they are made once. Gone once a segment is dropped.
    pub(crate) element_values: ElementValues,
    /// Data segments that have been dropped.
    pub(crate) dropped_data: BitSet,
    /// Where its imports come from.
    pub(crate) origins: Origins,
    /// The memory this struct and the VMContext are in.
    area: InstanceArea,
    /// What it takes to use the slot again; `None` if it is not. Last: the slot counts until it is unmapped.
    pooled: Option<Pooled>,
}

/// For each table a module defines, how many elements it begins with, and how many bytes of the area its storage takes then.
fn tables_in_area(info: &ModuleInfo) -> impl Iterator<Item = (usize, usize)> + '_ {
    (0..info.defined_table_count()).map(|index| {
        let ty = info.tables[info.table_index(DefinedTableIndex::new(index))];
        let minimum = usize::try_from(ty.minimum).unwrap_or(usize::MAX);
        (minimum, Table::area_bytes(ty.element, minimum))
    })
}

/// Bytes of the area that tables take: a multiple of 64.
fn table_bytes(info: &ModuleInfo) -> usize {
    let bytes: usize = tables_in_area(info).map(|(_, bytes)| bytes).sum();
    bytes.next_multiple_of(align_of::<Instance>())
}

/// Where an instance's imports come from.
#[derive(Default)]
pub(crate) struct Origins {
    /// For each imported function the reference it was given as; null for a host function.
    pub(crate) functions: Box<[*mut VmFuncRef]>,
    /// The bodies of imported host functions, kept alive.
    pub(crate) _hosts: Vec<SharedBody>,
    /// For each imported table who defines it.
    pub(crate) tables: Box<[(InstancePtr, DefinedTableIndex)]>,
    /// For each imported memory who defines it.
    pub(crate) memories: Box<[(InstancePtr, DefinedMemoryIndex)]>,
    /// For each imported global who defines it.
    pub(crate) globals: Box<[(InstancePtr, DefinedGlobalIndex)]>,
}

/// A pointer to a living instance, for use inside this crate.
///
/// Whoever makes one promises that the instance lives while it is used, and that the store may be used meanwhile.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstancePtr(NonNull<Instance>);

impl InstancePtr {
    /// # Safety
    /// The instance is initialised and lives as long as the result is used, by a thread that may use its store.
    pub(crate) unsafe fn new(instance: NonNull<Instance>) -> InstancePtr {
        InstancePtr(instance)
    }

    /// The pointer.
    pub(crate) fn as_ptr(self) -> NonNull<Instance> {
        self.0
    }
}

impl InstancePtr {
    /// Its place in its store.
    #[inline]
    pub(crate) fn place(self) -> u32 {
        // SAFETY: the header is in the VMContext of a living instance.
        unsafe { (&raw const (*VmContext::header(self.vmctx.as_ptr())).place).read() }
    }

    /// Notes where in its store it is.
    pub(crate) fn set_place(self, place: u32) {
        // SAFETY: header and records are in the VMContext of a living instance.
        unsafe {
            (&raw mut (*VmContext::header(self.vmctx.as_ptr())).place).write(place);
            for index in (0..self.info().defined_tag_count()).map(DefinedTagIndex::new) {
                (*self.defined_tag_record(index)).place = place;
            }
        }
    }

    /// The addresses by which everything that goes with it is known, but for its stack if it has one in its slot. Sorted; they may overlap
    /// those of others, as the VMContext's is the first behind a slot that has nothing else.
    pub(crate) fn addresses(self) -> Vec<Range<usize>> {
        let area = self.area.start().addr().get();
        let mapping = self.area.mapping();
        let slot = area..mapping.base().addr().get() + mapping.len();
        let memories = self.memories.iter().map(|memory| match memory {
            InstanceMemory::Own(memory) => memory.borrow().addresses(),
            InstanceMemory::Host(memory) => memory.borrow().addresses(),
            InstanceMemory::Shared(memory) => memory.addresses(),
        });
        let tables = (self.tables.iter()).filter_map(|table| table.borrow().addresses());
        // A memory in the slot is part of that.
        let elsewhere = memories
            .chain(tables)
            .filter(|range| !slot.contains(&range.start));
        let known = slot.start..slot.end + 1;
        let mut all: Vec<_> = elsewhere.chain([known]).collect();
        all.sort_unstable_by_key(|range| range.start);
        all
    }

    /// Calls `found` with every address by which it reaches something, perhaps of another instance, and `kept` with the place in the
    /// store of each host function that it imports and that is kept there.
    pub(crate) fn visit_reached(self, mut found: impl FnMut(usize), mut kept: impl FnMut(u32)) {
        let Origins {
            functions,
            tables,
            memories,
            globals,
            ..
        } = &self.origins;
        functions.iter().for_each(|func| found(func.addr()));
        let mut owner = |owner: &InstancePtr| found(owner.as_ptr().addr().get());
        tables.iter().for_each(|(table, _)| owner(table));
        memories.iter().for_each(|(memory, _)| owner(memory));
        globals.iter().for_each(|(global, _)| owner(global));
        let info = self.info();
        for index in info.tags.keys() {
            if info.defined_tag(index).is_none() {
                found(self.tag(index).addr().get());
            }
        }
        for index in self.imported_functions() {
            // SAFETY: the record is in the VMContext of a living instance.
            if let keeper @ 1.. = unsafe { (*self.import_record(index)).keeper } {
                kept(keeper - 1);
            }
        }
        for (index, global) in info.globals.iter() {
            if let Some(defined) = info.defined_global(index)
                && global.content.representation() == Representation::FuncRef
            {
                // SAFETY: as above; references to functions take the first 8 bytes.
                found(unsafe { self.defined_global_record(defined).cast::<usize>().read() });
            }
        }
        for index in info.tables.keys() {
            if info.defined_table(index).is_some() {
                self.table(index).built_functions().for_each(&mut found);
            }
        }
    }

    /// Is this stack in its slot?
    pub(crate) fn has_in_slot(self, stack: &GuestStack) -> bool {
        stack.is_in(self.area.mapping())
    }

    /// Drops an element segment.
    pub(crate) fn drop_elements(self, segment: ElemIndex) {
        self.dropped_elements.insert(segment.index());
        self.element_values.borrow_mut().remove(&segment);
    }
}

impl Deref for InstancePtr {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        // SAFETY: the instance lives, as promised to `new`, and no `&mut Instance` exists after its initialisation.
        unsafe { self.0.as_ref() }
    }
}

impl Instance {
    /// Bytes from the start of the area to memory 0, for instances of this module.
    pub(crate) fn area_bytes(module: &CompiledModule) -> usize {
        let layout = module.layout();
        table_bytes(module.info()) + size_of::<Instance>() + layout.size() as usize
    }

    /// Puts an instance into its area and fills the VMContext's header and the records of what it defines itself, but for the
    /// values of globals that are computed. It has no imports yet.
    ///
    /// # Safety
    /// The area is zeroed and was made for [`area_bytes`](Self::area_bytes) of the module; `store` points to all of the
    /// store that will own the instance; `memories` and `tables` are those the module defines, the latter
    /// without storage if their place is in the area.
    pub(crate) unsafe fn create(
        area: InstanceArea,
        store: NonNull<StoreInner>,
        module: Arc<CompiledModule>,
        memories: SmallVec<[InstanceMemory; 1]>,
        mut tables: SmallVec<[RefCell<Table>; 1]>,
        pooled: Option<Pooled>,
    ) -> InstancePtr {
        debug_assert_eq!(area.len(), Self::area_bytes(&module));
        // SAFETY: the area begins with the places of tables.
        let place = unsafe { area.start().byte_add(table_bytes(module.info())) }.cast::<Instance>();
        let mut table_place = area.start();
        for (table, (minimum, bytes)) in tables.iter_mut().zip(tables_in_area(module.info())) {
            if bytes > 0 {
                // SAFETY: the places lie side by side in front of the instance, and are theirs alone. The tables go with the instance,
                // before its area.
                unsafe {
                    table.get_mut().place(table_place, minimum);
                    table_place = table_place.byte_add(bytes);
                }
            }
        }
        // SAFETY: the area is as long as the struct and the VMContext together.
        let vmctx = unsafe { area.start().byte_add(area.len()).cast::<VmContext>() };
        // SAFETY: the area is ours, unused and suitably aligned; the header is the end of the VMContext.
        unsafe {
            VmContext::header(vmctx.as_ptr()).write(VmHeader {
                type_rows: module.type_registry().rows().base(),
                type_ids: module.type_ids().as_ptr(),
                builtins: BUILTINS.as_ptr().cast(),
                store: store.as_ptr().cast(),
                instance: place.as_ptr().cast(),
                place: 0,
                magic: VM_MAGIC,
            });
            let info = module.info();
            place.write(Instance {
                vmctx,
                store,
                memories,
                tables,
                dropped_elements: BitSet::new(info.elements.len()),
                element_values: ElementValues::default(),
                dropped_data: BitSet::new(info.data.len()),
                origins: Origins::default(),
                area,
                module,
                pooled,
            });
        }
        let instance = InstancePtr(place);
        for (index, memory) in instance.memories.iter().enumerate() {
            instance.write_memory_record(DefinedMemoryIndex::new(index), memory.record());
        }
        if let Some(globals) = &instance.module.template().globals {
            for (index, global) in globals.iter().enumerate() {
                let index = DefinedGlobalIndex::new(index);
                // SAFETY: the record is in the new VMContext.
                unsafe { instance.defined_global_record(index).write(*global) };
            }
        }
        let info = instance.info();
        for (index, table) in instance.tables.iter().enumerate() {
            let index = DefinedTableIndex::new(index);
            let record = VmTable {
                base: table.borrow().base().as_ptr(),
                len: info.tables[info.table_index(index)].minimum as usize,
            };
            // SAFETY: the record is in the new VMContext.
            unsafe { instance.defined_table_record(index).write(record) };
        }
        for index in (0..info.defined_tag_count()).map(DefinedTagIndex::new) {
            let ty = info.tags[info.tag_index(index)];
            let record = VmTag {
                type_id: instance.module.type_ids()[ty.index()],
                place: 0,
            };
            // SAFETY: as above.
            unsafe { instance.defined_tag_record(index).write(record) };
        }
        instance
    }

    /// Drops an instance and unmaps its slot.
    ///
    /// # Safety
    /// Nobody uses it any more.
    pub(crate) unsafe fn destroy(instance: NonNull<Instance>) {
        // SAFETY: the struct is moved out, so that its memory is not given back while it is being dropped.
        drop(unsafe { instance.read() });
    }

    /// The instance of a VMContext.
    ///
    /// # Safety
    /// `vmctx` is the VMContext of a living instance, as the runtime gave it to compiled code.
    #[inline]
    pub(crate) unsafe fn from_vmctx(vmctx: NonNull<VmContext>) -> NonNull<Instance> {
        let header = VmContext::header(vmctx.as_ptr());
        // SAFETY: a VMContext ends with its header, which says where the instance is.
        unsafe {
            debug_assert_eq!((*header).magic, VM_MAGIC, "not a VMContext");
            NonNull::new_unchecked((*header).instance.cast())
        }
    }

    pub(crate) fn vmctx(&self) -> NonNull<VmContext> {
        self.vmctx
    }

    pub(crate) fn store(&self) -> NonNull<StoreInner> {
        self.store
    }

    pub(crate) fn module(&self) -> &Arc<CompiledModule> {
        &self.module
    }

    pub(crate) fn info(&self) -> &ModuleInfo {
        self.module.info()
    }

    /// The address of a record in the VMContext.
    fn record<R>(&self, offset: i32) -> *mut R {
        debug_assert!(offset >= -(self.module.layout().size() as i32));
        debug_assert!(offset as isize + size_of::<R>() as isize <= VmHeader::OFFSET as isize);
        // SAFETY: offsets come from the layout the area was made for.
        unsafe { self.vmctx.as_ptr().byte_offset(offset as isize).cast() }
    }

    /// The functions it imports.
    pub(crate) fn imported_functions(&self) -> impl Iterator<Item = FuncIndex> + use<> {
        (0..self.info().imported_functions).map(FuncIndex::from_u32)
    }

    pub(crate) fn import_record(&self, index: FuncIndex) -> *mut VmFuncImport {
        self.record(self.module.layout().imported_function(index))
    }

    pub(crate) fn func_ref_record(&self, index: FuncRefIndex) -> *mut VmFuncRef {
        self.record(self.module.layout().funcref(index))
    }

    pub(crate) fn defined_memory_record(&self, index: DefinedMemoryIndex) -> *mut VmMemory {
        self.record(self.module.layout().defined_memory(index))
    }

    pub(crate) fn imported_memory_record(&self, index: MemoryIndex) -> *mut *mut VmMemory {
        self.record(self.module.layout().imported_memory(index))
    }

    pub(crate) fn defined_table_record(&self, index: DefinedTableIndex) -> *mut VmTable {
        self.record(self.module.layout().defined_table(index))
    }

    pub(crate) fn imported_table_record(&self, index: TableIndex) -> *mut *mut VmTable {
        self.record(self.module.layout().imported_table(index))
    }

    pub(crate) fn defined_global_record(&self, index: DefinedGlobalIndex) -> *mut VmGlobal {
        self.record(self.module.layout().defined_global(index))
    }

    pub(crate) fn imported_global_record(&self, index: GlobalIndex) -> *mut *mut VmGlobal {
        self.record(self.module.layout().imported_global(index))
    }

    pub(crate) fn defined_tag_record(&self, index: DefinedTagIndex) -> *mut VmTag {
        self.record(self.module.layout().defined_tag(index))
    }

    pub(crate) fn imported_tag_record(&self, index: TagIndex) -> *mut *mut VmTag {
        self.record(self.module.layout().imported_tag(index))
    }

    /// Writes what compiled code must know of a memory.
    pub(crate) fn write_memory_record(&self, index: DefinedMemoryIndex, record: VmMemory) {
        // SAFETY: the record is in our VMContext, which nobody borrows.
        unsafe { self.defined_memory_record(index).write(record) };
    }
}

/// A memory that an instance defines.
pub(crate) enum InstanceMemory {
    /// Its own.
    Own(RefCell<LinearMemory>),
    /// Its own, made by the embedder.
    Host(RefCell<HostMemory>),
    /// One that others may hold as well.
    Shared(SharedMemory),
}

impl InstanceMemory {
    /// What compiled code must know of it.
    pub(crate) fn record(&self) -> VmMemory {
        match self {
            InstanceMemory::Own(memory) => memory.borrow().record(),
            InstanceMemory::Host(memory) => memory.borrow().record(),
            InstanceMemory::Shared(memory) => memory.record(),
        }
    }

    /// The memory, if it is neither shared nor the embedder's.
    pub(crate) fn own(&self) -> Option<&RefCell<LinearMemory>> {
        match self {
            InstanceMemory::Own(memory) => Some(memory),
            InstanceMemory::Host(_) | InstanceMemory::Shared(_) => None,
        }
    }

    /// The memory, if it is shared.
    pub(crate) fn shared(&self) -> Option<&SharedMemory> {
        match self {
            InstanceMemory::Own(_) | InstanceMemory::Host(_) => None,
            InstanceMemory::Shared(memory) => Some(memory),
        }
    }

    /// Its size in bytes.
    pub(crate) fn byte_len(&self) -> usize {
        match self {
            InstanceMemory::Own(memory) => memory.borrow().byte_len(),
            InstanceMemory::Host(memory) => memory.borrow().byte_len(),
            InstanceMemory::Shared(memory) => memory.byte_len(),
        }
    }

    /// Does code keep its size or address in registers, which growth changes?
    pub(crate) fn is_kept_in_registers(&self) -> bool {
        match self {
            InstanceMemory::Own(memory) => memory.borrow().is_kept_in_registers(),
            InstanceMemory::Host(memory) => memory.borrow().is_kept_in_registers(),
            InstanceMemory::Shared(_) => false,
        }
    }

    /// Makes it so many bytes long, if it is not shared.
    ///
    /// # Errors
    /// When it does not grow.
    pub(crate) fn grow(&self, new_len: usize) -> Result<(), MemoryGrowError> {
        match self {
            InstanceMemory::Own(memory) => memory.borrow_mut().grow(new_len),
            InstanceMemory::Host(memory) => memory.borrow_mut().grow(new_len),
            InstanceMemory::Shared(_) => Ok(()),
        }
    }

    /// Lets it have at most so many bytes, unless it is shared.
    pub(crate) fn limit(&self, most: usize) {
        match self {
            InstanceMemory::Own(memory) => memory.borrow_mut().limit(most),
            InstanceMemory::Host(memory) => memory.borrow_mut().limit(most),
            InstanceMemory::Shared(_) => {}
        }
    }

    /// Zeroes what its image filled.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn undo_image(&self) -> Result<(), MapError> {
        match self {
            InstanceMemory::Own(memory) => memory.borrow_mut().undo_image(),
            InstanceMemory::Host(memory) => {
                memory.borrow_mut().undo_image();
                Ok(())
            }
            InstanceMemory::Shared(_) => Ok(()),
        }
    }
}

impl InstancePtr {
    /// Who defines a memory of this instance.
    pub(crate) fn memory(self, index: MemoryIndex) -> (InstancePtr, DefinedMemoryIndex) {
        match self.info().defined_memory(index) {
            Some(defined) => (self, defined),
            None => self.origins.memories[index.as_u32() as usize],
        }
    }

    /// Who defines a table of this instance.
    pub(crate) fn table(self, index: TableIndex) -> TableRef {
        let (instance, index) = match self.info().defined_table(index) {
            Some(defined) => (self, defined),
            None => self.origins.tables[index.as_u32() as usize],
        };
        TableRef { instance, index }
    }

    /// Who defines a global of this instance.
    pub(crate) fn global(self, index: GlobalIndex) -> (InstancePtr, DefinedGlobalIndex) {
        match self.info().defined_global(index) {
            Some(defined) => (self, defined),
            None => self.origins.globals[index.as_u32() as usize],
        }
    }

    /// A tag of this instance: the address is its identity.
    pub(crate) fn tag(self, index: TagIndex) -> NonNull<VmTag> {
        let record = match self.info().defined_tag(index) {
            Some(defined) => self.defined_tag_record(defined),
            // SAFETY: the record is in our VMContext and was filled at instantiation.
            None => unsafe { self.imported_tag_record(index).read() },
        };
        // SAFETY: records are never null.
        unsafe { NonNull::new_unchecked(record) }
    }

    /// A reference to a function of this instance, built when first asked for. Null if the function does not escape.
    pub(crate) fn func_ref(self, index: FuncIndex) -> *mut VmFuncRef {
        let info = self.info();
        let function = &info.functions[index];
        if let Some(&origin) = self.origins.functions.get(index.as_u32() as usize)
            && !origin.is_null()
        {
            return origin;
        }
        let Some(place) = function.funcref else {
            return std::ptr::null_mut();
        };
        let record = self.func_ref_record(place);
        // SAFETY: the record is in our VMContext, zeroed until it is built.
        if unsafe { !(*record).code.is_null() } {
            return record;
        }
        let type_id = self.module.type_ids()[function.ty.as_u32() as usize];
        let built = match info.defined_func(index) {
            Some(defined) => VmFuncRef {
                // Null only in an artifact that was altered since it was checked: whoever calls it ends the process.
                code: self.module.func_code(defined).unwrap_or(std::ptr::null()),
                ctx: self.vmctx.as_ptr().cast(),
                entry: self
                    .module
                    .entry_trampoline(function.ty)
                    .unwrap_or(std::ptr::null()),
                type_id,
                is_host: 0,
            },
            None => {
                // A host function, imported. Its context is our import record, so that it learns which instance imported it
                // even when it is called through a table.
                let import = self.import_record(index);
                VmFuncRef {
                    // SAFETY: the record was filled at instantiation.
                    code: unsafe { (*import).code },
                    ctx: import.cast(),
                    entry: std::ptr::null(),
                    type_id,
                    is_host: 1,
                }
            }
        };
        // SAFETY: as above.
        unsafe { record.write(built) };
        record
    }
}

/// A set of small numbers that only grows.
pub(crate) struct BitSet(SmallVec<[Cell<u64>; 1]>);

impl BitSet {
    /// An empty set of numbers below `len`.
    pub(crate) fn new(len: usize) -> BitSet {
        BitSet((0..len.div_ceil(64)).map(|_| Cell::new(0)).collect())
    }

    /// Empties it.
    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|word| word.set(0));
    }

    pub(crate) fn insert(&self, index: usize) {
        if let Some(word) = self.0.get(index / 64) {
            word.set(word.get() | 1 << (index % 64));
        }
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        (self.0.get(index / 64)).is_some_and(|word| word.get() >> (index % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_set_holds_exactly_what_was_put_in() {
        let set = BitSet::new(130);
        for index in [0, 63, 64, 129] {
            assert!(!set.contains(index));
            set.insert(index);
            assert!(set.contains(index));
        }
        let held: Vec<_> = (0..200).filter(|i| set.contains(*i)).collect();
        assert_eq!(held, [0, 63, 64, 129]);
    }
}
