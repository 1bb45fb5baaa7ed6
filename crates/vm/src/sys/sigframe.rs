//! What the kernel saved when it interrupted a thread, kept for longer than its signal handler runs.
//!
//! ```text
//!   what the kernel puts on the handler's stack          the copy, in a SaveArea
//!     return address                                       0   ucontext (304 bytes of the kernel's)
//!     ucontext: registers, mask, alternate stack,              ...
//!               fpregs ----+                             320   xstate: x87, SSE, and what the processor has beyond
//!     siginfo              |                                   ...
//!     xstate  <------------+  multiple of 64             320 + extended_size
//! ```
//!
//! `rt_sigreturn` takes everything from such a frame: registers, flags, vector state. It finds the ucontext at the stack pointer,
//! and the xstate by `fpregs`, which the copy has pointing to its own. How large the xstate is depends on the processor: bytes
//! 464 to 511 of it, which the processor does not use, hold a magic word, the size of all, and what is in it; a second magic
//! word ends it.
//!
//! Two things in the frame belong to the thread and not to what it ran: the signal mask and the alternate stack.
//! They are replaced by those of the thread that continues.
//!
//! A third one is not replaced: the rights of protection keys (PKRU), which are part of the xstate, at a place that differs between
//! processors. A guest continues with those of the thread that it was interrupted on, so an embedder that uses protection keys has to
//! give the same rights to all threads on which it resumes guests; `docs/guest.md` says so.
//!
//! Invariant: a copy is continued at most once, and by code of this module's choice of registers only where [`redirect`] was used.
//!
//! [`redirect`]: Interrupted::redirect

use super::PAGE_SIZE;
use super::mapping::{Mapping, Protection};
use super::thread;
use std::arch::naked_asm;
use std::io;
use std::mem::offset_of;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

/// Bytes of the kernel's ucontext: the C library's is longer.
const UCONTEXT: usize = offset_of!(libc::ucontext_t, uc_sigmask) + 8;
/// Where the xstate is in a copy.
const XSTATE: usize = UCONTEXT.next_multiple_of(64);
/// The xstate of processors without more.
const FXSTATE: usize = 512;
/// Where in it the kernel's own words begin.
const SOFTWARE: usize = 464;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// Enough for every processor there is, on kernels that do not say how much is.
const MOST: usize = 16 << 10;

/// Bytes a [`SaveArea`] needs, in whole pages.
fn area_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        // SAFETY: asks for a number.
        let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        let frame = if frame == 0 { MOST } else { frame + 1024 };
        (XSTATE + frame).next_multiple_of(PAGE_SIZE)
    })
}

/// A stack for the runtime's code that handles an interruption, and above it room for what the kernel saved.
///
/// ```text
///   | guard page | stack, 64 KiB | saved registers |
/// ```
#[derive(Debug)]
pub(crate) struct SaveArea {
    mapping: Mapping,
    saved: Range<usize>,
}

/// Bytes of the stack.
const STACK: usize = 64 << 10;

impl SaveArea {
    /// Maps one.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn new() -> io::Result<SaveArea> {
        let start = PAGE_SIZE + STACK;
        let end = start + area_bytes();
        let mapping = Mapping::reserve(end)?;
        // SAFETY: nobody uses the new mapping yet.
        unsafe { mapping.protect(PAGE_SIZE..end, Protection::ReadWrite)? };
        Ok(SaveArea {
            mapping,
            saved: start..end,
        })
    }

    /// The highest address of the stack: a multiple of 16.
    pub(crate) fn stack_base(&self) -> usize {
        self.saved().start
    }

    /// Addresses of what is saved.
    pub(crate) fn saved(&self) -> Range<usize> {
        let base = self.mapping.base().addr().get();
        base + self.saved.start..base + self.saved.end
    }

    fn frame(&self) -> *mut libc::ucontext_t {
        self.mapping.at(self.saved.start).as_ptr().cast()
    }

    /// A register of what is saved, by its number in the C library.
    ///
    /// # Safety
    /// Something is saved.
    pub(crate) unsafe fn register(&self, index: i32) -> u64 {
        // SAFETY: the area is mapped and large enough; the registers were copied there.
        unsafe { (*self.frame()).uc_mcontext.gregs[index as usize] as u64 }
    }

    /// Changes a register of what is saved.
    ///
    /// # Safety
    /// Something is saved, and whoever continues there can do with the value.
    pub(crate) unsafe fn set_register(&self, index: i32, value: u64) {
        // SAFETY: as above.
        unsafe { (*self.frame()).uc_mcontext.gregs[index as usize] = value as i64 };
    }

    /// Continues what was interrupted, on this thread.
    ///
    /// # Safety
    /// Something is saved that has not been continued yet; its stack is as it was then. Nothing on the stack that this is called on
    /// needs dropping.
    pub(crate) unsafe fn resume(&self) -> ! {
        let frame = self.frame();
        // SAFETY: the calls only ask; all zeros is a valid sigset_t and stack_t. The kernel's mask is the first word of a sigset_t.
        unsafe {
            let mut mask = std::mem::zeroed::<libc::sigset_t>();
            libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask);
            let mut stack = std::mem::zeroed::<libc::stack_t>();
            libc::sigaltstack(ptr::null(), &mut stack);
            let place = (&raw mut (*frame).uc_sigmask).cast::<u64>();
            place.write((&raw const mask).cast::<u64>().read());
            (*frame).uc_stack = stack;
            sigreturn(frame)
        }
    }
}

/// Continues what a signal frame says.
#[unsafe(naked)]
unsafe extern "C" fn sigreturn(frame: *mut libc::ucontext_t) -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rsp, rdi",
        "mov eax, {number}",
        "syscall",
        "ud2",
        ".cfi_endproc",
        number = const libc::SYS_rt_sigreturn,
    )
}

/// A thread that was interrupted, as its signal handler sees it.
pub(crate) struct Interrupted<'a> {
    info: &'a libc::siginfo_t,
    context: *mut libc::ucontext_t,
}

impl Interrupted<'_> {
    /// # Safety
    /// They are what the kernel has given to the handler that runs.
    pub(super) unsafe fn new(
        info: &libc::siginfo_t,
        context: *mut libc::c_void,
    ) -> Interrupted<'_> {
        Interrupted {
            info,
            context: context.cast(),
        }
    }

    /// Was the signal sent by this runtime?
    pub(crate) fn is_ours(&self) -> bool {
        thread::sent_by_us(self.info)
    }

    /// A register, by its number in the C library.
    pub(crate) fn register(&self, index: i32) -> usize {
        // SAFETY: the kernel's pointer is valid while its handler runs.
        unsafe { (*self.context).uc_mcontext.gregs[index as usize] as usize }
    }

    /// Copies everything, so that it can be [continued](SaveArea::resume) after the handler has returned elsewhere. `false`
    /// if there is no room for it, or it does not look as expected. Async-signal-safe.
    pub(crate) fn save(&self, area: &SaveArea) -> bool {
        // SAFETY: the kernel's pointers are valid while its handler runs. What is read of the xstate is there if the words that
        // were read before say so. The area is mapped, nobody else uses it, and it is large enough for what is copied.
        unsafe {
            let from = (*self.context).uc_mcontext.fpregs.cast::<u8>();
            if from.is_null() {
                return false;
            }
            let word = |offset: usize| from.add(offset).cast::<u32>().read_unaligned();
            let bytes = match word(SOFTWARE) {
                MAGIC1 => word(SOFTWARE + 4) as usize,
                _ => FXSTATE,
            };
            let room = area.saved.len() - XSTATE;
            if bytes < FXSTATE || bytes > room {
                return false;
            }
            if bytes > FXSTATE && word(bytes - size_of::<u32>()) != MAGIC2 {
                return false;
            }
            let to = area.frame();
            ptr::copy_nonoverlapping(self.context.cast::<u8>(), to.cast::<u8>(), UCONTEXT);
            let xstate = to.cast::<u8>().add(XSTATE);
            ptr::copy_nonoverlapping(from, xstate, bytes);
            (*to).uc_mcontext.fpregs = xstate.cast();
        }
        true
    }

    /// Lets the thread go on at `function`, called with `argument`: on the stack that it is on, or on another one, which begins
    /// below a multiple of 16.
    pub(crate) fn redirect(&mut self, function: usize, argument: usize, stack: Option<usize>) {
        // SAFETY: the kernel's pointer is valid while its handler runs.
        let registers = unsafe { &mut (*self.context).uc_mcontext.gregs };
        registers[libc::REG_RIP as usize] = function as i64;
        registers[libc::REG_RDI as usize] = argument as i64;
        if let Some(base) = stack {
            // As if called: a return address was pushed. The direction flag is clear.
            registers[libc::REG_RSP as usize] = (base - size_of::<usize>()) as i64;
            registers[libc::REG_EFL as usize] &= !(1 << 10);
        }
    }
}

const _: () = assert!(UCONTEXT == 304 && size_of::<libc::stack_t>() == 24);
