//! Objects of the garbage-collected heap: references to them, and where their contents lie.
//!
//! ```text
//!   reference   bit 0 = 1               an i31: value << 1 | 1
//!   (32 bits,   bit 31 = 1, bit 0 = 0   a host value or an exception: its number in the store's table
//!   0 = null)   bit 31 = 0, bit 0 = 0   an object: its offset in the store's heap
//!
//!   struct      | 0: type id | 4: the collector's | 8: fields, in order, each aligned to its size |
//!   array       | 0: type id | 4: length          | 8: elements (16 if they are vectors)          |
//! ```
//!
//! `any` and `extern` references look the same, so that converting one to the other is nothing. References to functions are 64-bit
//! addresses wherever they are; a collector does not follow them.
//!
//! A struct's fields come in declared order and each takes the next place that is aligned for it, so a subtype has those of its
//! supertype where that has them.

use crate::types::{ArrayType, CompositeType, FieldType, Representation, StorageType, StructType};

/// An object's offset is a multiple of this many bytes.
pub const OBJECT_ALIGN: u32 = 16;

/// Offset of an object's type id, a `u32`.
pub const TYPE_ID_OFFSET: u32 = 0;

/// Offset of an array's length, a `u32`; of what a struct has for the collector.
pub const ARRAY_LENGTH_OFFSET: u32 = 4;

/// Bytes before an object's contents.
pub const OBJECT_HEADER_SIZE: u32 = 8;

/// Where the contents of objects of one type lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GcLayout {
    /// Of a struct.
    Struct(StructLayout),
    /// Of an array.
    Array(ArrayLayout),
}

/// Where a struct's fields lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// Bytes of the whole object, its header included.
    pub size: u32,
    /// Offset of each field from the start of the object.
    pub offsets: Box<[u32]>,
    /// Offsets of the fields that a collector follows: 32-bit references.
    pub references: Box<[u32]>,
}

/// Where an array's elements lie.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ArrayLayout {
    /// Offset of element 0 from the start of the object.
    pub first: u32,
    /// Bytes of an element, as a power of two.
    pub element_size_log2: u32,
    /// Does a collector follow the elements, that is, are they 32-bit references?
    pub references: bool,
}

/// Bytes that a field or element takes, as a power of two. It is aligned to as many.
pub fn storage_size_log2(storage: StorageType) -> u32 {
    match storage {
        StorageType::I8 => 0,
        StorageType::I16 => 1,
        StorageType::Val(ty) => match ty.representation() {
            Representation::I32 | Representation::F32 | Representation::ObjectRef => 2,
            Representation::I64 | Representation::F64 | Representation::FuncRef => 3,
            Representation::V128 => 4,
        },
    }
}

fn is_followed(field: &FieldType) -> bool {
    matches!(field.storage, StorageType::Val(ty) if ty.representation() == Representation::ObjectRef)
}

impl GcLayout {
    /// The layout of a type's objects; `None` if it is a function type.
    pub fn new(ty: &CompositeType) -> Option<GcLayout> {
        match ty {
            CompositeType::Func(_) => None,
            CompositeType::Struct(ty) => Some(GcLayout::Struct(StructLayout::new(ty))),
            CompositeType::Array(ty) => Some(GcLayout::Array(ArrayLayout::new(ty))),
        }
    }
}

impl StructLayout {
    /// The layout of a struct type's objects.
    pub fn new(ty: &StructType) -> StructLayout {
        let mut size = OBJECT_HEADER_SIZE;
        // Types have at most 10,000 fields, so this is far from overflowing.
        let offsets = ty.fields.iter().map(|field| {
            let bytes = 1 << storage_size_log2(field.storage);
            let offset = size.next_multiple_of(bytes);
            size = offset + bytes;
            offset
        });
        let offsets: Box<[u32]> = offsets.collect();
        let fields = offsets.iter().zip(&ty.fields);
        let references = fields.filter_map(|(offset, field)| is_followed(field).then_some(*offset));
        StructLayout {
            size,
            references: references.collect(),
            offsets,
        }
    }
}

impl ArrayLayout {
    /// The layout of an array type's objects.
    pub fn new(ty: &ArrayType) -> ArrayLayout {
        let element_size_log2 = storage_size_log2(ty.element.storage);
        ArrayLayout {
            first: OBJECT_HEADER_SIZE.next_multiple_of(1 << element_size_log2),
            element_size_log2,
            references: is_followed(&ty.element),
        }
    }

    /// Bytes of a whole array of this length, its header included.
    pub fn size(&self, length: u32) -> u64 {
        u64::from(self.first) + (u64::from(length) << self.element_size_log2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{RefType, ValType};

    fn field(storage: StorageType) -> FieldType {
        FieldType {
            storage,
            mutable: true,
        }
    }

    fn val(ty: ValType) -> FieldType {
        field(StorageType::Val(ty))
    }

    #[test]
    fn fields_are_aligned_in_declared_order_and_followed_if_they_are_object_references() {
        let fields = [
            field(StorageType::I8),
            field(StorageType::I16),
            val(ValType::FUNCREF),
            val(ValType::Ref(RefType::EXTERNREF)),
            val(ValType::V128),
            val(ValType::EXNREF),
        ];
        let layout = StructLayout::new(&StructType {
            fields: fields.into(),
        });
        assert_eq!(*layout.offsets, [8, 10, 16, 24, 32, 48]);
        assert_eq!(*layout.references, [24, 48]);
        assert_eq!(layout.size, 52);
        // A supertype has the same offsets.
        for count in 0..fields.len() {
            let above = StructLayout::new(&StructType {
                fields: fields[..count].into(),
            });
            assert_eq!(above.offsets[..], layout.offsets[..count]);
        }
    }

    #[test]
    fn arrays_start_where_their_elements_are_aligned() {
        for (element, first, log2, references) in [
            (field(StorageType::I8), 8, 0, false),
            (val(ValType::I64), 8, 3, false),
            (val(ValType::V128), 16, 4, false),
            (val(ValType::EXTERNREF), 8, 2, true),
            (val(ValType::FUNCREF), 8, 3, false),
        ] {
            let layout = ArrayLayout::new(&ArrayType { element });
            let expected = ArrayLayout {
                first,
                element_size_log2: log2,
                references,
            };
            assert_eq!(layout, expected);
        }
        let bytes = ArrayLayout::new(&ArrayType {
            element: val(ValType::V128),
        });
        assert_eq!(bytes.size(u32::MAX), 16 + 16 * u64::from(u32::MAX));
    }
}
