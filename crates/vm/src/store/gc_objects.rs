//! What the runtime reads and writes in structs and arrays.
//!
//! A function here takes references as numbers, and trusts that they are to objects that are alive, of the kind it says. What the host
//! is offered, with checks, is in `gc_values`.

use super::StoreInner;
use super::inner::For;
use crate::const_expr::Contents;
use crate::error::GcError;
use cowling_abi::gc_layout::{ArrayLayout, GcLayout, storage_size_log2};
use cowling_abi::layout::VmValue;
use cowling_abi::{CompositeType, StorageType};
use std::ops::Range;

/// An array: a reference to it, and what it needs to be used.
#[derive(Copy, Clone, Debug)]
pub(crate) struct ArrayRef {
    pub(crate) reference: u32,
    pub(crate) layout: ArrayLayout,
    pub(crate) len: u32,
}

impl ArrayRef {
    /// Where elements lie, in bytes from the array's start. `None` if the array has not so many.
    pub(crate) fn range(&self, start: u32, len: u32) -> Option<Range<u64>> {
        let end = start.checked_add(len).filter(|&end| end <= self.len)?;
        Some(self.layout.size(start)..self.layout.size(end))
    }
}

impl StoreInner {
    /// Makes an object of a type of this number and structure. What its contents refer to must be rooted or on a guest stack.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn make_object(
        &mut self,
        type_id: u32,
        ty: &CompositeType,
        contents: Contents<'_>,
    ) -> Result<u32, GcError> {
        let len = match contents {
            Contents::Default => 0,
            // Constant expressions and calls have fewer values.
            Contents::Values(values) => values.len() as u32,
            Contents::Repeated(_, len) => len,
        };
        match ty {
            CompositeType::Struct(ty) => {
                let object = self.new_object(type_id, 0, For::Host)?;
                if let Contents::Values(values) = contents {
                    for (index, (value, field)) in values.iter().zip(&ty.fields).enumerate() {
                        self.write_field(object, index, field.storage, *value);
                    }
                }
                Ok(object)
            }
            CompositeType::Array(ty) => {
                let reference = self.new_object(type_id, len, For::Host)?;
                let array = self.array(reference);
                match contents {
                    Contents::Values(values) => {
                        for (index, value) in values.iter().enumerate() {
                            self.write_element(array, index as u32, ty.element.storage, *value);
                        }
                    }
                    Contents::Repeated(value, len) => self.fill_array(array, 0, len, value),
                    Contents::Default => {}
                }
                Ok(reference)
            }
            // Not a type of objects: nothing that was validated asks for one.
            CompositeType::Func(_) => Err(GcError::TooLarge),
        }
    }

    fn bytes_mut(&mut self, object: u32, range: Range<u64>) -> &mut [u8] {
        let Some(heap) = self.heap() else {
            return &mut [];
        };
        let len = (range.end - range.start) as usize;
        let bytes = heap.part(object, range);
        // SAFETY: the bytes are in the heap; only compiled code, which does not run, and users of `&mut self` use them.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_ptr(), len) }
    }

    fn bytes(&self, object: u32, range: Range<u64>) -> &[u8] {
        let Some(heap) = self.heap() else {
            return &[];
        };
        let len = (range.end - range.start) as usize;
        let bytes = heap.part(object, range);
        // SAFETY: as above, and users of `&self` only read.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr(), len) }
    }

    /// The engine-wide number of an object's type.
    pub(crate) fn object_type(&self, object: u32) -> u32 {
        self.heap().map_or(0, |heap| heap.header(object).0)
    }

    /// An array, by a reference to it.
    pub(crate) fn array(&self, reference: u32) -> ArrayRef {
        let (type_id, len) = self.heap().map_or((0, 0), |heap| heap.header(reference));
        match self.layouts().get(type_id) {
            GcLayout::Array(layout) => ArrayRef {
                reference,
                layout: *layout,
                len,
            },
            GcLayout::Struct(_) => unreachable!("the reference is to an array"),
        }
    }

    fn field_range(&self, object: u32, index: usize, storage: StorageType) -> Range<u64> {
        let offset = match self.layouts().get(self.object_type(object)) {
            GcLayout::Struct(layout) => u64::from(layout.offsets[index]),
            GcLayout::Array(_) => unreachable!("the reference is to a struct"),
        };
        offset..offset + (1 << storage_size_log2(storage))
    }

    fn element_range(array: ArrayRef, index: u32, storage: StorageType) -> Range<u64> {
        let offset = array.layout.size(index);
        offset..offset + (1 << storage_size_log2(storage))
    }

    /// A field of a struct that has it; packed ones with zeros above.
    pub(crate) fn read_field(&self, object: u32, index: usize, storage: StorageType) -> VmValue {
        from_bytes(self.bytes(object, self.field_range(object, index, storage)))
    }

    /// Assigns a field of a struct that has it.
    pub(crate) fn write_field(
        &mut self,
        object: u32,
        index: usize,
        storage: StorageType,
        value: VmValue,
    ) {
        let range = self.field_range(object, index, storage);
        let bytes = self.bytes_mut(object, range);
        bytes.copy_from_slice(&value.bytes[..bytes.len()]);
    }

    /// An element of an array that has it; packed ones with zeros above.
    pub(crate) fn read_element(
        &self,
        array: ArrayRef,
        index: u32,
        storage: StorageType,
    ) -> VmValue {
        let range = Self::element_range(array, index, storage);
        from_bytes(self.bytes(array.reference, range))
    }

    /// Assigns an element of an array that has it.
    pub(crate) fn write_element(
        &mut self,
        array: ArrayRef,
        index: u32,
        storage: StorageType,
        value: VmValue,
    ) {
        let range = Self::element_range(array, index, storage);
        let bytes = self.bytes_mut(array.reference, range);
        bytes.copy_from_slice(&value.bytes[..bytes.len()]);
    }

    /// Assigns elements of an array that has them.
    pub(crate) fn fill_array(&mut self, array: ArrayRef, start: u32, len: u32, value: VmValue) {
        let Some(range) = array.range(start, len) else {
            return;
        };
        let size = 1 << array.layout.element_size_log2;
        let bytes = self.bytes_mut(array.reference, range);
        let value = &value.bytes[..size];
        match value.iter().all(|byte| *byte == value[0]) {
            true => bytes.fill(value[0]),
            false => (bytes.chunks_exact_mut(size)).for_each(|place| place.copy_from_slice(value)),
        }
    }

    /// Copies elements between arrays that have them, which may be the same one.
    pub(crate) fn copy_array(
        &mut self,
        dst: ArrayRef,
        dst_start: u32,
        src: ArrayRef,
        src_start: u32,
        len: u32,
    ) {
        let (Some(to), Some(from)) = (dst.range(dst_start, len), src.range(src_start, len)) else {
            return;
        };
        let Some(heap) = self.heap() else {
            return;
        };
        let count = (to.end - to.start).min(from.end - from.start) as usize;
        let (to, from) = (heap.part(dst.reference, to), heap.part(src.reference, from));
        // SAFETY: both ranges are in the heap, and as long; nobody else uses them.
        unsafe { from.copy_to(to, count) };
    }

    /// The bytes of all elements of an array.
    pub(crate) fn read_elements(&self, array: ArrayRef) -> &[u8] {
        let range = array.range(0, array.len).unwrap_or_default();
        self.bytes(array.reference, range)
    }

    /// Assigns elements of an array, which has as many, from bytes in their order.
    pub(crate) fn write_elements(&mut self, array: ArrayRef, start: u32, bytes: &[u8]) {
        let offset = array.layout.size(start);
        let range = offset..offset + bytes.len() as u64;
        self.bytes_mut(array.reference, range)
            .copy_from_slice(bytes);
    }
}

fn from_bytes(bytes: &[u8]) -> VmValue {
    let mut value = VmValue::default();
    value.bytes[..bytes.len()].copy_from_slice(bytes);
    value
}
