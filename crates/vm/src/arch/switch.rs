//! Switching between stacks on x86-64.
//!
//! Of two stacks that take turns one runs; where the other continues is in their *link*, a word that holds its stack pointer:
//!
//! ```text
//!   link ---> +----------------+
//!             | address        |  where it continues
//!             +----------------+
//!             | rbp            |
//!             +----------------+
//!             | rbx            |
//!             +----------------+
//!             | frames         |
//! ```
//!
//! The compiler saves all other registers that it needs, as for a call.
//!
//! # Jumps and returns
//!
//! A processor predicts where a `ret` goes from the `call`s it has seen. [`switch`] jumps, so the calls made on a stack before it was
//! suspended are still what the processor remembers when it runs again, unless the other stack has made or returned from calls
//! meanwhile. That is why everything that a driver does between two switches is either inlined where the switch is or a call that
//! returns before it. A driver's function that returns after one switch and is called again before the next costs two mispredicted
//! returns, its own and then one on the other stack: together 10 ns, as much as everything else about two switches.
//! One side is enough: what the other remembers is then right whatever it does. [`begin`] and [`end`] are a call and its return, for stacks that never switch in between.
//!
//! # Invariant
//!
//! What a link points at was put there by one of these functions, and is used once.

use std::arch::{asm, naked_asm};

/// What runs at the root of a stack: gets the link and the argument of [`begin`]. It must not unwind and ends with [`end`].
pub(crate) type Root = unsafe extern "C" fn(link: *mut usize, argument: *mut u8) -> !;

/// Continues the other stack, until that does the same. Returns whether it has [ended](end).
///
/// # Safety
/// `link` is the link between this stack and another that has begun and not ended.
#[inline(always)]
pub(crate) unsafe fn switch(link: *mut usize) -> bool {
    let ended: usize;
    // SAFETY: the other stack finds what it has saved, and this one what is saved here when it is switched to.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "lea rcx, [rip + 2f]",
            "push rcx",
            "mov rcx, [rdi]",
            "mov [rdi], rsp",
            "mov rsp, rcx",
            "xor esi, esi",
            "pop rcx",
            "jmp rcx",
            "2:",
            "pop rbp",
            "pop rbx",
            inout("rdi") link => _,
            lateout("rsi") ended,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
    ended != 0
}

/// Runs `root` on a stack whose highest address, a multiple of 16, is in `link`, until it switches back. Returns whether it has
/// [ended](end).
///
/// # Safety
/// The stack is not in use and large enough; `root` may be called with the link and the argument.
#[inline(always)]
pub(crate) unsafe fn begin(link: *mut usize, root: Root, argument: *mut u8) -> bool {
    let ended: usize;
    // SAFETY: as for `switch`; `first` does its other half.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "call {first}",
            "pop rbp",
            "pop rbx",
            first = sym first,
            inout("rdi") link => _,
            inout("rsi") argument => ended,
            inout("rdx") root => _,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
    ended != 0
}

/// The beginning of a stack, and the end of a walk over its frames.
///
/// # Safety
/// Only for [`begin`].
#[unsafe(naked)]
unsafe extern "C" fn first(link: *mut usize, argument: *mut u8, root: Root) {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rcx, [rdi]",
        "mov [rdi], rsp",
        "mov rsp, rcx",
        "xor ebp, ebp",
        "lea rcx, [rip + 2f]",
        "push rcx",
        "jmp rdx",
        "2:",
        "ud2",
        ".cfi_endproc",
    )
}

/// Leaves this stack for good.
///
/// # Safety
/// `link` is the link between this stack and the one that drives it. Nothing on this stack needs dropping. Called by the root.
#[inline(always)]
pub(crate) unsafe fn end(link: *mut usize) -> ! {
    // SAFETY: the other stack finds what it has saved.
    unsafe {
        asm!(
            "mov rsp, [rdi]",
            "mov esi, 1",
            "ret",
            in("rdi") link,
            options(noreturn),
        )
    }
}

/// Calls `function(argument)` on another stack, from its stack pointer `to` down. Notes the stack pointer of this one, below which
/// nothing is used during the call, at `from`.
///
/// # Safety
/// The other stack is free below `to` and large enough; `function` may be called with the argument and does not unwind.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_on_stack(
    function: unsafe extern "C" fn(*mut u8),
    argument: *mut u8,
    to: usize,
    from: *mut usize,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov [rcx], rsp",
        "mov rsp, rdx",
        "and rsp, -16",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}
