//! What is known of a guest that stopped: its frames, and the memory access that failed.

use crate::code::{CodeLocation, CompiledModule};
use crate::registry;
use crate::store::StoreInner;
use cowling_abi::Trap;
use std::fmt;
use std::sync::Arc;

/// One frame of a guest function.
#[derive(Clone)]
pub struct FrameInfo {
    module: Arc<CompiledModule>,
    location: CodeLocation,
}

impl FrameInfo {
    /// The module's name, if the binary gives it one.
    pub fn module_name(&self) -> Option<&str> {
        self.module.info().name.as_deref()
    }

    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.location.func.as_u32()
    }

    /// The function's name as the binary has it, if it gives one.
    pub fn func_name(&self) -> Option<&str> {
        self.module.function_name(self.location.func)
    }

    /// Offset in bytes in the WebAssembly binary of the operator being executed, if known.
    pub fn module_offset(&self) -> Option<usize> {
        self.location.wasm_offset.map(|offset| offset as usize)
    }

    /// Offset in bytes of the instruction being executed from the start of the function's machine code.
    pub fn code_offset(&self) -> u32 {
        self.location.offset
    }
}

impl fmt::Display for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(offset) = self.module_offset() {
            write!(f, "{offset:#8x} - ")?;
        }
        write!(f, "{}!", self.module_name().unwrap_or("<unnamed>"))?;
        match self.func_name() {
            // Without the hash that Rust puts behind its names.
            Some(name) => write!(f, "{:#}", rustc_demangle::demangle(name)),
            None => write!(f, "<function {}>", self.func_index()),
        }
    }
}

impl fmt::Debug for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameInfo({self})")
    }
}

/// Stands for frames that are missing.
const CUT: &str = "\n  ...: further functions, not recorded";

/// The guest functions that were active when a guest stopped, innermost first.
#[derive(Clone, Debug)]
pub struct WasmBacktrace {
    frames: Vec<FrameInfo>,
    cut_after: Option<usize>,
    pc: Option<usize>,
}

impl WasmBacktrace {
    /// From addresses inside instructions of guest code. Addresses of trampolines, and of modules that are gone, are left out.
    /// `cut_after`: after so many of them others are missing.
    pub(crate) fn from_addresses(addresses: &[usize], cut_after: Option<usize>) -> WasmBacktrace {
        let frame = |&pc: &usize| {
            let module = registry::module_at(pc)?;
            let location = module.lookup_pc(pc)?;
            Some(FrameInfo { module, location })
        };
        let (before, after) = addresses.split_at(cut_after.unwrap_or(0));
        let mut frames: Vec<FrameInfo> = before.iter().filter_map(frame).collect();
        let cut_after = cut_after.map(|_| frames.len());
        frames.extend(after.iter().filter_map(frame));
        WasmBacktrace {
            frames,
            cut_after,
            pc: addresses.first().copied(),
        }
    }

    /// The guest functions that are active in a store now: those that called the host function that asks.
    #[doc(hidden)]
    pub fn capture(store: &StoreInner) -> WasmBacktrace {
        Self::from_addresses(&store.execution().backtrace(), None)
    }

    /// Address of the machine instruction in the innermost guest function that was being executed, or an address inside it if it
    /// is a call. `None` if no guest function was active.
    pub fn pc(&self) -> Option<usize> {
        self.pc
    }

    /// The frames, innermost first. Not all of a guest that was deep in calls: see [`cut_after`](Self::cut_after).
    pub fn frames(&self) -> &[FrameInfo] {
        &self.frames
    }

    /// After how many of the frames others are missing, if any are. Of a guest that traps, at most 64 frames are noted, the
    /// innermost; if it was called by a host function that another guest called, the frames of that come behind the gap.
    pub fn cut_after(&self) -> Option<usize> {
        self.cut_after
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("guest stopped; wasm backtrace, innermost function first:")?;
        for (number, frame) in self.frames.iter().enumerate() {
            if self.cut_after == Some(number) {
                f.write_str(CUT)?;
            }
            write!(f, "\n  {number:3}: {frame}")?;
        }
        match self.cut_after == Some(self.frames.len()) {
            true => f.write_str(CUT),
            false => Ok(()),
        }
    }
}

/// The access that a guest's memory trap was about.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct MemoryFault {
    memory: u32,
    offset: u64,
    size: u64,
}

impl MemoryFault {
    /// The memory's index in the module that defines it.
    pub fn memory(&self) -> u32 {
        self.memory
    }

    /// Offset in bytes from the start of the memory.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Size of the memory in bytes when it was accessed.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The memory of a store whose address space contains an address.
    pub(crate) fn find(store: &StoreInner, address: usize) -> Option<MemoryFault> {
        let knobs = &store.config().knobs;
        let reserved = knobs
            .memory_reservation
            .saturating_add(knobs.memory_guard_size);
        store.memory_ranges().find_map(|(memory, base, size)| {
            let offset = address.checked_sub(base)? as u64;
            let memory = memory.as_u32();
            (offset < reserved.max(size)).then_some(MemoryFault {
                memory,
                offset,
                size,
            })
        })
    }
}

/// A guest accessed an address that belongs to none of its memories, which compiled code cannot do: something is broken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FatalFault {
    address: usize,
}

impl FatalFault {
    /// The address.
    pub fn address(&self) -> usize {
        self.address
    }

    /// For a trap of an access to an address of which nothing is known.
    pub(crate) fn of(trap: Trap, address: usize) -> Option<FatalFault> {
        // Other traps are raised by looking at address 0, or at the guard of a stack.
        (trap == Trap::MemoryOutOfBounds).then_some(FatalFault { address })
    }
}

impl fmt::Display for FatalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        write!(
            f,
            "access at address {address:#x}, which is in no memory of the guest"
        )
    }
}

impl fmt::Display for MemoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryFault { offset, size, .. } = self;
        write!(
            f,
            "access at {offset:#x} of a linear memory of {size:#x} bytes"
        )
    }
}
