//! Stacks that the embedder makes.
//!
//! ```text
//!   guard_range()             range()                                top(), the end of the range
//!   | inaccessible, 64 KiB   | host reserve | guest stack ...... | ROOM bytes |
//! ```
//!
//! The layout is that of the runtime's own stacks, which `stack` draws: a stack of the embedder's is made large enough for the
//! room above the base.

use crate::error::Error;
use crate::slot::MapError;
use crate::stack::{STACK_GUARD, StackSpec};
use crate::sys::PAGE_SIZE;
use std::ops::Range;

/// Makes the stacks that guests, and the host functions they call, run on: see `Config::with_host_stack`.
///
/// # Safety
///
/// Each stack is new, as large as was asked for, and keeps what [`StackMemory`] asks for. The memory safety of the program depends
/// on it.
pub unsafe trait StackCreator: Send + Sync {
    /// Makes a stack of at least `size` bytes, a multiple of the system's page size; its guard comes on top of that. `zeroed` says
    /// that it must be filled with zeros.
    ///
    /// # Errors
    /// When there is no room. What needed the stack fails with it.
    fn new_stack(&self, size: usize, zeroed: bool) -> Result<Box<dyn StackMemory>, Error>;
}

/// A stack that the embedder has made.
///
/// # Safety
///
/// From when it is made until it is dropped the bytes of its [`range`](Self::range) may be read and written, and nobody else does. The
/// bytes of its [`guard_range`](Self::guard_range), which lies directly below, fault when they are accessed. What the methods
/// return does not change.
pub unsafe trait StackMemory: Send + Sync {
    /// The address past its highest byte: that of a page.
    fn top(&self) -> *mut u8;

    /// The addresses that may be used.
    fn range(&self) -> Range<usize>;

    /// The addresses of its guard: at least 64 KiB, as compiled code touches the stack that often, but not each page.
    fn guard_range(&self) -> Range<*mut u8>;
}

/// A stack of the embedder's, with where its guard begins and ends and where it ends itself.
pub(crate) struct MadeStack {
    pub(crate) memory: Box<dyn StackMemory>,
    pub(crate) guard: Range<usize>,
    pub(crate) top: usize,
}

/// Has a stack made with so many bytes, and checks it.
///
/// # Errors
/// When it is not made, or not as it should be; it is dropped then.
pub(crate) fn made_stack(
    creator: &dyn StackCreator,
    spec: StackSpec,
    room: usize,
) -> Result<MadeStack, MapError> {
    const WHAT: &str = "a guest stack";
    let bytes = spec.usable_bytes(room);
    let bytes = bytes.ok_or(MapError::TooLarge { what: WHAT })?;
    let failed = |reason: String| MapError::Supplied {
        what: WHAT,
        bytes,
        reason,
    };
    let made = creator.new_stack(bytes, true);
    let memory = made.map_err(|error| failed(format!("{error:#}")))?;
    let (range, top) = (memory.range(), memory.top().addr());
    let guard = memory.guard_range();
    let guard = guard.start.addr()..guard.end.addr();
    let wrong = match () {
        () if top != range.end => format!("its top {top:#x} is not where its range ends"),
        () if !top.is_multiple_of(PAGE_SIZE) || !range.start.is_multiple_of(PAGE_SIZE) => {
            format!("its range {range:#x?} is not whole pages")
        }
        () if range.len() < bytes => format!("it has {} bytes", range.len()),
        () if guard.end != range.start => {
            format!("its guard {guard:#x?} is not directly below its range {range:#x?}")
        }
        () if guard.len() < STACK_GUARD => {
            format!("its guard has {} bytes of {STACK_GUARD}", guard.len())
        }
        () => return Ok(MadeStack { memory, guard, top }),
    };
    Err(failed(wrong))
}
