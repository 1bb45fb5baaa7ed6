//! Tables.
//!
//! ```text
//!   VmTable { base, len }  (in the defining instance's VMContext)
//!        |
//!        v  functions:  | 0 | f|1 | 1 | 0 | ...     0: not built yet; f|1: a VmFuncRef; 1: null       8 bytes each
//!           objects:    | 7 | 0 | 0 | ...           number of an object; 0: null                      4 bytes each
//! ```
//!
//! A table of functions starts as zeros: an element is built from the module's precomputed list when it is first read, by the
//! instance that *defines* the table, whoever reads it.
//!
//! # Invariant
//!
//! * What a 0 stands for never changes: the function at that place of the module's list, or null beyond the list. Whoever reads an
//!   element is ready to build it; whoever writes one writes it built. A copy reads, so laziness never travels to another table.
//! * `VmTable` describes the allocation in [`Table`]; both are changed together, in [`TableRef::grow`].

use crate::const_expr::{ConstScope, Contents, evaluate, func_ref_value, value_func_ref};
use crate::error::{GcError, GrowError};
use crate::instance::InstancePtr;
use crate::store::StoreInner;
use cowling_abi::layout::*;
use cowling_abi::module::ElementItems;
use cowling_abi::*;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ops::Range;
use std::ptr::{self, NonNull};

/// The most elements a table may have, whatever its type says: as many as browsers allow.
pub const MAX_TABLE_ELEMENTS: u64 = 10_000_000;

/// Storage of one table: of its own, or a place in the instance's area for as long as it is small.
pub(crate) struct Table {
    base: NonNull<u8>,
    element_size: usize,
    capacity: usize,
    in_area: bool,
}

// SAFETY: the storage is owned.
unsafe impl Send for Table {}

/// The system has no memory for a table.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for a table of {0} elements")]
pub(crate) struct OutOfTableMemory(usize);

impl Table {
    /// Zeroed storage for the elements a table begins with, or none yet if that will have its [place](Self::place) in the area of its
    /// instance.
    pub(crate) fn new(element: RefType, minimum: usize) -> Result<Table, OutOfTableMemory> {
        let mut table = Table::empty(element_size(element));
        if Self::area_bytes(element, minimum) == 0 {
            table.reserve(0, minimum)?;
        }
        Ok(table)
    }

    fn empty(element_size: usize) -> Table {
        Table {
            base: NonNull::dangling(),
            element_size,
            capacity: 0,
            in_area: false,
        }
    }

    /// Gives a table without storage a place in the area of its instance, which is zeroed, aligned to 8 bytes, and has
    /// [`area_bytes`](Self::area_bytes) for it.
    ///
    /// # Safety
    /// Nothing else uses the place for as long as the table exists.
    pub(crate) unsafe fn place(&mut self, place: NonNull<u8>, capacity: usize) {
        debug_assert_eq!(self.capacity, 0, "storage is not replaced");
        (self.base, self.capacity, self.in_area) = (place, capacity, true);
    }

    /// How much of its instance's area the storage of a table that begins with so many elements takes, in bytes: 0 if it has storage
    /// of its own. A small table costs no allocation, and no memory, as the area fills less than its page.
    pub(crate) fn area_bytes(element: RefType, minimum: usize) -> usize {
        minimum
            .checked_mul(element_size(element))
            .filter(|&bytes| bytes <= MOST_IN_AREA)
            .map_or(0, |bytes| bytes.next_multiple_of(FUNC_ELEMENT_SIZE))
    }

    fn layout(&self, capacity: usize) -> Option<Layout> {
        Layout::from_size_align(capacity.checked_mul(self.element_size)?, FUNC_ELEMENT_SIZE).ok()
    }

    /// Makes room for `capacity` elements, keeping the first `len`; the others are zero.
    fn reserve(&mut self, len: usize, capacity: usize) -> Result<(), OutOfTableMemory> {
        if capacity <= self.capacity {
            return Ok(());
        }
        let failed = OutOfTableMemory(capacity);
        let layout = self.layout(capacity).ok_or(failed)?;
        // SAFETY: the size is not zero: capacity is above the current one.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(failed)?;
        // SAFETY: both have `len` elements and are different allocations.
        unsafe {
            ptr::copy_nonoverlapping(self.base.as_ptr(), base.as_ptr(), len * self.element_size)
        };
        self.free();
        self.base = base;
        self.capacity = capacity;
        self.in_area = false;
        Ok(())
    }

    fn free(&mut self) {
        if self.capacity > 0
            && !self.in_area
            && let Some(layout) = self.layout(self.capacity)
        {
            // SAFETY: this is the layout it was allocated with.
            unsafe { dealloc(self.base.as_ptr(), layout) };
        }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its addresses, if they are not in its instance's area.
    pub(crate) fn addresses(&self) -> Option<Range<usize>> {
        let base = self.base.addr().get();
        (self.capacity > 0 && !self.in_area).then(|| base..base + self.capacity * self.element_size)
    }

    /// Makes its first `len` elements zero.
    ///
    /// # Safety
    /// There are as many, and nobody uses them.
    pub(crate) unsafe fn clear(&self, len: usize) {
        // SAFETY: as the caller says.
        unsafe { ptr::write_bytes(self.base.as_ptr(), 0, len * self.element_size) };
    }

    /// Makes it new storage for `initial` elements, of which it had `len` last. Storage that has become much larger is replaced.
    ///
    /// # Errors
    /// When there is no memory; it is as before then.
    pub(crate) fn renew(&mut self, len: usize, initial: usize) -> Result<(), OutOfTableMemory> {
        if self.capacity > initial.max(KEPT_CAPACITY) {
            let mut table = Table::empty(self.element_size);
            table.reserve(0, initial)?;
            *self = table;
        } else {
            // SAFETY: nobody uses it, and there are as many elements.
            unsafe { self.clear(len) };
        }
        Ok(())
    }
}

/// The most bytes of a table in its instance's area.
const MOST_IN_AREA: usize = 256;

fn element_size(element: RefType) -> usize {
    if element.heap.is_func() {
        FUNC_ELEMENT_SIZE
    } else {
        OBJECT_ELEMENT_SIZE
    }
}

/// Storage that was grown to more elements than this is not kept for the next instance.
const KEPT_CAPACITY: usize = 4096;

impl Drop for Table {
    fn drop(&mut self) {
        self.free();
    }
}

/// The range `start..start + len` if it lies within `size` elements.
fn range(start: u64, len: u64, size: usize) -> Result<Range<usize>, Trap> {
    let end = start.checked_add(len).filter(|&end| end <= size as u64);
    match end {
        Some(end) => Ok(start as usize..end as usize),
        None => Err(Trap::TableOutOfBounds),
    }
}

/// A table, by the instance that defines it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableRef {
    pub(crate) instance: InstancePtr,
    pub(crate) index: DefinedTableIndex,
}

impl TableRef {
    /// What its type was when it was declared.
    pub(crate) fn ty(self) -> TableType {
        let info = self.instance.info();
        info.tables[info.table_index(self.index)]
    }

    pub(crate) fn record(self) -> *mut VmTable {
        self.instance.defined_table_record(self.index)
    }

    fn storage(&self) -> &RefCell<Table> {
        &self.instance.tables[self.index.as_u32() as usize]
    }

    /// Number of elements.
    pub(crate) fn len(self) -> usize {
        // SAFETY: the record is in the VMContext of a living instance.
        unsafe { (*self.record()).len }
    }

    fn base(self) -> *mut u8 {
        // SAFETY: as above.
        unsafe { (*self.record()).base }
    }

    fn holds_functions(self) -> bool {
        self.ty().element.heap.is_func()
    }

    /// The functions it refers to, other than those of its instance that were not built yet.
    pub(crate) fn built_functions(self) -> impl Iterator<Item = usize> {
        let places = if self.holds_functions() {
            self.len()
        } else {
            0
        };
        (0..places).filter_map(move |place| {
            // SAFETY: the place is in bounds, elements are 8 bytes.
            let element = unsafe { self.base().cast::<usize>().add(place).read() };
            Some(element & !TABLE_ELEMENT_BUILT).filter(|&function| function != 0)
        })
    }

    /// An element, built if necessary.
    ///
    /// The place must be in bounds.
    pub(crate) fn get(self, place: usize) -> VmValue {
        debug_assert!(place < self.len());
        if !self.holds_functions() {
            // SAFETY: the place is in bounds, elements are 4 bytes.
            return VmValue::from_u32(unsafe { self.base().cast::<u32>().add(place).read() });
        }
        // SAFETY: the place is in bounds, elements are 8 bytes.
        let element = unsafe { self.base().cast::<usize>().add(place) };
        // SAFETY: as above.
        let mut value = unsafe { element.read() };
        if value == 0 {
            let init = self.instance.info().table_inits.get(self.index);
            let function = init.and_then(|init| *init.functions.get(place)?);
            let func =
                function.map_or(ptr::null_mut(), |function| self.instance.func_ref(function));
            value = func.expose_provenance() | TABLE_ELEMENT_BUILT;
            // SAFETY: as above.
            unsafe { element.write(value) };
        }
        VmValue::from_u64((value & !TABLE_ELEMENT_BUILT) as u64)
    }

    /// Assigns an element. The place must be in bounds and the value of the table's type.
    pub(crate) fn set(self, place: usize, value: VmValue) {
        debug_assert!(place < self.len());
        if self.holds_functions() {
            // SAFETY: the place is in bounds, elements are 8 bytes.
            unsafe {
                (self.base().cast::<usize>().add(place))
                    .write(value.u64() as usize | TABLE_ELEMENT_BUILT)
            };
        } else {
            // SAFETY: the place is in bounds, elements are 4 bytes.
            unsafe { self.base().cast::<u32>().add(place).write(value.u32()) };
        }
    }

    /// `table.fill`
    ///
    /// # Errors
    /// When the range is out of bounds; nothing is written then.
    pub(crate) fn fill(self, dst: u64, value: VmValue, len: u64) -> Result<(), Trap> {
        for place in range(dst, len, self.len())? {
            self.set(place, value);
        }
        Ok(())
    }

    /// `table.copy`; the element types match.
    ///
    /// # Errors
    /// When a range is out of bounds; nothing is written then.
    pub(crate) fn copy(self, dst: u64, source: TableRef, src: u64, len: u64) -> Result<(), Trap> {
        let from = range(src, len, source.len())?;
        let to = range(dst, len, self.len())?;
        // Elements are read built, so what is copied does not depend on where it is copied to. Overlapping ranges of one table
        // are copied in the direction that reads each element before it is overwritten.
        if to.start <= from.start {
            to.zip(from)
                .for_each(|(to, from)| self.set(to, source.get(from)));
        } else {
            (to.rev().zip(from.rev())).for_each(|(to, from)| self.set(to, source.get(from)));
        }
        Ok(())
    }

    /// `table.init` with a segment of `user`, which need not be the table's own instance.
    ///
    /// # Errors
    /// When a range is out of bounds; nothing is written then.
    pub(crate) fn init(
        self,
        user: InstancePtr,
        segment: ElemIndex,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), Trap> {
        let from = range(src, len, user.element_count(segment))?;
        let to = range(dst, len, self.len())?;
        for (to, from) in to.zip(from) {
            self.set(to, user.element(segment, from));
        }
        Ok(())
    }

    /// `table.grow`: the old size.
    ///
    /// # Errors
    /// When its type, the engine, the limiter or the system does not allow it; nothing has changed then.
    pub(crate) fn grow(
        self,
        store: &mut StoreInner,
        delta: u64,
        value: VmValue,
    ) -> Result<u64, GrowError> {
        let ty = self.ty();
        let current = self.len();
        let declared = ty.maximum.unwrap_or(u64::MAX);
        let desired = (current as u64).saturating_add(delta);
        store.table_growing(current as u64, desired, ty.largest())?;
        let maximum = (declared.min(MAX_TABLE_ELEMENTS)).min(self.instance.table_limit());
        if desired > maximum {
            let error = GrowError::BeyondMaximum {
                what: "table",
                unit: "elements",
                current: current as u64,
                delta,
                maximum,
            };
            return Err(store.table_grow_failed(error));
        }
        let desired = desired as usize;
        let mut storage = self.storage().borrow_mut();
        if desired > storage.capacity {
            if store.execution().computations().is_interrupted() {
                return Err(GrowError::Interrupted { what: "table" });
            }
            // Room for as many again, so that growing one by one does not copy each time.
            let generous = desired
                .max(storage.capacity.saturating_mul(2))
                .min(maximum as usize);
            let reserved =
                (storage.reserve(current, generous)).or_else(|_| storage.reserve(current, desired));
            if let Err(error) = reserved {
                drop(storage);
                return Err(store.table_grow_failed(GrowError::OutOfMemory {
                    what: "table",
                    reason: error.to_string(),
                }));
            }
        }
        let record = VmTable {
            base: storage.base().as_ptr(),
            len: desired,
        };
        drop(storage);
        // SAFETY: the record is in the VMContext of a living instance.
        unsafe { self.record().write(record) };
        // New storage is zero, which past the module's list means null. A module's list is never longer than the table's
        // minimum, so null needs no writing.
        if value.u64() != 0 {
            for place in current..desired {
                self.set(place, value);
            }
        }
        Ok(current as u64)
    }

    /// Fills a new table, which is zero: functions of the module's list stay to be built.
    pub(crate) fn fill_new(self, value: VmValue) {
        let null = if self.holds_functions() {
            value_func_ref(&value).is_null()
        } else {
            value.u32() == 0
        };
        if null {
            return;
        }
        let listed = match self.instance.info().table_inits.get(self.index) {
            Some(init) => &init.functions[..],
            None => &[],
        };
        for place in 0..self.len() {
            if listed.get(place).is_none_or(|function| function.is_none()) {
                self.set(place, value);
            }
        }
    }
}

impl InstancePtr {
    /// How many elements a segment has: none once it is dropped.
    pub(crate) fn element_count(self, segment: ElemIndex) -> usize {
        if self.dropped_elements.contains(segment.as_u32() as usize) {
            return 0;
        }
        self.info().elements[segment].items.len()
    }

    /// An element of a segment. It has so many.
    pub(crate) fn element(self, segment: ElemIndex, place: usize) -> VmValue {
        if let Some(values) = self.element_values.borrow().get(&segment) {
            return VmValue::from_u32(values[place]);
        }
        match &self.info().elements[segment].items {
            ElementItems::Functions(functions) => func_ref_value(self.func_ref(functions[place])),
            // It makes no objects.
            ElementItems::Expressions(expressions) => {
                evaluate(&expressions[place], &mut { self }).unwrap_or_default()
            }
        }
    }
}

/// For expressions that make no objects.
impl ConstScope for InstancePtr {
    fn global(&mut self, index: GlobalIndex) -> VmValue {
        let (owner, defined) = InstancePtr::global(*self, index);
        // SAFETY: the record is in the VMContext of a living instance.
        let global = unsafe { owner.defined_global_record(defined).read() };
        VmValue {
            bytes: global.bytes,
        }
    }

    fn func_ref(&mut self, index: FuncIndex) -> *mut VmFuncRef {
        InstancePtr::func_ref(*self, index)
    }

    fn field_count(&self, ty: TypeIndex) -> usize {
        match &self.info().types[ty].composite {
            CompositeType::Struct(ty) => ty.fields.len(),
            _ => 0,
        }
    }

    fn new_object(&mut self, _: TypeIndex, _: Contents<'_>) -> Result<VmValue, GcError> {
        Ok(VmValue::default())
    }
}
