//! The stack a guest runs on.
//!
//! ```text
//!   guard_start        guard_end = limit()                     base        end
//!   | guard, 64 KiB    | host reserve | guest stack ........... | ROOM bytes |  grows down from base
//! ```
//!
//! Guest functions do not check for overflow: whoever runs past the limit hits the guard, frames larger than the guard are probed
//! page by page. The host is called only while its reserve is left, so with a reasonable host function the guard is hit by guests.
//!
//! The room above the base is for what the store notes of the computation on it: an allocation less, in a page that is there anyway.
//!
//! A stack that the embedder has made has the same parts, at least as large.
//!
//! Invariant: the guard lies directly below the stack, and both belong to one mapping, or to the embedder's memory, that outlives
//! every [`StackBounds`] in use.

use crate::embedder::{StackCreator, StackMemory, made_stack};
use crate::slot::MapError;
use crate::sys::mapping::{Mapping, Protection};
use crate::sys::round_up_to_page;
use std::fmt;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;

/// Inaccessible bytes below a stack. Compiled code probes larger frames.
pub(crate) const STACK_GUARD: usize = 64 << 10;

/// Bytes above the base, for a [`Computation`](crate::suspend::Computation).
pub(crate) const ROOM: usize = 384;

/// The smallest stack there is.
const MINIMUM: usize = 32 << 10;

/// How large a stack is wanted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StackSpec {
    /// Usable bytes, without the guard; rounded up to pages.
    pub(crate) bytes: usize,
}

impl StackSpec {
    /// A stack for guest code with this many bytes, and on top of them what host functions are promised.
    pub(crate) fn new(max_wasm_stack: u64, host_stack_reserve: u64) -> StackSpec {
        let bytes = max_wasm_stack.saturating_add(host_stack_reserve);
        StackSpec {
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// Bytes of address space it takes, guard included, [`ROOM`] not, or `None` if that overflows.
    pub(crate) fn mapped_bytes(self) -> Option<usize> {
        self.usable_bytes(0)?.checked_add(STACK_GUARD)
    }

    /// Bytes without the guard, with so many above the base: whole pages. `None` if that overflows.
    pub(crate) fn usable_bytes(self, room: usize) -> Option<usize> {
        round_up_to_page(self.bytes.max(MINIMUM).checked_add(room)?)
    }
}

/// Where a stack is. Only addresses: whoever runs on it keeps its [`GuestStack`] alive.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackBounds {
    guard_start: NonZeroUsize,
    guard_end: NonZeroUsize,
    base: NonZeroUsize,
}

/// Offset of the base in [`StackBounds`], for the assembly.
pub(crate) const BASE: usize = std::mem::offset_of!(StackBounds, base);

impl StackBounds {
    /// Lowest usable address.
    pub(crate) fn limit(&self) -> usize {
        self.guard_end.get()
    }

    /// The address past the highest byte.
    pub(crate) fn base(&self) -> usize {
        self.base.get()
    }

    /// Is this address in the guard?
    pub(crate) fn guard_contains(&self, address: usize) -> bool {
        (self.guard_start.get()..self.guard_end.get()).contains(&address)
    }

    /// May this be a stack pointer of code that runs on this stack, or has just overflowed it?
    #[inline]
    pub(crate) fn contains(&self, stack_pointer: usize) -> bool {
        (self.guard_start.get()..=self.base.get()).contains(&stack_pointer)
    }

    /// Can a word be read at this address?
    pub(crate) fn holds_word(&self, address: usize) -> bool {
        address.is_multiple_of(align_of::<usize>())
            && address >= self.guard_end.get()
            && address
                .checked_add(size_of::<usize>())
                .is_some_and(|end| end <= self.base.get())
    }
}

/// A stack with what it is part of.
pub(crate) struct GuestStack {
    bounds: StackBounds,
    backing: Backing,
}

/// What a stack is part of.
enum Backing {
    Mapping(Arc<Mapping>),
    Embedder(Box<dyn StackMemory>),
}

impl fmt::Debug for GuestStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestStack")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

impl GuestStack {
    /// Maps a stack on its own.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn new(spec: StackSpec) -> Result<GuestStack, MapError> {
        const WHAT: &str = "a guest stack";
        let bytes = spec
            .mapped_bytes()
            .and_then(|bytes| bytes.checked_add(ROOM));
        let bytes = bytes.and_then(round_up_to_page);
        let bytes = bytes.ok_or(MapError::TooLarge { what: WHAT })?;
        let mapping = Mapping::reserve(bytes).map_err(MapError::system(WHAT, bytes))?;
        // SAFETY: the mapping is new, nobody uses it yet.
        unsafe { mapping.protect(STACK_GUARD..bytes, Protection::ReadWrite) }
            .map_err(MapError::system(WHAT, bytes - STACK_GUARD))?;
        Ok(Self::within(&Arc::new(mapping), 0, bytes - ROOM))
    }

    /// Has the embedder make a stack.
    ///
    /// # Errors
    /// When it does not, or the stack is not as it should be.
    pub(crate) fn supplied(
        creator: &dyn StackCreator,
        spec: StackSpec,
    ) -> Result<GuestStack, MapError> {
        let made = made_stack(creator, spec, ROOM)?;
        let address = |address: usize| {
            NonZeroUsize::new(address).ok_or(MapError::Supplied {
                what: "a guest stack",
                bytes: spec.bytes,
                reason: "it begins at address 0".into(),
            })
        };
        Ok(GuestStack {
            bounds: StackBounds {
                guard_start: address(made.guard.start)?,
                guard_end: address(made.guard.end)?,
                base: address(made.top - ROOM)?,
            },
            backing: Backing::Embedder(made.memory),
        })
    }

    /// The bytes of a mapping from `start` to `base`, of which all but the guard are accessible, as a stack. Behind it are
    /// [`ROOM`] more.
    pub(crate) fn within(mapping: &Arc<Mapping>, start: usize, base: usize) -> GuestStack {
        debug_assert!(base - start > STACK_GUARD, "a stack is more than its guard");
        let at = |offset| mapping.at(offset).addr();
        GuestStack {
            bounds: StackBounds {
                guard_start: at(start),
                guard_end: at(start + STACK_GUARD),
                base: at(base),
            },
            backing: Backing::Mapping(mapping.clone()),
        }
    }

    /// [`ROOM`] bytes, at an address that is a multiple of 64. Nothing but stores that have the stack uses them.
    pub(crate) fn room(&self) -> NonNull<u8> {
        match &self.backing {
            Backing::Mapping(mapping) => {
                mapping.at(self.bounds.base() - mapping.base().addr().get())
            }
            Backing::Embedder(memory) => {
                let place = memory.top().with_addr(self.bounds.base());
                // SAFETY: the base is not 0.
                unsafe { NonNull::new_unchecked(place) }
            }
        }
    }

    /// Where it is.
    pub(crate) fn bounds(&self) -> StackBounds {
        self.bounds
    }

    /// Is it part of this mapping?
    pub(crate) fn is_in(&self, mapping: &Arc<Mapping>) -> bool {
        matches!(&self.backing, Backing::Mapping(own) if Arc::ptr_eq(own, mapping))
    }
}
