//! The artifact: one ELF image that holds a compiled module, the same in memory and on disk.
//!
//! ```text
//!   ELF header
//!   .text              machine code, page aligned: function bodies, entry trampolines, host shims
//!   .cowling.header    Header: who made it, for what machine, with which settings, checksums
//!   .cowling.info      ModuleInfo (postcard)
//!   .cowling.funcs     FunctionTable: where each defined function's code is
//!   .cowling.tramps    TrampolineTable: where each type's entry trampoline and host shim are
//!   .cowling.traps     TrapTable: which trap an instruction means
//!   .cowling.catches   ExceptionTable: what to do when an exception passes a call
//!   .cowling.addrs     AddressMap: which byte of the binary an instruction comes from
//!   .cowling.inlined   InlineTable: which code comes from functions that were inlined
//!   .cowling.names     NameTable: function names
//!   .cowling.data      bytes of data segments that are applied or used at run time
//!   .cowling.image     memory images, page aligned, mapped copy-on-write
//!   .cowling.debug     DebugSections: debug information of the binary, if it is wanted
//!   .eh_frame          unwind information for debuggers and profilers
//!   ---- end of the image ----
//!   Trailer            a signature over the image, if somebody signed it: see `signature.rs`
//! ```
//!
//! Lookup tables are read in place: loading does nothing per function. Numbers are little-endian. All text offsets are from the
//! start of `.text`.
//!
//! Each table has its `encode` beside the reader that understands it, so that a format is in one place.

mod debug;
mod exceptions;
mod header;
mod inlined;
mod places;
mod signature;
mod tables;

pub use debug::{DebugSections, NAMES as DEBUG_SECTION_NAMES};
pub use exceptions::{CallSite, Catch, ExceptionTable};
pub use header::{Header, HeaderError, MAGIC};
pub use inlined::{InlineTable, InlinedCall};
pub use places::{AddressMap, TrapTable};
pub use signature::{NoTrailer, Trailer};
pub use tables::{CodeRange, FunctionTable, NameTable, TrampolineOffsets, TrampolineTable};

/// Machine code.
pub const SECTION_TEXT: &str = ".text";
/// [`Header`]
pub const SECTION_HEADER: &str = ".cowling.header";
/// [`crate::ModuleInfo`], postcard-encoded.
pub const SECTION_INFO: &str = ".cowling.info";
/// [`FunctionTable`]
pub const SECTION_FUNCTIONS: &str = ".cowling.funcs";
/// [`TrampolineTable`]
pub const SECTION_TRAMPOLINES: &str = ".cowling.tramps";
/// [`TrapTable`]
pub const SECTION_TRAPS: &str = ".cowling.traps";
/// [`ExceptionTable`]
pub const SECTION_EXCEPTIONS: &str = ".cowling.catches";
/// [`AddressMap`]
pub const SECTION_ADDRESSES: &str = ".cowling.addrs";
/// [`InlineTable`]
pub const SECTION_INLINED: &str = ".cowling.inlined";
/// [`NameTable`]
pub const SECTION_NAMES: &str = ".cowling.names";
/// Bytes of data segments that are used at run time.
pub const SECTION_DATA: &str = ".cowling.data";
/// Memory images.
pub const SECTION_IMAGE: &str = ".cowling.image";
/// [`DebugSections`]
pub const SECTION_DEBUG: &str = ".cowling.debug";
/// Unwind information.
pub const SECTION_EH_FRAME: &str = ".eh_frame";

/// Alignment in the file of `.text`, `.cowling.image`, and of each memory image in it: a page of the machine.
pub const IMAGE_ALIGN: u64 = 4096;
