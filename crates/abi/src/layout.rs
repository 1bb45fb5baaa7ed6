//! The VMContext: the memory that compiled code reads and writes directly.
//!
//! A VMContext is the tail of an instance's allocation, and is named by the address where it *ends*: the last thing in it is the
//! same for every module, the arrays in front of it depend on the module. A memory in the slot begins where the VMContext ends, so that
//! the context register is the address of the memory's first byte. Hot things come last: what is less than 128 bytes
//! away is reached by the shortest instructions.
//!
//! ```text
//!  vmctx - size()  | imported exception tags                 [*mut VmTag]
//!  (64-aligned)    | defined exception tags                  [VmTag]
//!                  | funcrefs of escaping functions          [VmFuncRef]
//!                  | imported functions                      [VmFuncImport]
//!                  | imported tables                         [*mut VmTable]
//!                  | defined tables                          [VmTable]
//!                  | imported globals                        [*mut VmGlobal]
//!                  | defined globals                         [VmGlobal]       (16-aligned)
//!                  | imported memories                       [*mut VmMemory]
//!                  | defined memories                        [VmMemory]
//!                  | magic, store, builtins, types           VmHeader
//!  vmctx        -> +---------------------------------------------------------------------------
//!  (64-aligned)    | memory 0                                (only one whose plan says `MemoryBase::Slot`)
//! ```
//!
//! Records are `#[repr(C)]` structs here; the compiler takes offsets from them with [`core::mem::offset_of`], the runtime uses
//! the same structs. Nothing is written down twice.

use crate::gc_heap::VmGcHeap;
use crate::gc_layout::GcLayout;
use crate::index::*;
use crate::module::ModuleInfo;
use std::mem::{align_of, offset_of, size_of};
use std::sync::atomic::AtomicUsize;

/// Last word of every VMContext: catches wrong pointer arithmetic.
pub const VM_MAGIC: u32 = u32::from_le_bytes(*b"cowl");

/// The VMContext itself, named by the address of its end: only ever used behind a pointer, its size depends on the module.
#[repr(C, align(64))]
pub struct VmContext {
    _only_behind_a_pointer: [u8; 0],
}

impl VmContext {
    /// The part every module has.
    #[inline]
    pub fn header(context: *mut VmContext) -> *mut VmHeader {
        context
            .wrapping_byte_offset(VmHeader::OFFSET as isize)
            .cast()
    }
}

/// The end of every VMContext.
#[repr(C, align(16))]
pub struct VmHeader {
    /// The types of the engine: what is known of each, by its id.
    pub type_rows: *const TypeRow,
    /// For each [`TypeIndex`] of the module the engine-wide id (`u32`) of that type.
    pub type_ids: *const u32,
    /// Addresses of the functions in [`crate::builtins`], in order of their number.
    pub builtins: *const usize,
    /// The store this instance lives in.
    pub store: *mut StoreContext,
    /// The runtime's record of the instance. Of no interest to compiled code.
    pub instance: *mut u8,
    /// The instance's place in its store, by which the runtime finds out whose it is. Of no interest to compiled code.
    pub place: u32,
    /// [`VM_MAGIC`]
    pub magic: u32,
}

impl VmHeader {
    /// Where the header is, from the VMContext's address.
    pub const OFFSET: i32 = -(size_of::<VmHeader>() as i32);

    /// Where [`VmHeader::store`] is, from the VMContext's address.
    pub const STORE: i32 = VmHeader::OFFSET + offset_of!(VmHeader, store) as i32;
}

/// What compiled code and the collector know of a type: one for each id of the engine. The rows of an engine do not move. Id 0 is no
/// type's; a row that is all zeros is no type's either.
#[repr(C, align(64))]
#[derive(Debug, Clone)]
pub struct TypeRow {
    /// How many types are above this one: 0 to [`MAX_SUBTYPING_DEPTH`](crate::types::MAX_SUBTYPING_DEPTH).
    pub depth: u32,
    /// [`TypeRow::FUNC`], [`TypeRow::STRUCT`] or [`TypeRow::ARRAY`].
    pub kind: u32,
    /// Id of the type it is declared a subtype of, or 0.
    pub supertype: u32,
    /// The type and those above it, each at its own depth; 0 where there is none. So a type is below another of a depth less than
    /// [`DISPLAY_LEN`] if that one is at its depth here. What is deeper is found through `supertype`.
    pub display: [u32; DISPLAY_LEN],
    /// Where the contents of its objects lie; null for function types. Valid as long as the type is alive.
    pub layout: *const GcLayout,
}

/// How many types a [`TypeRow`] lists.
pub const DISPLAY_LEN: usize = 11;

impl TypeRow {
    /// Kind of a function type.
    pub const FUNC: u32 = 1;
    /// Kind of a struct type.
    pub const STRUCT: u32 = 2;
    /// Kind of an array type.
    pub const ARRAY: u32 = 3;
}

const _: () = assert!(size_of::<TypeRow>() == 64);

/// State of a store that compiled code touches. The runtime embeds it as the first field of a larger struct.
#[repr(C)]
#[derive(Debug)]
pub struct StoreContext {
    /// Frame pointer of the guest frame that called the host or a builtin last: where a backtrace starts.
    pub exit_fp: usize,
    /// Return address into that guest frame.
    pub exit_pc: usize,
    /// Lowest stack pointer at which the host may still be called.
    pub host_stack_limit: usize,
    /// Fuel that guest code may use before it has to ask for more, in modules that count it ([`crate::builtins`] says where the
    /// count is when). Negative when guest code has used more.
    pub fuel: i64,
    /// The garbage-collected heap.
    pub gc_heap: VmGcHeap,
}

/// A linear memory as compiled code sees it.
#[repr(C)]
#[derive(Debug)]
pub struct VmMemory {
    /// Address of byte 0.
    pub base: *mut u8,
    /// Current size in bytes. For a shared memory the bytes that are reserved for it, which never change; what lies behind its
    /// size faults.
    pub byte_len: usize,
    /// Where a shared memory's current size in bytes is; null for others.
    pub shared_len: *const AtomicUsize,
}

/// A global's value; which bytes count depends on its type. References are stored as described at [`VmValue`].
#[repr(C, align(16))]
#[derive(Debug, Copy, Clone)]
pub struct VmGlobal {
    /// Little-endian value, from byte 0.
    pub bytes: [u8; 16],
}

/// A table as compiled code sees it.
///
/// A table of functions has elements of 8 bytes: 0 means *not built yet* (call
/// [`table_get_func`](crate::builtins::BuiltinIndex::table_get_func)), otherwise the address of a [`VmFuncRef`] (or 0 for null)
/// with [`TABLE_ELEMENT_BUILT`] set. Any other table has elements of 4 bytes: the references themselves.
#[repr(C)]
#[derive(Debug)]
pub struct VmTable {
    /// Address of element 0.
    pub base: *mut u8,
    /// Current size in elements.
    pub len: usize,
}

/// Bit set in an element of a function table once it has been built.
pub const TABLE_ELEMENT_BUILT: usize = 1;

/// Bytes of an element in a table of functions.
pub const FUNC_ELEMENT_SIZE: usize = 8;

/// Bytes of an element in any other table.
pub const OBJECT_ELEMENT_SIZE: usize = 4;

/// An imported function, resolved: its *import record*.
///
/// Every call passes `ctx` as its context. For a function of another instance that is its VMContext. For a host function it is
/// the address of this very record, from which the closure, the calling instance and the store are found, so that calls between
/// guest functions carry one context and no more.
#[repr(C)]
#[derive(Debug)]
pub struct VmFuncImport {
    /// Code to call, in the guest convention ([`crate::builtins`] describes the conventions).
    pub code: *const u8,
    /// Context to call it with.
    pub ctx: *mut u8,
    /// The host function, or null for a guest function. Points at a [`VmHostFunc`].
    pub host: *const VmHostFunc,
    /// The instance that imports it, or null when a host function became a funcref without being imported.
    pub caller: *mut VmContext,
    /// The store.
    pub store: *mut StoreContext,
    /// Signature-specific entry trampoline, see [`VmFuncRef::entry`].
    pub entry: *const u8,
    /// Engine-wide id of its type.
    pub type_id: u32,
    /// 1 more than the place in the store of what keeps the host function, if that is not this instance; 0 otherwise. Of no
    /// interest to compiled code.
    pub keeper: u32,
}

/// The head of a host function: what a module's host shim reads.
#[repr(C)]
#[derive(Debug)]
pub struct VmHostFunc {
    /// `extern "C" fn(record: *const VmFuncImport, values: *mut VmValue)`: reads the arguments from `values`, leaves the results
    /// there. Does not return when the function fails: it raises the trap itself.
    pub call: *const u8,
}

/// What a reference to a function points at. 32 bytes.
#[repr(C)]
#[derive(Debug)]
pub struct VmFuncRef {
    /// Code to call, in the guest convention.
    pub code: *const u8,
    /// Context to call it with: a VMContext or the address of a [`VmFuncImport`] of a host function.
    pub ctx: *mut u8,
    /// Entry trampoline for its signature: `extern "C" fn(ctx, code, values: *mut VmValue)`.
    pub entry: *const u8,
    /// Engine-wide id of its type.
    pub type_id: u32,
    /// 1 if `ctx` is the import record of a host function, 0 if it is a VMContext. Compiled code does not care.
    pub is_host: u32,
}

/// An exception tag. Its identity is its address: an importer points at the tag of the instance that defines it.
#[repr(C)]
#[derive(Debug)]
pub struct VmTag {
    /// Engine-wide id of the function type that declares it.
    pub type_id: u32,
    /// The place in the store of the instance that defines it. Of no interest to compiled code.
    pub place: u32,
}

/// A value in memory, as trampolines pass them: 16 bytes, little-endian from byte 0. References are as
/// [`HeapType`](crate::types::HeapType) has them: 8 bytes to functions, 4 to anything else. Bytes past the value's width are unspecified.
#[repr(C, align(16))]
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct VmValue {
    /// The value's bytes.
    pub bytes: [u8; 16],
}

macro_rules! value_accessors {
    ($($get:ident $from:ident $ty:ty;)*) => {
        impl VmValue {$(
            #[doc = concat!("Reads it as `", stringify!($ty), "`.")]
            #[inline]
            pub fn $get(&self) -> $ty {
                let mut bytes = [0; size_of::<$ty>()];
                bytes.copy_from_slice(&self.bytes[..size_of::<$ty>()]);
                <$ty>::from_le_bytes(bytes)
            }

            #[doc = concat!("A value that holds this `", stringify!($ty), "`.")]
            #[inline]
            pub fn $from(value: $ty) -> VmValue {
                let mut out = VmValue::default();
                out.bytes[..size_of::<$ty>()].copy_from_slice(&value.to_le_bytes());
                out
            }
        )*}
    };
}

value_accessors! {
    i32 from_i32 i32;
    u32 from_u32 u32;
    i64 from_i64 i64;
    u64 from_u64 u64;
    f32 from_f32 f32;
    f64 from_f64 f64;
    u128 from_u128 u128;
}

/// Where things are in the VMContext of one module: offsets from its address, so all of them are negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmLayout {
    memories: i32,
    imported_memories: i32,
    globals: i32,
    imported_globals: i32,
    tables: i32,
    imported_tables: i32,
    imported_functions: i32,
    funcrefs: i32,
    tags: i32,
    imported_tags: i32,
    size: u32,
}

macro_rules! element_offsets {
    ($($(#[$doc:meta])* $name:ident($index:ident: $Index:ty) = $field:ident [$Record:ty];)*) => {
        impl VmLayout {$(
            $(#[$doc])*
            pub fn $name(&self, $index: $Index) -> i32 {
                self.$field + ($index.as_u32() * size_of::<$Record>() as u32) as i32
            }
        )*}
    };
}

element_offsets! {
    /// Offset of a defined memory's [`VmMemory`].
    defined_memory(index: DefinedMemoryIndex) = memories [VmMemory];
    /// Offset of the pointer to an imported memory's [`VmMemory`].
    imported_memory(index: MemoryIndex) = imported_memories [*mut VmMemory];
    /// Offset of a defined global's [`VmGlobal`].
    defined_global(index: DefinedGlobalIndex) = globals [VmGlobal];
    /// Offset of the pointer to an imported global's [`VmGlobal`].
    imported_global(index: GlobalIndex) = imported_globals [*mut VmGlobal];
    /// Offset of a defined table's [`VmTable`].
    defined_table(index: DefinedTableIndex) = tables [VmTable];
    /// Offset of the pointer to an imported table's [`VmTable`].
    imported_table(index: TableIndex) = imported_tables [*mut VmTable];
    /// Offset of an imported function's [`VmFuncImport`].
    imported_function(index: FuncIndex) = imported_functions [VmFuncImport];
    /// Offset of an escaping function's [`VmFuncRef`].
    funcref(index: FuncRefIndex) = funcrefs [VmFuncRef];
    /// Offset of a defined exception tag's [`VmTag`].
    defined_tag(index: DefinedTagIndex) = tags [VmTag];
    /// Offset of the pointer to an imported exception tag's [`VmTag`].
    imported_tag(index: TagIndex) = imported_tags [*mut VmTag];
}

impl VmLayout {
    /// Computes the layout for a module, or `None` if it would pass 1 GiB (validation limits keep real modules far below).
    pub fn new(info: &ModuleInfo) -> Option<VmLayout> {
        let mut taken = size_of::<VmHeader>() as u64;
        let mut array = |count: usize, size: usize, align: usize| {
            taken = (taken + count as u64 * size as u64).next_multiple_of(align as u64);
            (taken as i32).wrapping_neg()
        };
        fn pointers(count: u32) -> (usize, usize, usize) {
            (count as usize, size_of::<usize>(), align_of::<usize>())
        }
        macro_rules! records {
            ($count:expr, $Record:ty) => {
                array($count, size_of::<$Record>(), align_of::<$Record>())
            };
        }
        macro_rules! pointers {
            ($count:expr) => {{
                let (count, size, align) = pointers($count);
                array(count, size, align)
            }};
        }
        let layout = VmLayout {
            memories: records!(info.defined_memory_count(), VmMemory),
            imported_memories: pointers!(info.imported_memories),
            globals: records!(info.defined_global_count(), VmGlobal),
            imported_globals: pointers!(info.imported_globals),
            tables: records!(info.defined_table_count(), VmTable),
            imported_tables: pointers!(info.imported_tables),
            imported_functions: records!(info.imported_functions as usize, VmFuncImport),
            funcrefs: records!(info.escaping_functions as usize, VmFuncRef),
            tags: records!(info.defined_tag_count(), VmTag),
            imported_tags: pointers!(info.imported_tags),
            size: 0,
        };
        let size = taken.next_multiple_of(align_of::<VmContext>() as u64);
        (size <= 1 << 30).then_some(VmLayout {
            size: size as u32,
            ..layout
        })
    }

    /// How many bytes the VMContext takes in front of its address: a multiple of 64.
    pub fn size(&self) -> u32 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::FunctionInfo;
    use crate::types::*;

    #[test]
    fn arrays_follow_each_other_without_overlap() {
        let mut info = ModuleInfo::default();
        let ty = info.push_type(FuncType {
            params: [].into(),
            results: [].into(),
        });
        for _ in 0..3 {
            info.functions.push(FunctionInfo { ty, funcref: None });
        }
        info.imported_functions = 2;
        info.mark_escaping(FuncIndex::from_u32(2));
        let global = GlobalType {
            content: ValType::I32,
            mutable: true,
        };
        info.globals.push(global);
        info.globals.push(global);
        info.imported_globals = 1;
        let layout = VmLayout::new(&info).unwrap();
        assert_eq!(
            layout.defined_global(DefinedGlobalIndex::from_u32(0)) % 16,
            0
        );
        // What comes first in the list of fields is nearest.
        let after_memories = layout.defined_memory(DefinedMemoryIndex::from_u32(0));
        assert_eq!(after_memories, VmHeader::OFFSET);
        let import1 = layout.imported_function(FuncIndex::from_u32(1));
        let tables = layout.imported_table(TableIndex::from_u32(0));
        assert_eq!(import1 + size_of::<VmFuncImport>() as i32, tables);
        let funcref0 = layout.funcref(FuncRefIndex::from_u32(0));
        let import0 = layout.imported_function(FuncIndex::from_u32(0));
        assert_eq!(funcref0 + size_of::<VmFuncRef>() as i32, import0);
        assert!(funcref0 >= -(layout.size() as i32));
        assert_eq!(layout.size() % 64, 0);
    }

    #[test]
    fn values_round_trip() {
        assert_eq!(VmValue::from_f64(-0.5).f64(), -0.5);
        assert_eq!(VmValue::from_i32(-1).u32(), u32::MAX);
        assert_eq!(VmValue::from_u128(1 << 100).u128(), 1 << 100);
    }
}
