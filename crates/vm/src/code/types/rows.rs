//! What is known of each type of an engine, where compiled code and the collector can read it without a lock.
//!
//! ```text
//!   base (never moves)                     committed
//!   | none | type 1 | type 2 | ... | type n | zeros | reserved, inaccessible ...                |
//!     id 0                                                                          MAX_TYPES rows
//! ```
//!
//! # Invariant
//!
//! A row is written while nobody has its id, and not changed as long as somebody does: who has an id got it through a lock that was
//! taken after the row was written. Every field is read and written as an atomic, so reading by an id that is nobody's any more
//! gives an answer that means nothing, and does no harm.

use crate::sys::mapping::{Mapping, Protection};
use cowling_abi::layout::{DISPLAY_LEN, TypeRow};
use std::alloc::{Layout, handle_alloc_error};
use std::io;
use std::mem::{offset_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Most types that may be alive in an engine at once. Address space for their rows is reserved: 1 GiB.
pub(super) const MAX_TYPES: usize = 1 << 24;

/// Rows made accessible at once: 64 KiB of them.
const STEP: usize = 1 << 10;

/// The rows of an engine.
#[derive(Debug)]
pub(crate) struct TypeRows {
    mapping: Mapping,
    /// How many rows are accessible.
    committed: AtomicUsize,
}

impl TypeRows {
    /// Reserves room.
    ///
    /// # Errors
    /// When there is no address space.
    pub(super) fn new() -> io::Result<TypeRows> {
        let mapping = Mapping::reserve(MAX_TYPES * size_of::<TypeRow>())?;
        let rows = TypeRows {
            mapping,
            committed: AtomicUsize::new(0),
        };
        rows.commit(1)?;
        Ok(rows)
    }

    /// Address of row 0.
    pub(crate) fn base(&self) -> *const TypeRow {
        self.mapping.base().as_ptr().cast()
    }

    fn commit(&self, count: usize) -> io::Result<()> {
        let committed = self.committed.load(Ordering::Relaxed);
        let wanted = count.next_multiple_of(STEP);
        if wanted <= committed {
            return Ok(());
        }
        let size = size_of::<TypeRow>();
        // SAFETY: nobody uses rows past `committed`.
        unsafe {
            (self.mapping).protect(committed * size..wanted * size, Protection::ReadWrite)?;
        }
        self.committed.store(wanted, Ordering::Release);
        Ok(())
    }

    fn row(&self, id: u32) -> Option<NonNull<TypeRow>> {
        let offset = id as usize * size_of::<TypeRow>();
        ((id as usize) < self.committed.load(Ordering::Acquire))
            .then(|| self.mapping.at(offset).cast())
    }

    fn word(row: NonNull<TypeRow>, offset: usize) -> &'static AtomicU32 {
        debug_assert!(offset < size_of::<TypeRow>() && offset.is_multiple_of(4));
        // SAFETY: the word is inside a row, which is accessible from when it is committed until the rows are dropped; callers do not
        // keep the reference for longer than a statement. All accesses to it are atomic, or those of compiled code.
        unsafe { AtomicU32::from_ptr(row.as_ptr().byte_add(offset).cast()) }
    }

    fn load(row: NonNull<TypeRow>, offset: usize) -> u32 {
        Self::word(row, offset).load(Ordering::Relaxed)
    }

    /// Writes a row. Running out of memory is as it is for every other allocation.
    ///
    /// # Panics
    /// If the id is not below [`MAX_TYPES`].
    pub(super) fn write(&self, id: u32, new: &TypeRow) {
        assert!((id as usize) < MAX_TYPES, "too many types");
        if self.commit(id as usize + 1).is_err() {
            handle_alloc_error(Layout::new::<[TypeRow; STEP]>());
        }
        let Some(row) = self.row(id) else {
            unreachable!("rows up to this one were committed")
        };
        let store = |offset, value| Self::word(row, offset).store(value, Ordering::Relaxed);
        store(offset_of!(TypeRow, depth), new.depth);
        store(offset_of!(TypeRow, kind), new.kind);
        store(offset_of!(TypeRow, supertype), new.supertype);
        for (place, above) in new.display.iter().enumerate() {
            store(offset_of!(TypeRow, display) + place * 4, *above);
        }
        // SAFETY: the field is inside the row, and nobody has the row's id, as the caller holds the registry's lock.
        unsafe { (&raw mut (*row.as_ptr()).layout).write(new.layout) };
    }

    /// A type's kind; 0 for an id that was never given out.
    pub(super) fn kind(&self, id: u32) -> u32 {
        let row = self.row(id);
        row.map_or(0, |row| Self::load(row, offset_of!(TypeRow, kind)))
    }

    /// A type's depth and what its display lists. Zeros for an id that was never given out.
    pub(super) fn display(&self, id: u32) -> (u32, [u32; DISPLAY_LEN]) {
        let Some(row) = self.row(id) else {
            return (0, [0; DISPLAY_LEN]);
        };
        let above = |place| Self::load(row, offset_of!(TypeRow, display) + place * 4);
        let depth = Self::load(row, offset_of!(TypeRow, depth));
        (depth, std::array::from_fn(above))
    }

    /// Is a type, or one above it, the other? Takes no lock.
    pub(crate) fn is_subtype(&self, below: u32, above: u32) -> bool {
        if below == above {
            return true;
        }
        let (Some(mut row), Some(target)) = (self.row(below), self.row(above)) else {
            return false;
        };
        let depth = |row| Self::load(row, offset_of!(TypeRow, depth));
        let target_depth = depth(target);
        if let Some(offset) = (target_depth as usize)
            .checked_mul(4)
            .filter(|offset| *offset < DISPLAY_LEN * 4)
        {
            return Self::load(row, offset_of!(TypeRow, display) + offset) == above;
        }
        while depth(row) > target_depth {
            let next = Self::load(row, offset_of!(TypeRow, supertype));
            if next == above {
                return true;
            }
            match self.row(next) {
                // Deeper rows have a supertype; a row that is nobody's any more may say anything.
                Some(next) if depth(next) < depth(row) => row = next,
                _ => return false,
            }
        }
        false
    }
}
