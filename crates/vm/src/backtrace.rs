//! What is known of a guest that stopped: its frames, and the memory access that failed.

use crate::code::{CodeLocation, CompiledModule};
use crate::error::Error;
use crate::registry;
use crate::store::StoreInner;
use cowling_abi::{FuncIndex, Trap};
use std::fmt;
use std::sync::Arc;

/// One frame of a guest function. One that was inlined has one like any other, though its code is in that of another function.
#[derive(Clone)]
pub struct BacktraceFrame {
    module: Arc<CompiledModule>,
    func: FuncIndex,
    /// Where the code is, that of a function that was inlined in the function that it is in now.
    location: CodeLocation,
    at: At,
}

/// Which operator of a function is being executed.
#[derive(Copy, Clone, Debug)]
enum At {
    /// The one whose code it is.
    Code,
    /// A call that was replaced by what it calls, at this offset in the binary if that is known.
    Inlined(Option<u32>),
}

impl BacktraceFrame {
    /// Adds the frames of the functions that an address inside an instruction belongs to, innermost first. The frame found before is
    /// probably of the same module.
    fn find(pc: usize, frames: &mut Vec<BacktraceFrame>) {
        let before = frames.last();
        let same = before.filter(|before| before.module.text_offset(pc).is_some());
        let module = match same {
            Some(before) => Some(before.module.clone()),
            None => registry::module_at(pc),
        };
        let Some(module) = module else {
            return;
        };
        let Some(location) = module.lookup_pc(pc) else {
            return;
        };
        let mut at = At::Code;
        for inlined in module.inlined_at(location.text_offset()) {
            frames.push(BacktraceFrame {
                module: module.clone(),
                func: inlined.func,
                location,
                at,
            });
            at = At::Inlined(inlined.call);
        }
        frames.push(BacktraceFrame {
            func: location.func,
            module,
            location,
            at,
        });
    }

    /// The function's module.
    pub fn module(&self) -> &Arc<CompiledModule> {
        &self.module
    }

    /// The module's name, if the binary gives it one.
    pub fn module_name(&self) -> Option<&str> {
        self.module.info().name.as_deref()
    }

    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.func.as_u32()
    }

    /// The function's name as the binary has it, if it gives one.
    pub fn func_name(&self) -> Option<&str> {
        self.module.function_name(self.func)
    }

    /// Offset in bytes in the WebAssembly binary of the operator being executed, if known.
    pub fn module_offset(&self) -> Option<u32> {
        match self.at {
            At::Code => self.module.binary_offset(self.location.text_offset()),
            At::Inlined(call) => call,
        }
    }

    /// Offset in bytes of the operator being executed from the start of the function's body in the WebAssembly binary, if known.
    pub fn func_offset(&self) -> Option<u32> {
        let start = self.module.body_start(self.func)?;
        self.module_offset()?.checked_sub(start)
    }

    /// Offset in bytes of the instruction being executed from the start of the function's machine code; if the function was inlined, of that
    /// which it was inlined into.
    pub fn code_offset(&self) -> u32 {
        self.location.offset
    }

    /// Offset in bytes of the instruction being executed from the start of the module's machine code.
    pub fn text_offset(&self) -> u32 {
        self.location.text_offset()
    }
}

impl BacktraceFrame {
    /// Writes the frame for people, the function under this name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_as(&self, f: &mut fmt::Formatter<'_>, name: Option<&str>) -> fmt::Result {
        if let Some(offset) = self.module_offset() {
            write!(f, "{offset:#8x} - ")?;
        }
        write!(f, "{}!", self.module_name().unwrap_or("<unnamed>"))?;
        match name {
            Some(name) => write!(f, "{}", Demangled(name)),
            None => write!(f, "<function {}>", self.func_index()),
        }
    }
}

impl fmt::Display for BacktraceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_as(f, self.func_name())
    }
}

impl fmt::Debug for BacktraceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BacktraceFrame({self})")
    }
}

/// Shows the name of a function as its author wrote it, as far as the way it was mangled is known.
#[derive(Copy, Clone, Debug)]
pub struct Demangled<'a>(pub &'a str);

impl fmt::Display for Demangled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the hash that Rust puts behind its names.
        write!(f, "{:#}", rustc_demangle::demangle(self.0))
    }
}

/// Stands for frames that are missing.
const CUT: &str = "\n  ...: further functions, not recorded";

/// The guest functions that were active when a guest stopped, or when somebody asked, innermost first.
#[derive(Clone, Debug)]
pub struct Backtrace {
    why: Why,
    frames: Vec<BacktraceFrame>,
    cut_after: Option<usize>,
    pc: Option<usize>,
}

/// Why there is a backtrace.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Why {
    /// The guest stopped.
    Stopped,
    /// Somebody asked; nothing has happened to the guest.
    Asked,
}

impl Backtrace {
    /// From addresses inside instructions of guest code, of which each may be in several functions. Addresses of trampolines, and of modules that are gone, are left out.
    /// `cut_after`: after so many of them others are missing.
    fn from_addresses(why: Why, addresses: &[usize], cut_after: Option<usize>) -> Backtrace {
        let (before, after) = addresses.split_at(cut_after.unwrap_or(0));
        let mut frames = Vec::with_capacity(addresses.len());
        let find = |frames: &mut Vec<BacktraceFrame>, addresses: &[usize]| {
            for &pc in addresses {
                BacktraceFrame::find(pc, frames);
            }
        };
        find(&mut frames, before);
        let cut_after = cut_after.map(|_| frames.len());
        find(&mut frames, after);
        Backtrace {
            why,
            frames,
            cut_after,
            pc: addresses.first().copied(),
        }
    }

    /// The guest functions that are active in a store now: those that called the host function that asks.
    pub fn capture(store: &StoreInner) -> Backtrace {
        Self::from_addresses(Why::Asked, &store.execution().backtrace(), None)
    }

    /// Leaves out all but the innermost frames.
    pub fn truncate(&mut self, frames: usize) {
        if frames < self.frames.len() {
            self.frames.truncate(frames);
            self.cut_after = Some(self.cut_after.map_or(frames, |cut| cut.min(frames)));
        }
    }

    /// Address of the machine instruction in the innermost guest function that was being executed, or an address inside it if it
    /// is a call. `None` if no guest function was active.
    pub fn pc(&self) -> Option<usize> {
        self.pc
    }

    /// The frames, innermost first. Not all of a guest that was deep in calls: see [`cut_after`](Self::cut_after).
    pub fn frames(&self) -> &[BacktraceFrame] {
        &self.frames
    }

    /// After how many of the frames others are missing, if any are. Of a guest that traps, at most 64 frames are noted, the
    /// innermost, and with each those of the functions inlined into it; if it was called by a host function that another guest called, the frames of that come behind the gap.
    pub fn cut_after(&self) -> Option<usize> {
        self.cut_after
    }

    /// Writes the frames for people, each as `write_frame` writes the one of this number.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_with(
        &self,
        f: &mut fmt::Formatter<'_>,
        write_frame: impl Fn(&mut fmt::Formatter<'_>, usize) -> fmt::Result,
    ) -> fmt::Result {
        if self.why == Why::Stopped {
            f.write_str("guest stopped; ")?;
        }
        if self.frames.is_empty() && self.cut_after.is_none() {
            return f.write_str("wasm backtrace: no guest function is active");
        }
        f.write_str("wasm backtrace, innermost function first:")?;
        for number in 0..self.frames.len() {
            if self.cut_after == Some(number) {
                f.write_str(CUT)?;
            }
            write!(f, "\n  {number:3}: ")?;
            write_frame(f, number)?;
        }
        match self.cut_after == Some(self.frames.len()) {
            true => f.write_str(CUT),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_with(f, |f, number| self.frames[number].fmt(f))
    }
}

/// Where a guest was when it was stopped.
#[derive(Debug)]
pub struct StoppedAt {
    addresses: Vec<usize>,
    cut_after: Option<usize>,
}

impl StoppedAt {
    pub(crate) fn new(addresses: Vec<usize>, cut_after: Option<usize>) -> StoppedAt {
        StoppedAt {
            addresses,
            cut_after,
        }
    }

    /// The functions that were active. `None` if none was.
    pub fn backtrace(&self) -> Option<Backtrace> {
        let backtrace = Backtrace::from_addresses(Why::Stopped, &self.addresses, self.cut_after);
        (!backtrace.frames.is_empty()).then_some(backtrace)
    }
}

/// Adds what is known of a guest that was stopped to the error it was stopped with. No reference to the store is alive then but this
/// one. What an inner call of the same guest has added already includes the frames further out.
pub type Describe = fn(&StoreInner, Error, StoppedAt) -> Error;

/// Adds the [`Backtrace`].
pub fn describe_plainly(_: &StoreInner, error: Error, at: StoppedAt) -> Error {
    match at.backtrace() {
        Some(backtrace) if !error.is::<Backtrace>() => error.context(backtrace),
        _ => error,
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
            let own = size.saturating_add(knobs.memory_guard_size);
            (offset < reserved.max(own)).then_some(MemoryFault {
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
