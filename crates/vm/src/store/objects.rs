//! What the host can do with the memories, tables, globals, tags and instances of a store, through handles.

use super::{
    Counts, ExternHandle, FuncHandle, GlobalHandle, InstanceHandle, MemoryHandle, StoreInner,
    TableHandle, TagHandle,
};
use crate::code::{CompiledModule, RegisteredType};
use crate::error::{AccessError, Error, GrowError, HandleError, InstantiateError, ValueError};
use crate::instance::{InstanceMemory, InstancePtr};
use crate::instantiate;
use crate::memory::{MemoryGrowError, current_len};
use crate::shared::SharedMemory;
use crate::table::TableRef;
use crate::values::Value;
use cowling_abi::entity::EntityRef;
use cowling_abi::layout::{VmGlobal, VmValue};
use cowling_abi::module::{ConstExpr, ConstOp, TableInit};
use cowling_abi::*;
use std::ptr::NonNull;
use std::sync::Arc;

impl StoreInner {
    fn memory_handle(&self, owner: InstancePtr, index: DefinedMemoryIndex) -> MemoryHandle {
        MemoryHandle::new(self.id(), self.number_of(owner), owner.as_ptr(), index)
    }

    fn table_handle(&self, TableRef { instance, index }: TableRef) -> TableHandle {
        TableHandle::new(
            self.id(),
            self.number_of(instance),
            instance.as_ptr(),
            index,
        )
    }

    pub(super) fn global_handle(
        &self,
        owner: InstancePtr,
        index: DefinedGlobalIndex,
    ) -> GlobalHandle {
        GlobalHandle::new(self.id(), self.number_of(owner), owner.as_ptr(), index)
    }

    // --- memories ---

    fn memory(
        &self,
        memory: MemoryHandle,
    ) -> Result<(InstancePtr, DefinedMemoryIndex), HandleError> {
        self.check(&memory)?;
        // SAFETY: it was checked that it is alive in this store.
        Ok((unsafe { InstancePtr::new(memory.pointer()) }, memory.index))
    }

    /// A memory's type as declared: its minimum is not its current size.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn memory_type(&self, memory: MemoryHandle) -> Result<MemoryType, HandleError> {
        let (owner, index) = self.memory(memory)?;
        Ok(owner.info().memories[owner.info().memory_index(index)])
    }

    /// A memory's size in pages of its own page size.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn memory_pages(&self, memory: MemoryHandle) -> Result<u64, HandleError> {
        let (owner, index) = self.memory(memory)?;
        // SAFETY: the record is in the VMContext of a living instance.
        let bytes = unsafe { current_len(owner.defined_memory_record(index)) } as u64;
        Ok(bytes >> self.memory_type(memory)?.page_size_log2)
    }

    /// Address of a memory's first byte. A memory that is not in a slot may move when it grows.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn memory_base_ptr(&self, memory: MemoryHandle) -> Result<*mut u8, HandleError> {
        self.execution().touch();
        let (owner, index) = self.memory(memory)?;
        // SAFETY: the record is in the VMContext of a living instance.
        Ok(unsafe { (*owner.defined_memory_record(index)).base })
    }

    fn memory_bytes(&self, memory: MemoryHandle) -> Result<NonNull<[u8]>, HandleError> {
        let (owner, index) = self.memory(memory)?;
        // SAFETY: the record is in the VMContext of a living instance; its base is never null.
        let (base, len) = unsafe {
            let record = owner.defined_memory_record(index);
            let len = match (*record).shared_len.is_null() {
                true => (*record).byte_len,
                false => 0,
            };
            (NonNull::new_unchecked((*record).base), len)
        };
        Ok(NonNull::slice_from_raw_parts(base, len))
    }

    /// A memory, if it is shared.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn shared_memory(&self, memory: MemoryHandle) -> Result<Option<SharedMemory>, HandleError> {
        let (owner, index) = self.memory(memory)?;
        Ok(owner.memories[index.index()].shared().cloned())
    }

    /// A shared memory as one of this store.
    ///
    /// # Errors
    /// When it was made under other settings, or the limiter does not allow it.
    pub fn share_memory(&mut self, memory: &SharedMemory) -> Result<MemoryHandle, Error> {
        let index = DefinedMemoryIndex::from_u32(0);
        if let Some(instance) = self.shared_as(memory) {
            return Ok(self.memory_handle(instance, index));
        }
        let ty = memory.ty();
        if !memory.fits(&self.config().knobs) {
            return Err(InstantiateError::Memory {
                index: 0,
                ty,
                reason: "it was made by an engine with other settings for memories".into(),
            }
            .into());
        }
        let mut info = ModuleInfo::default();
        info.memories.push(MemoryType {
            minimum: memory.pages(),
            ..ty
        });
        info.memory_images.push(None);
        let module = CompiledModule::without_code(info, &self.config().types, &[])?;
        let instance = instantiate::with_memory(self, &module, memory)?;
        let brought = self.brought.get_or_insert_default();
        brought.shared_memories.push(instance.as_ptr());
        Ok(self.memory_handle(instance, index))
    }

    /// What holds a shared memory, if it was brought into this store.
    pub(crate) fn shared_as(&self, memory: &SharedMemory) -> Option<InstancePtr> {
        let known = self.brought.iter().flat_map(|b| &b.shared_memories);
        // SAFETY: it is taken out of this list before it is freed.
        let mut known = known.map(|&instance| unsafe { InstancePtr::new(instance) });
        known.find(|instance| {
            let held = instance.memories.first().and_then(InstanceMemory::shared);
            held.is_some_and(|held| held.is_same(memory))
        })
    }

    /// A memory's bytes. None of a shared memory's, which others may be changing.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn memory_data(&self, memory: MemoryHandle) -> Result<&[u8], HandleError> {
        // SAFETY: the record describes accessible bytes. They are only written by guest code and through `&mut StoreInner`,
        // neither of which can be used while `&self` is borrowed; those of shared memories are left out.
        Ok(unsafe { self.memory_bytes(memory)?.as_ref() })
    }

    /// A memory's bytes, for change. None of a shared memory's.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn memory_data_mut(&mut self, memory: MemoryHandle) -> Result<&mut [u8], HandleError> {
        self.execution().touch();
        // SAFETY: as above, with nobody reading either while `&mut self` is borrowed.
        Ok(unsafe { self.memory_bytes(memory)?.as_mut() })
    }

    /// Grows a memory by a number of pages; returns its old size in pages.
    ///
    /// # Errors
    /// When the handle is another store's, or its type, the limiter or the system does not allow it. It is unchanged then.
    pub fn memory_grow(&mut self, memory: MemoryHandle, delta: u64) -> Result<u64, GrowError> {
        let (owner, index) = self.memory(memory)?;
        self.grow_memory(owner, index, delta)
    }

    pub(crate) fn grow_memory(
        &mut self,
        owner: InstancePtr,
        index: DefinedMemoryIndex,
        delta: u64,
    ) -> Result<u64, GrowError> {
        self.execution().touch();
        let ty = owner.info().memories[owner.info().memory_index(index)];
        let memory = &owner.memories[index.index()];
        if let InstanceMemory::Shared(memory) = memory {
            let memory = memory.clone();
            return self.grow_shared_memory(&ty, &memory, delta);
        }
        let current = memory.byte_len() as u64 >> ty.page_size_log2;
        if delta == 0 {
            return Ok(current);
        }
        let desired = current.saturating_add(delta);
        self.memory_growing(&ty, current, desired)?;
        let beyond = |maximum: u64| GrowError::BeyondMaximum {
            what: "memory",
            unit: "pages",
            current,
            delta,
            maximum,
        };
        let bytes = desired
            .checked_mul(ty.page_size())
            .and_then(|bytes| usize::try_from(bytes).ok());
        let kept = bytes.is_some() && memory.is_kept_in_registers();
        if kept && self.execution().computations().is_interrupted() {
            return Err(GrowError::Interrupted { what: "memory" });
        }
        let grown = match bytes {
            Some(bytes) if desired <= ty.maximum_pages() => {
                memory.grow(bytes).map_err(|error| match error {
                    MemoryGrowError::BeyondMaximum { maximum, .. } => {
                        beyond(maximum as u64 >> ty.page_size_log2)
                    }
                    MemoryGrowError::Broken(error) => error.into(),
                    MemoryGrowError::Map(_) | MemoryGrowError::Refused(_) => {
                        GrowError::OutOfMemory {
                            what: "memory",
                            reason: error.to_string(),
                        }
                    }
                })
            }
            _ => Err(beyond(ty.maximum_pages())),
        };
        // One that has broken a promise may be elsewhere.
        owner.write_memory_record(index, memory.record());
        match grown {
            Ok(()) => Ok(current),
            Err(GrowError::Memory(error)) => Err(error.into()),
            Err(error) => Err(self.memory_grow_failed(error)),
        }
    }

    fn grow_shared_memory(
        &mut self,
        ty: &MemoryType,
        memory: &SharedMemory,
        delta: u64,
    ) -> Result<u64, GrowError> {
        let current = memory.pages();
        if delta == 0 {
            return Ok(current);
        }
        self.memory_growing(ty, current, current.saturating_add(delta))?;
        memory
            .grow(delta)
            .map_err(|error| self.memory_grow_failed(error))
    }

    // --- tables ---

    fn table(&self, table: TableHandle) -> Result<TableRef, HandleError> {
        self.check(&table)?;
        Ok(TableRef {
            // SAFETY: it was checked that it is alive in this store.
            instance: unsafe { InstancePtr::new(table.pointer()) },
            index: table.index,
        })
    }

    /// A table's type as declared: its minimum is not its current size.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn table_type(&self, table: TableHandle) -> Result<TableType, HandleError> {
        Ok(self.table(table)?.ty())
    }

    /// A table's size in elements.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn table_size(&self, table: TableHandle) -> Result<u64, HandleError> {
        Ok(self.table(table)?.len() as u64)
    }

    /// An element of a table, or `None` if the index is out of bounds.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn table_get(
        &mut self,
        table: TableHandle,
        index: u64,
    ) -> Result<Option<Value>, HandleError> {
        let table = self.table(table)?;
        if index >= table.len() as u64 {
            return Ok(None);
        }
        // Reading an element builds it.
        self.execution().touch();
        let element = table.get(index as usize);
        // SAFETY: an element of a table of this store, of the table's type.
        Ok(Some(unsafe {
            Value::lift(self, &element, ValType::Ref(table.ty().element))
        }))
    }

    fn lower_element(&self, table: TableRef, value: Value) -> Result<VmValue, ValueError> {
        value.lower(self, ValType::Ref(table.ty().element))
    }

    /// Assigns an element of a table.
    ///
    /// # Errors
    /// When the index is out of bounds, the value of another type, or a handle another store's.
    pub fn table_set(
        &mut self,
        table: TableHandle,
        index: u64,
        value: Value,
    ) -> Result<(), AccessError> {
        self.table_fill(table, index, value, 1)
    }

    /// Assigns `len` elements of a table.
    ///
    /// # Errors
    /// As [`table_set`](Self::table_set); nothing is assigned then.
    pub fn table_fill(
        &mut self,
        table: TableHandle,
        index: u64,
        value: Value,
        len: u64,
    ) -> Result<(), AccessError> {
        let table = self.table(table)?;
        let value = self.lower_element(table, value)?;
        self.execution().touch();
        table
            .fill(index, value, len)
            .map_err(|_| out_of_bounds(table, index, len))
    }

    /// Copies `len` elements from one table to another, or within one.
    ///
    /// # Errors
    /// When a range is out of bounds, the element types differ, or a handle is another store's; nothing is copied then.
    pub fn table_copy(
        &mut self,
        dst: TableHandle,
        dst_index: u64,
        src: TableHandle,
        src_index: u64,
        len: u64,
    ) -> Result<(), AccessError> {
        let (dst, src) = (self.table(dst)?, self.table(src)?);
        let (expected, found) = (dst.ty().element, src.ty().element);
        if !self.config().types.reference_matches(found, expected) {
            return Err(AccessError::ElementType { expected, found });
        }
        self.execution().touch();
        dst.copy(dst_index, src, src_index, len).map_err(|_| {
            let fits = src_index
                .checked_add(len)
                .is_some_and(|end| end <= src.len() as u64);
            if fits {
                out_of_bounds(dst, dst_index, len)
            } else {
                out_of_bounds(src, src_index, len)
            }
        })
    }

    /// Grows a table by a number of elements, all of one value; returns its old size in elements.
    ///
    /// # Errors
    /// When its type, the engine, the limiter or the system does not allow it, the value is of another type, or a handle another
    /// store's. The table is unchanged then.
    pub fn table_grow(
        &mut self,
        table: TableHandle,
        delta: u64,
        value: Value,
    ) -> Result<u64, GrowError> {
        let table = self.table(table)?;
        let value = self.lower_element(table, value)?;
        self.execution().touch();
        table.grow(self, delta, value)
    }

    // --- globals ---

    fn global(&self, global: GlobalHandle) -> Result<(GlobalType, *mut VmGlobal), HandleError> {
        self.check(&global)?;
        // SAFETY: it was checked that it is alive in this store.
        let owner = unsafe { InstancePtr::new(global.pointer()) };
        let ty = owner.info().globals[owner.info().global_index(global.index)];
        Ok((ty, owner.defined_global_record(global.index)))
    }

    /// A global's type.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn global_type(&self, global: GlobalHandle) -> Result<GlobalType, HandleError> {
        Ok(self.global(global)?.0)
    }

    /// A global's value; a reference is rooted in the current scope.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn global_get(&mut self, global: GlobalHandle) -> Result<Value, HandleError> {
        let (ty, record) = self.global(global)?;
        // SAFETY: the record is in the VMContext of a living instance and holds a value of the global's type.
        unsafe {
            let value = VmValue {
                bytes: (*record).bytes,
            };
            Ok(Value::lift(self, &value, ty.content))
        }
    }

    /// Assigns a global.
    ///
    /// # Errors
    /// When it is immutable, the value of another type, or a handle another store's.
    pub fn global_set(&mut self, global: GlobalHandle, value: Value) -> Result<(), AccessError> {
        let (ty, record) = self.global(global)?;
        if !ty.mutable {
            return Err(AccessError::Immutable(ty));
        }
        self.execution().touch();
        let bytes = value.lower(self, ty.content)?.bytes;
        // SAFETY: the record is in the VMContext of a living instance.
        unsafe { record.write(VmGlobal { bytes }) };
        Ok(())
    }

    // --- tags ---

    /// A tag's type.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn tag_type(&self, tag: TagHandle) -> Result<TagType, HandleError> {
        self.check(&tag)?;
        // SAFETY: the tag is this store's.
        let type_id = unsafe { tag.pointer().as_ref() }.type_id;
        let ty = self.config().types.func_type(type_id);
        let ty = ty.unwrap_or_else(|| unreachable!("tags of a store have types of its engine"));
        Ok(TagType { params: ty.params })
    }

    /// A tag's type, kept: a function type.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn tag_registered_type(&self, tag: TagHandle) -> Result<RegisteredType, HandleError> {
        self.check(&tag)?;
        // SAFETY: the tag is this store's.
        let type_id = unsafe { tag.pointer().as_ref() }.type_id;
        let ty = self.config().types.get(type_id);
        Ok(ty.unwrap_or_else(|| unreachable!("tags of a store have types of its engine")))
    }

    // --- things made by the host ---

    /// Makes an instance of a module without code, which holds what the host makes.
    fn host_made(
        &mut self,
        info: ModuleInfo,
        types: &[RegisteredType],
    ) -> Result<InstancePtr, Error> {
        let module = CompiledModule::without_code(info, &self.config().types, types)?;
        instantiate::without_imports(self, &module)
    }

    /// Makes a memory.
    ///
    /// # Errors
    /// When its type makes no sense, or the limiter or the system does not allow it.
    pub fn create_memory(&mut self, ty: MemoryType) -> Result<MemoryHandle, Error> {
        let sensible =
            ty.minimum <= ty.maximum.unwrap_or(u64::MAX) && ty.minimum <= ty.maximum_pages();
        let refused = match () {
            () if ty.shared => Some("shared memories are made by themselves, not in a store"),
            () if ty.page_size_log2 != 0 && ty.page_size_log2 != 16 => {
                Some("pages have 1 or 65536 bytes")
            }
            () if !sensible => Some("its minimum is more than it may ever have"),
            () => None,
        };
        if let Some(reason) = refused {
            return Err(InstantiateError::Memory {
                index: 0,
                ty,
                reason: reason.into(),
            }
            .into());
        }
        self.make_room_for(Counts {
            memories: 1,
            ..Counts::default()
        });
        let mut info = ModuleInfo::default();
        info.memories.push(ty);
        info.memory_images.push(None);
        let instance = self.host_made(info, &[])?;
        Ok(self.memory_handle(instance, DefinedMemoryIndex::from_u32(0)))
    }

    /// Makes a table whose elements have all one value.
    ///
    /// # Errors
    /// When its type makes no sense, the value is of another type, or the limiter or the system does not allow it.
    pub fn create_table(&mut self, ty: TableType, value: Value) -> Result<TableHandle, Error> {
        self.make_room_for(Counts {
            tables: 1,
            ..Counts::default()
        });
        let value = value.lower(self, ValType::Ref(ty.element))?;
        if ty.minimum > ty.maximum.unwrap_or(u64::MAX) {
            let reason = "its minimum is more than its maximum".into();
            return Err(InstantiateError::Table {
                index: 0,
                ty,
                reason,
            }
            .into());
        }
        let mut info = ModuleInfo::default();
        info.tables.push(ty);
        info.table_inits.push(TableInit {
            fill: None,
            functions: Vec::new(),
        });
        let instance = self.host_made(info, &[])?;
        let index = DefinedTableIndex::from_u32(0);
        TableRef { instance, index }.fill_new(value);
        Ok(self.table_handle(TableRef { instance, index }))
    }

    /// Makes a global.
    ///
    /// # Errors
    /// When the value is of another type, or the system has no memory.
    pub fn create_global(&mut self, ty: GlobalType, value: Value) -> Result<GlobalHandle, Error> {
        let bytes = value.lower(self, ty.content)?.bytes;
        let mut info = ModuleInfo::default();
        info.globals.push(ty);
        // Replaced by the value below, which an expression cannot always say.
        let zero = match ty.content {
            ValType::I32 => ConstOp::I32Const(0),
            ValType::I64 => ConstOp::I64Const(0),
            ValType::F32 => ConstOp::F32Const(0),
            ValType::F64 => ConstOp::F64Const(0),
            ValType::V128 => ConstOp::V128Const(0),
            ValType::Ref(r) => ConstOp::RefNull(r.heap),
        };
        info.global_inits.push(ConstExpr { ops: vec![zero] });
        let instance = self.host_made(info, &[])?;
        let index = DefinedGlobalIndex::from_u32(0);
        // SAFETY: the record is in the VMContext of a living instance.
        unsafe {
            instance
                .defined_global_record(index)
                .write(VmGlobal { bytes })
        };
        Ok(self.global_handle(instance, index))
    }

    /// Makes an exception tag of a type, whose results play no part.
    ///
    /// # Errors
    /// When it is not a function type, of another engine, or the system has no memory.
    pub fn create_tag(&mut self, ty: &RegisteredType) -> Result<TagHandle, Error> {
        if !Arc::ptr_eq(ty.registry(), &self.config().types) {
            return Err(InstantiateError::WrongEngine { what: "tag's type" }.into());
        }
        let mut info = ModuleInfo::default();
        info.tags.push(TypeIndex::from_u32(0));
        let instance = self.host_made(info, std::slice::from_ref(ty))?;
        let tag = instance.tag(TagIndex::from_u32(0));
        // SAFETY: the instance was just made.
        Ok(unsafe { self.tag_handle(tag) })
    }

    // --- instances ---

    pub(super) fn instance(&self, instance: InstanceHandle) -> Result<InstancePtr, HandleError> {
        self.check(&instance)?;
        // SAFETY: it was checked that it is alive in this store.
        Ok(unsafe { InstancePtr::new(instance.pointer()) })
    }

    /// The module an instance was made from.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn instance_module(
        &self,
        instance: InstanceHandle,
    ) -> Result<&Arc<CompiledModule>, HandleError> {
        let instance = self.instance(instance)?;
        // SAFETY: the instance lives while `&self` borrows the store.
        Ok(unsafe { instance.as_ptr().as_ref() }.module())
    }

    /// The start function of an instance, if it has one. Whoever calls this after `instantiate` has run it already.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn instance_start(
        &mut self,
        instance: InstanceHandle,
    ) -> Result<Option<FuncHandle>, HandleError> {
        let this = self.instance(instance)?;
        let start = this
            .info()
            .start
            .and_then(|index| NonNull::new(this.func_ref(index)));
        // SAFETY: it is a function of a living instance.
        Ok(start.map(|func| unsafe { self.func_handle(func) }))
    }

    /// A memory by its index, exported or not. `None` if there is none.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn instance_memory(
        &self,
        instance: InstanceHandle,
        index: MemoryIndex,
    ) -> Result<Option<MemoryHandle>, HandleError> {
        let this = self.instance(instance)?;
        Ok(this.info().memories.is_valid(index).then(|| {
            let (owner, index) = this.memory(index);
            self.memory_handle(owner, index)
        }))
    }

    /// An export by name, or `None` if there is none. An export of an import is what was imported.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn instance_export(
        &mut self,
        instance: InstanceHandle,
        name: &str,
    ) -> Result<Option<ExternHandle>, HandleError> {
        let this = self.instance(instance)?;
        match this.info().exports.get(name) {
            Some(&entity) => self.instance_entity(instance, entity),
            None => Ok(None),
        }
    }

    /// An entity by its index, exported or not. `None` if there is none, or if it is a function that the module never refers to
    /// but by calling it.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn instance_entity(
        &mut self,
        instance: InstanceHandle,
        entity: EntityIndex,
    ) -> Result<Option<ExternHandle>, HandleError> {
        let this = self.instance(instance)?;
        let info = this.info();
        Ok(match entity {
            EntityIndex::Func(index) if info.functions.is_valid(index) => {
                let func = NonNull::new(this.func_ref(index));
                // SAFETY: it is a function of a living instance.
                func.map(|func| ExternHandle::Func(unsafe { self.func_handle(func) }))
            }
            EntityIndex::Table(index) if info.tables.is_valid(index) => {
                Some(ExternHandle::Table(self.table_handle(this.table(index))))
            }
            EntityIndex::Memory(index) if info.memories.is_valid(index) => {
                let (owner, index) = this.memory(index);
                Some(ExternHandle::Memory(self.memory_handle(owner, index)))
            }
            EntityIndex::Global(index) if info.globals.is_valid(index) => {
                let (owner, index) = InstancePtr::global(this, index);
                Some(ExternHandle::Global(self.global_handle(owner, index)))
            }
            EntityIndex::Tag(index) if info.tags.is_valid(index) => {
                // SAFETY: it is a tag of a living instance, or one that it imports.
                Some(ExternHandle::Tag(unsafe {
                    self.tag_handle(this.tag(index))
                }))
            }
            _ => None,
        })
    }
}

fn out_of_bounds(table: TableRef, index: u64, len: u64) -> AccessError {
    AccessError::OutOfBounds {
        index,
        len,
        size: table.len() as u64,
    }
}
