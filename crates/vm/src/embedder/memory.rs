//! Linear memories that the embedder makes.
//!
//! ```text
//!   as_ptr()      byte_size()               byte_capacity()
//!   | accessible  | inaccessible .......... | inaccessible: guard |
//!   0             rounded up to pages       at least what was reserved, if that was asked for
//! ```

use crate::error::Error;
use crate::memory::{ImageSource, MemoryGrowError};
use crate::sys::{PAGE_SIZE, round_up_to_page};
use cowling_abi::MemoryType;
use cowling_abi::layout::VmMemory;
use cowling_abi::plan::MemoryPlan;
use std::fmt;
use std::ops::Range;
use std::ptr::{self, NonNull};

/// A linear memory that the embedder has made: bytes that one guest, and the host functions it calls, read and write.
///
/// # Safety
///
/// From when it is made until it is dropped:
///
/// * [`as_ptr`](Self::as_ptr) is the address of a page, and the [`byte_size`](Self::byte_size) bytes there may be read and
///   written. Nobody else reads or writes them, and what has not been written is 0.
/// * The bytes behind these, up to `reserved_size_in_bytes` or, without that, to [`byte_capacity`](Self::byte_capacity), and the
///   `guard_size_in_bytes` behind that, fault when they are accessed: compiled code relies on it where it does not check an access.
///   Both sizes are those that [`new_memory`] was given.
/// * Size, capacity and address change in [`grow_to`](Self::grow_to) only. The address does not if the new size is at most the
///   capacity, and never if a reservation was asked for. When it does, the contents move with it.
///
/// [`new_memory`]: CreateMemory::create
pub unsafe trait LinearMemory: Send + Sync + 'static {
    /// Its size in bytes.
    fn byte_size(&self) -> usize;

    /// The size in bytes up to which it grows without moving.
    fn byte_capacity(&self) -> usize;

    /// Makes it larger: `new_size` bytes. What is new is 0.
    ///
    /// # Errors
    /// When it cannot; it is as it was then. The guest is told that the memory did not grow.
    fn grow_to(&mut self, new_size: usize) -> Result<(), Error>;

    /// Address of its first byte.
    fn as_ptr(&self) -> *mut u8;
}

/// What a memory should be. Sizes are in bytes.
#[derive(Copy, Clone, Debug)]
pub struct MemoryRequest {
    /// Its type.
    pub ty: MemoryType,
    /// Its size.
    pub minimum: usize,
    /// The most it may ever have, if its type says that.
    pub maximum: Option<usize>,
    /// How much address space has to be kept for it. It never moves then.
    pub reserved: Option<usize>,
    /// How many bytes behind it must be inaccessible.
    pub guard: usize,
}

/// Makes linear memories. What embedders implement is declared by [`memory_creator!`](crate::memory_creator) in terms of this.
///
/// # Safety
/// The memories are what was asked for, and nothing else uses them.
pub unsafe trait CreateMemory: Send + Sync {
    /// Makes a memory.
    ///
    /// # Errors
    /// When it cannot, with the reason.
    fn create(&self, request: MemoryRequest) -> Result<Box<dyn LinearMemory>, String>;
}

/// Declares a trait like [`CreateMemory`] for the memory type of an API, in a crate that forbids unsafe code, and `HostMemories`, which
/// makes a [`CreateMemory`] of an implementation. The memory type has a function `from_abi`; the brackets are for documentation.
#[macro_export]
macro_rules! memory_creator {
    (for $ty:ty; trait: [$($trait:tt)*] new_memory: [$($new_memory:tt)*]) => {
        $($trait)*
        pub unsafe trait MemoryCreator: Send + Sync {
            $($new_memory)*
            fn new_memory(
                &self,
                ty: $ty,
                minimum: usize,
                maximum: Option<usize>,
                reserved_size_in_bytes: Option<usize>,
                guard_size_in_bytes: usize,
            ) -> Result<Box<dyn $crate::LinearMemory>, String>;
        }

        /// A [`MemoryCreator`] as the runtime wants it.
        pub(crate) struct HostMemories(pub(crate) std::sync::Arc<dyn MemoryCreator>);

        // SAFETY: whoever implements `MemoryCreator` makes the same promise.
        unsafe impl $crate::CreateMemory for HostMemories {
            fn create(
                &self,
                request: $crate::MemoryRequest,
            ) -> Result<Box<dyn $crate::LinearMemory>, String> {
                let $crate::MemoryRequest {
                    ty,
                    minimum,
                    maximum,
                    reserved,
                    guard,
                } = request;
                self.0
                    .new_memory(<$ty>::from_abi(ty), minimum, maximum, reserved, guard)
            }
        }
    };
}

/// A memory of the embedder's is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostMemoryError {
    /// Its maker refused.
    #[error("the embedder's memory creator made no memory of {bytes} bytes: {reason}")]
    Refused {
        /// How many bytes were asked for.
        bytes: usize,
        /// The reason it gave.
        reason: String,
    },
    /// It is too large for any address space.
    #[error("the memory is larger than the address space")]
    TooLarge,
    /// It has another size.
    #[error("the embedder's memory has {found} bytes where {wanted} were asked for")]
    Size {
        /// What it says it has.
        found: usize,
        /// What it should have.
        wanted: usize,
    },
    /// It would have to move, which it must not.
    #[error("the embedder's memory has room for {found} bytes where {wanted} were to be reserved")]
    Capacity {
        /// Its capacity in bytes.
        found: usize,
        /// The least it must have.
        wanted: usize,
    },
    /// Its address is null, or not that of a page.
    #[error("the embedder's memory is at address {0:#x}, which is not that of a page")]
    Address(usize),
    /// It has moved although it had promised not to.
    #[error("the embedder's memory moved when it grew to {0} bytes, although it had room for them")]
    Moved(usize),
}

/// A memory that the embedder has made. Sizes are in bytes.
pub(crate) struct HostMemory {
    memory: Box<dyn LinearMemory>,
    /// What `memory` said last.
    base: NonNull<u8>,
    capacity: usize,
    byte_len: usize,
    maximum: usize,
    /// Bytes that were asked for, guard included.
    requested: usize,
    movable: bool,
    /// Does code check its accesses, and keep what it needs for that in registers?
    kept: bool,
    image: Option<Range<usize>>,
}

impl fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMemory")
            .field("base", &self.base)
            .field("byte_len", &self.byte_len)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl HostMemory {
    /// Has a memory made, at its minimum size, and copies its image there.
    ///
    /// # Errors
    /// When it is not made, or not as it should be; it is dropped then.
    pub(crate) fn new(
        creator: &dyn CreateMemory,
        plan: &MemoryPlan,
        ty: &MemoryType,
        image: Option<ImageSource<'_>>,
    ) -> Result<HostMemory, HostMemoryError> {
        let size = |bytes: u64| usize::try_from(bytes).map_err(|_| HostMemoryError::TooLarge);
        let pages = |bytes| round_up_to_page(size(bytes)?).ok_or(HostMemoryError::TooLarge);
        let minimum = size(ty.minimum_bytes().ok_or(HostMemoryError::TooLarge)?)?;
        let most = usize::try_from(ty.maximum_bytes()).unwrap_or(usize::MAX);
        let reserved = match plan.movable {
            true => None,
            false => {
                let reservation = plan.initial_reservation(ty);
                Some(pages(reservation.ok_or(HostMemoryError::TooLarge)?)?)
            }
        };
        let request = MemoryRequest {
            ty: *ty,
            minimum,
            maximum: ty.maximum.map(|_| most),
            reserved,
            guard: pages(plan.guard)?,
        };
        let requested = reserved.unwrap_or(0).saturating_add(request.guard);
        let memory = creator
            .create(request)
            .map_err(|reason| HostMemoryError::Refused {
                bytes: minimum,
                reason,
            })?;
        let base = page_address(memory.as_ptr())?;
        check_size(memory.byte_size(), minimum)?;
        let capacity = memory.byte_capacity();
        let wanted = reserved.map_or(minimum, |reserved| reserved.min(most));
        if capacity < wanted {
            return Err(HostMemoryError::Capacity {
                found: capacity,
                wanted,
            });
        }
        let mut this = HostMemory {
            memory,
            base,
            capacity,
            byte_len: minimum,
            maximum: most.min(reserved.unwrap_or(isize::MAX as usize)),
            requested,
            movable: plan.movable,
            kept: !plan.guarded,
            image: None,
        };
        if let Some(image) = image.filter(|image| !image.bytes.is_empty()) {
            let end = image.memory_offset.checked_add(image.bytes.len());
            // The last page of an image may reach behind a memory that is not whole pages; what does is 0.
            let end = end.ok_or(HostMemoryError::TooLarge)?.min(minimum);
            let range = image.memory_offset.min(end)..end;
            // SAFETY: the range is in the memory, which its maker promises is accessible and nobody else's.
            unsafe {
                let to = this.base.as_ptr().add(range.start);
                ptr::copy_nonoverlapping(image.bytes.as_ptr(), to, range.len());
            }
            this.image = Some(range);
        }
        Ok(this)
    }

    /// Lets it have at most so many bytes, or what it has.
    pub(crate) fn limit(&mut self, most: usize) {
        self.maximum = self.maximum.min(most.max(self.byte_len));
    }

    /// Its addresses, with those reserved for it and its guard.
    pub(crate) fn addresses(&self) -> Range<usize> {
        let base = self.base.addr().get();
        base..base.saturating_add(self.requested.max(self.capacity).max(self.byte_len))
    }

    /// Size in bytes.
    pub(crate) fn byte_len(&self) -> usize {
        self.byte_len
    }

    /// Does code check its accesses, and keep what it needs for that in registers?
    pub(crate) fn is_kept_in_registers(&self) -> bool {
        self.kept
    }

    /// What compiled code must know of it.
    pub(crate) fn record(&self) -> VmMemory {
        VmMemory {
            base: self.base.as_ptr(),
            byte_len: self.byte_len,
            shared_len: ptr::null(),
        }
    }

    /// Makes it `new_len` bytes long, which is at least what it has.
    ///
    /// # Errors
    /// When it does not grow. If it has broken a promise with that, it may be elsewhere: compiled code must be told.
    pub(crate) fn grow(&mut self, new_len: usize) -> Result<(), MemoryGrowError> {
        if new_len > self.maximum {
            return Err(MemoryGrowError::BeyondMaximum {
                wanted: new_len,
                maximum: self.maximum,
            });
        }
        let grown = self.memory.grow_to(new_len);
        if let Err(error) = grown {
            return Err(MemoryGrowError::Refused(format!("{error:#}")));
        }
        let before = self.base;
        self.base = page_address(self.memory.as_ptr())?;
        let size = self.memory.byte_size();
        if let Err(error) = check_size(size, new_len) {
            self.byte_len = self.byte_len.min(size);
            return Err(error.into());
        }
        if self.base != before && (!self.movable || new_len <= self.capacity) {
            return Err(HostMemoryError::Moved(new_len).into());
        }
        self.capacity = self.memory.byte_capacity();
        self.byte_len = new_len;
        Ok(())
    }

    /// Zeroes what the image filled.
    pub(crate) fn undo_image(&mut self) {
        if let Some(range) = self.image.take() {
            // SAFETY: `&mut self`: nobody uses the memory, and the range is in it.
            unsafe {
                let start = self.base.as_ptr().add(range.start);
                ptr::write_bytes(start, 0, range.len());
            }
        }
    }
}

/// An address, if it is that of a page.
fn page_address(address: *mut u8) -> Result<NonNull<u8>, HostMemoryError> {
    let aligned = NonNull::new(address).filter(|_| address.addr().is_multiple_of(PAGE_SIZE));
    aligned.ok_or(HostMemoryError::Address(address.addr()))
}

/// Has a memory as many bytes as it should? It may have whole pages where less was asked for.
fn check_size(found: usize, wanted: usize) -> Result<(), HostMemoryError> {
    match found == wanted || Some(found) == round_up_to_page(wanted) {
        true => Ok(()),
        false => Err(HostMemoryError::Size { found, wanted }),
    }
}
