//! The garbage-collected heap as compiled code sees it.
//!
//! ```text
//!                      | header of null | nothing accessible |  objects, 16-aligned ...         |
//!   table of starts    |  8 bytes, 0    |                    |  | header | fields or elements | |
//!   ^ STARTS_DISTANCE below base        ^ base (null)        ^ HEAP_FIRST       ^ reference
//! ```
//!
//! A reference to an object is the distance from the heap's base to the object's contents, which begin behind its header. So
//! what is `o` bytes from an object's start ([`crate::gc_layout`] counts from there) is at `base + reference + o - 8`. For null
//! that reads a header of zeros, which names no type and a length of 0, and any other access faults.
//!
//! Memory is given to compiled code as ranges of zeros, of which it takes what it needs from the front. To make an object it
//!
//! 1. compares [`VmGcHeap::next`] plus the object's size with [`VmGcHeap::limit`], and asks the runtime if that is more;
//! 2. advances `next`;
//! 3. writes the header, and [`VmGcHeap::cycle`] into the table of starts at the object's granule;
//! 4. writes the contents that are not 0.
//!
//! The order makes it harmless to end a guest in between. A guest that is stopped in between and will continue keeps the store
//! from collecting, and the host from using `next`.

/// The contents of an object begin so many bytes behind its start: its header.
pub const HEADER_SIZE: u32 = 8;

/// Bytes in a granule. Objects start at multiples of this.
pub const GRANULE: u32 = 16;

/// Bytes in a line: what is free or not as a whole.
pub const LINE_SIZE: u32 = 256;

/// Offset of the first object there may be. Up to here nothing can be accessed.
pub const HEAP_FIRST: u32 = 64 << 10;

/// Offsets of objects are below this.
pub const HEAP_LIMIT: u32 = 1 << 31;

/// Distance from the table of starts, which has a byte for each granule from offset 0 on, up to the heap's base.
pub const STARTS_DISTANCE: u32 = HEAP_LIMIT / GRANULE + HEAP_LIMIT / LINE_SIZE + 4096;

/// Objects of this size and above are made by the runtime.
pub const LARGE_OBJECT: u32 = 8 << 10;

/// What compiled code knows of a store's heap.
#[repr(C)]
#[derive(Debug)]
pub struct VmGcHeap {
    /// What references count from. Set before any code runs that uses the heap, and never changed then.
    pub base: *mut u8,
    /// The reference that the next object gets.
    pub next: u64,
    /// The reference that an object would get that starts behind the range.
    pub limit: u64,
    /// Number of the current cycle.
    pub cycle: u32,
    /// The object that the runtime made last because it was asked to.
    pub made: u32,
}

/// The header of null where there is no heap, and a place behind it.
static NULL: [u64; 2] = [0; 2];

impl VmGcHeap {
    /// No heap: it has room for nothing. The header of null can be read.
    pub const fn none() -> VmGcHeap {
        VmGcHeap {
            base: std::ptr::from_ref(&NULL[1]).cast_mut().cast(),
            next: 0,
            limit: 0,
            cycle: 0,
            made: 0,
        }
    }
}
