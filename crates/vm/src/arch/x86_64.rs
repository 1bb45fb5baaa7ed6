//! Entering and leaving guest code on x86-64.
//!
//! The operations are
//! - [`enter_guest`] to call guest code, by its entry trampoline, so that it can be left early,
//! - [`enter_in_registers`] to do the same on another stack and without a trampoline,
//! - [`raise`] to leave it early: `enter_guest` returns,
//! - [`host_stub!`](host_stub) and others for stubs through which guest code calls the host,
//! - [`builtin_table!`](builtin_table) to make the stubs through which guest code calls the runtime,
//! - [`continue_in_handler`] to continue guest code where it catches an exception.
//!
//! # The stack while a guest runs
//!
//! ```text
//!   |                        |
//!   | frame of enter()       |  holds the Activation
//!   +------------------------+
//!   | return address         |
//!   +------------------------+
//!   | saved rbp              | <- rbp of enter_guest: Activation::entry_fp
//!   +------------------------+
//!   | saved rbx              |
//!   | saved r12              |
//!   | saved r13              |
//!   | saved r14              |
//!   | saved r15              | <- Activation::resume_sp
//!   | (not used)             | <- rsp of enter_guest, a multiple of 16
//!   +------------------------+
//!   | return address         |
//!   +------------------------+
//!   | saved rbp              | <- rbp of the entry trampoline
//!   +------------------------+
//!   | ...                    |
//!   +------------------------+
//!   | return address         |  into the entry trampoline
//!   +------------------------+
//!   | saved rbp              | <- rbp of the first guest function
//!   ~ more guest frames      ~
//!   +------------------------+
//!   | return address         |  StoreContext::exit_pc, stored by a builtin's stub
//!   +------------------------+  (rbp at that moment: StoreContext::exit_fp, the calling guest function's frame)
//!   | frames of the builtin  |
//! ```
//!
//! Every frame starts with a saved `rbp` and a return address, so one chain leads from any guest frame to `enter_guest`, whose
//! frame pointer ends the walk.
//!
//! # Leaving early
//!
//! All that `enter_guest` has to restore lies at fixed places above `resume_sp`. `raise` loads that stack pointer and does what
//! the end of `enter_guest` does. It uses nothing of the state it is called in but its argument, `rdi`:
//! a signal handler that wants the same sets the interrupted thread's `rip` to `raise` and its `rdi` to the activation.
//!
//! The guest may stop at any instruction, host code that overflows the stack too, so `raise` also restores what the calling
//! convention promises about the processor's state: the direction flag is clear, the x87 register stack is empty, and the control
//! words are as they were. Those are not saved, as whoever enters a guest is Rust code, which may run only while they have
//! their defaults. (Reading MXCSR makes the processor finish everything before; saving it took a third of a call.) Only the bits
//! that flush tiny numbers to zero are left as they are, since programs do set these. On a normal return all this is the callee's
//! business.
//!
//! # What an unwinder sees
//!
//! `enter_guest` describes its frame, so a debugger that steps out of guest code by frame pointers continues correctly into the
//! host. `raise` never returns, so it describes itself as the outermost frame. Builtin stubs make no frame: what they save goes
//! into the store. Only that of `out_of_fuel`, which keeps nearly all registers, makes one. Panics never cross any of this.

use crate::activation::{Activation, BASE, ENTRY_FP, FUNC, LINK, RESUME_SP, RUN};
use crate::host::BODY;
use cowling_abi::layout::{StoreContext, VmFuncImport, VmFuncRef, VmValue};
use std::arch::{asm, naked_asm};
use std::mem::offset_of;

/// Registers that carry integer arguments behind the first, in the guest convention and in C's.
pub(crate) const ARGUMENT_INTEGERS: usize = 5;

/// Registers that carry arguments that are floats or vectors, in both.
pub(crate) const ARGUMENT_FLOATS: usize = 8;

/// A vector in its register.
pub(crate) type Vector = std::arch::x86_64::__m128i;

/// The stack pointer, roughly.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let value: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Asks for the bytes around an address, which need not be one of anything.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: a prefetch has no effect that a program could see, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    };
}

/// What the registers hold that a called function must preserve: whatever a caller further out keeps in them.
#[inline(always)]
pub(crate) fn callee_saved_registers() -> [u64; 6] {
    let mut registers = [0; 6];
    // SAFETY: copies registers to memory.
    unsafe {
        asm!(
            "mov [{0}], rbx",
            "mov [{0} + 8], rbp",
            "mov [{0} + 16], r12",
            "mov [{0} + 24], r13",
            "mov [{0} + 32], r14",
            "mov [{0} + 40], r15",
            in(reg) &raw mut registers,
            options(nostack, preserves_flags),
        );
    }
    registers
}

/// Calls `entry(ctx, code, values)`. Returns when that returns, or [`raise`] is called for the activation.
///
/// # Safety
/// `entry`, `ctx`, `code` and `values` belong together as [`crate::activation::enter`] requires, and the activation stays where it
/// is during the call.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter_guest(
    activation: *const Activation,
    entry: *const u8,
    ctx: *mut u8,
    code: *const u8,
    values: *mut VmValue,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_offset r12, -32",
        "push r13",
        ".cfi_offset r13, -40",
        "push r14",
        ".cfi_offset r14, -48",
        "push r15",
        ".cfi_offset r15, -56",
        "mov [rdi + {resume_sp}], rsp",
        "mov [rdi + {entry_fp}], rbp",
        "sub rsp, 8",
        "mov rax, rsi",
        "mov rdi, rdx",
        "mov rsi, rcx",
        "mov rdx, r8",
        "call rax",
        "mov rbx, [rbp - 8]",
        "mov r12, [rbp - 16]",
        "mov r13, [rbp - 24]",
        "mov r14, [rbp - 32]",
        "mov r15, [rbp - 40]",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        resume_sp = const RESUME_SP,
        entry_fp = const ENTRY_FP,
    )
}

/// Calls the function at `Activation::func` on the stack of the activation's run, from its base, with everything behind the
/// activation as it is: arguments in registers. Returns what that leaves in a register; when [`raise`] was called for the
/// activation, that is nothing.
///
/// ```text
///   stack of the caller                              stack of the run
///   | return address          |
///   | saved rbp               | <-----------+        |   (not used)           | base
///   | saved rbx, r12 ... r15  | <- resume_sp '------ | rbp of the caller      | <- Activation::entry_fp
///                                = Run::link         | return address         |
///                                                    | saved rbp              | <- rbp of the guest function
/// ```
///
/// The registers are saved for [`raise`] only: a guest function that returns has preserved them, unless it counts fuel in one.
///
/// # Safety
/// The function's type [fits](crate::registers::fit) and it does not count fuel; the arguments are of its type; the activation has
/// its run, whose stack nobody uses, and stays where it is during the call.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter_in_registers() {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_offset r12, -32",
        "push r13",
        ".cfi_offset r13, -40",
        "push r14",
        ".cfi_offset r14, -48",
        "push r15",
        ".cfi_offset r15, -56",
        "mov r10, [rdi + {run}]",
        "mov r11, [rdi + {func}]",
        "mov [rdi + {resume_sp}], rsp",
        "mov [r10 + {link}], rsp",
        "mov rsp, [r10 + {base}]",
        "sub rsp, 16",
        "mov [rsp], rbp",
        "mov [rdi + {entry_fp}], rsp",
        "mov rbp, rsp",
        // The frame is where the word at rbp says: DW_CFA_def_cfa_expression { breg6 0, deref, plus_uconst 16 }.
        ".cfi_escape 0x0f, 0x05, 0x76, 0x00, 0x06, 0x23, 0x10",
        "mov rdi, [r11 + {ctx}]",
        "call [r11 + {code}]",
        "mov rsp, [rsp]",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        run = const RUN,
        func = const FUNC,
        resume_sp = const RESUME_SP,
        entry_fp = const ENTRY_FP,
        link = const LINK,
        base = const BASE,
        ctx = const offset_of!(VmFuncRef, ctx),
        code = const offset_of!(VmFuncRef, code),
    )
}

/// The body of a stub through which guests call a host function with its values in registers: `rdi` is the import record. Notes
/// where the guest is, checks that the host has its share of the stack, and jumps on. The registers of arguments stay as they
/// are.
macro_rules! host_stub {
    ($target:path) => {
        std::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, [rdi + {store}]",
            "mov r10, [rsp]",
            "mov [rax + {exit_fp}], rbp",
            "mov [rax + {exit_pc}], r10",
            "cmp rsp, [rax + {limit}]",
            "jb 2f",
            "jmp {target}",
            "2:",
            "mov rdi, rax",
            "jmp {overflow}",
            ".cfi_endproc",
            store = const std::mem::offset_of!(cowling_abi::layout::VmFuncImport, store),
            exit_fp = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_fp),
            exit_pc = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_pc),
            limit = const std::mem::offset_of!(cowling_abi::layout::StoreContext, host_stack_limit),
            target = sym $target,
            overflow = sym $crate::activation::raise_stack_overflow,
        )
    };
}
pub(crate) use host_stub;

/// The body of a function that a host shim calls: checks that the host has its share of the stack, and jumps on.
macro_rules! host_check {
    ($target:path) => {
        std::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, [rdi + {store}]",
            "cmp rsp, [rax + {limit}]",
            "jb 2f",
            "jmp {target}",
            "2:",
            "mov rdi, rax",
            "jmp {overflow}",
            ".cfi_endproc",
            store = const std::mem::offset_of!(cowling_abi::layout::VmFuncImport, store),
            limit = const std::mem::offset_of!(cowling_abi::layout::StoreContext, host_stack_limit),
            target = sym $target,
            overflow = sym $crate::activation::raise_stack_overflow,
        )
    };
}
pub(crate) use host_check;

/// The stub for all host functions with values in registers, called by guests that count fuel: it also moves the count to the store
/// and back.
///
/// # Safety
/// Only for import records, in the guest convention.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn host_stub_counting_fuel() {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "sub rsp, 8",
        "mov rbx, [rdi + {store}]",
        "mov r11, [rdi + {host}]",
        "mov rax, [rbp]",
        "mov r10, [rbp + 8]",
        "mov [rbx + {exit_fp}], rax",
        "mov [rbx + {exit_pc}], r10",
        "mov [rbx + {fuel}], r15",
        "cmp rsp, [rbx + {limit}]",
        "jb 2f",
        "call [r11 + {body}]",
        "mov r15, [rbx + {fuel}]",
        "mov rbx, [rbp - 8]",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_remember_state",
        ".cfi_def_cfa rsp, 8",
        "ret",
        "2:",
        ".cfi_restore_state",
        "mov rdi, rbx",
        "call {overflow}",
        "ud2",
        ".cfi_endproc",
        store = const offset_of!(VmFuncImport, store),
        host = const offset_of!(VmFuncImport, host),
        exit_fp = const offset_of!(StoreContext, exit_fp),
        exit_pc = const offset_of!(StoreContext, exit_pc),
        limit = const offset_of!(StoreContext, host_stack_limit),
        fuel = const offset_of!(StoreContext, fuel),
        body = const BODY,
        overflow = sym crate::activation::raise_stack_overflow,
    )
}

/// Makes the [`enter_guest`] or [`enter_in_registers`] of an activation return. (That it was raised is known by its reason.)
///
/// # Safety
/// The activation's `enter_guest` has not returned; every frame further in is given up and owns nothing any more.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn raise(activation: *const Activation) -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rsp, [rdi + {resume_sp}]",
        "cld",
        "fninit",
        "stmxcsr [rsp - 4]",
        "and dword ptr [rsp - 4], {flush_to_zero}",
        "or dword ptr [rsp - 4], {mxcsr}",
        "ldmxcsr [rsp - 4]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        ".cfi_endproc",
        resume_sp = const RESUME_SP,
        flush_to_zero = const 0x8040,
        mxcsr = const 0x1f80,
    )
}

/// Jumps to `handler` with these stack and frame pointers, the payload in the first exception register (`rax`), and
/// `rbx`, `r12` to `r15` from `registers`.
///
/// # Safety
/// They describe a guest frame that is still on the stack; every frame further in is given up and owns nothing any more.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn continue_in_handler(
    handler: *const u8,
    stack_pointer: usize,
    frame_pointer: usize,
    payload: u64,
    registers: *const [u64; 5],
) -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rbx, [r8]",
        "mov r12, [r8 + 8]",
        "mov r13, [r8 + 16]",
        "mov r14, [r8 + 24]",
        "mov r15, [r8 + 32]",
        "mov rsp, rsi",
        "mov rbp, rdx",
        "mov rax, rcx",
        "xor edx, edx",
        "jmp rdi",
        ".cfi_endproc",
    )
}

/// Defines `BUILTINS`, the addresses of the stubs of all builtins in the order of their numbers, for
/// [`cowling_abi::layout::VmHeader::builtins`].
///
/// To be given to [`cowling_abi::for_each_builtin!`] where a function `unsafe extern "C" fn name(vmctx: *mut VmContext, ...)` of each
/// builtin's name is in scope, with parameters and result as declared there (`u32`, `u64`, and `*mut VmFuncRef` or `usize` for
/// `funcref`).
///
/// A stub stores where the guest is, so that backtraces can begin there, checks that the host has its share of the stack, and jumps
/// on. It uses only `rax`, `r10` and `r11`, which carry no arguments. Those of builtins that throw also keep the registers
/// that the exception's handler may expect unchanged.
macro_rules! builtin_table {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ident),*) $(-> $ret:ident)?;)*) => {
        /// Addresses of the stubs of all builtins, in the order of their numbers.
        pub(crate) static BUILTINS: [unsafe extern "C" fn(); cowling_abi::builtins::BuiltinIndex::ALL.len()] = [
            $({
                #[unsafe(naked)]
                unsafe extern "C" fn stub() {
                    $crate::arch::builtin_stub!($name)
                }
                stub
            }),*
        ];
    };
}
pub(crate) use builtin_table;

/// The body of one stub of [`builtin_table!`](builtin_table).
macro_rules! builtin_stub {
    (out_of_fuel) => {
        // Keeps every register. The pinned one, whose count is in the store, is free to work with until the new count goes there.
        std::arch::naked_asm!(
            ".cfi_startproc",
            "mov r15, [rdi + {store}]",
            "mov [r15 + {exit_fp}], rbp",
            "cmp rsp, [r15 + {limit}]",
            "jb 2f",
            "push qword ptr [rsp]",
            "pop qword ptr [r15 + {exit_pc}]",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "push rax",
            "push rcx",
            "push rdx",
            "push rsi",
            "push rdi",
            "push r8",
            "push r9",
            "push r10",
            "push r11",
            "sub rsp, 264",
            "movaps [rsp + 0], xmm0",
            "movaps [rsp + 16], xmm1",
            "movaps [rsp + 32], xmm2",
            "movaps [rsp + 48], xmm3",
            "movaps [rsp + 64], xmm4",
            "movaps [rsp + 80], xmm5",
            "movaps [rsp + 96], xmm6",
            "movaps [rsp + 112], xmm7",
            "movaps [rsp + 128], xmm8",
            "movaps [rsp + 144], xmm9",
            "movaps [rsp + 160], xmm10",
            "movaps [rsp + 176], xmm11",
            "movaps [rsp + 192], xmm12",
            "movaps [rsp + 208], xmm13",
            "movaps [rsp + 224], xmm14",
            "movaps [rsp + 240], xmm15",
            "call {target}",
            "mov r15, [r15 + {fuel}]",
            "movaps xmm0, [rsp + 0]",
            "movaps xmm1, [rsp + 16]",
            "movaps xmm2, [rsp + 32]",
            "movaps xmm3, [rsp + 48]",
            "movaps xmm4, [rsp + 64]",
            "movaps xmm5, [rsp + 80]",
            "movaps xmm6, [rsp + 96]",
            "movaps xmm7, [rsp + 112]",
            "movaps xmm8, [rsp + 128]",
            "movaps xmm9, [rsp + 144]",
            "movaps xmm10, [rsp + 160]",
            "movaps xmm11, [rsp + 176]",
            "movaps xmm12, [rsp + 192]",
            "movaps xmm13, [rsp + 208]",
            "movaps xmm14, [rsp + 224]",
            "movaps xmm15, [rsp + 240]",
            "add rsp, 264",
            "pop r11",
            "pop r10",
            "pop r9",
            "pop r8",
            "pop rdi",
            "pop rsi",
            "pop rdx",
            "pop rcx",
            "pop rax",
            "pop rbp",
            ".cfi_def_cfa rsp, 8",
            ".cfi_restore rbp",
            "ret",
            "2:",
            "mov rax, [rsp]",
            "mov [r15 + {exit_pc}], rax",
            "mov rdi, r15",
            "jmp {overflow}",
            ".cfi_endproc",
            store = const cowling_abi::layout::VmHeader::STORE,
            fuel = const std::mem::offset_of!(cowling_abi::layout::StoreContext, fuel),
            exit_fp = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_fp),
            exit_pc = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_pc),
            limit = const std::mem::offset_of!(cowling_abi::layout::StoreContext, host_stack_limit),
            target = sym out_of_fuel,
            overflow = sym $crate::activation::raise_stack_overflow,
        )
    };
    (gc_new) => {
        // Keeps every register; those that the called function keeps too are saved only for collections to find. Vectors hold no references.
        std::arch::naked_asm!(
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "push rax",
            "mov rax, [rdi + {store}]",
            "push qword ptr [rbp]",
            "pop qword ptr [rax + {exit_fp}]",
            "push qword ptr [rbp + 8]",
            "pop qword ptr [rax + {exit_pc}]",
            "cmp rsp, [rax + {limit}]",
            "jb 2f",
            "push rcx",
            "push rdx",
            "push rsi",
            "push rdi",
            "push r8",
            "push r9",
            "push r10",
            "push r11",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov rcx, rsp",
            "sub rsp, 256",
            "movaps [rsp + 0], xmm0",
            "movaps [rsp + 16], xmm1",
            "movaps [rsp + 32], xmm2",
            "movaps [rsp + 48], xmm3",
            "movaps [rsp + 64], xmm4",
            "movaps [rsp + 80], xmm5",
            "movaps [rsp + 96], xmm6",
            "movaps [rsp + 112], xmm7",
            "movaps [rsp + 128], xmm8",
            "movaps [rsp + 144], xmm9",
            "movaps [rsp + 160], xmm10",
            "movaps [rsp + 176], xmm11",
            "movaps [rsp + 192], xmm12",
            "movaps [rsp + 208], xmm13",
            "movaps [rsp + 224], xmm14",
            "movaps [rsp + 240], xmm15",
            "call {target}",
            "movaps xmm0, [rsp + 0]",
            "movaps xmm1, [rsp + 16]",
            "movaps xmm2, [rsp + 32]",
            "movaps xmm3, [rsp + 48]",
            "movaps xmm4, [rsp + 64]",
            "movaps xmm5, [rsp + 80]",
            "movaps xmm6, [rsp + 96]",
            "movaps xmm7, [rsp + 112]",
            "movaps xmm8, [rsp + 128]",
            "movaps xmm9, [rsp + 144]",
            "movaps xmm10, [rsp + 160]",
            "movaps xmm11, [rsp + 176]",
            "movaps xmm12, [rsp + 192]",
            "movaps xmm13, [rsp + 208]",
            "movaps xmm14, [rsp + 224]",
            "movaps xmm15, [rsp + 240]",
            "add rsp, 256 + 5 * 8",
            "pop r11",
            "pop r10",
            "pop r9",
            "pop r8",
            "pop rdi",
            "pop rsi",
            "pop rdx",
            "pop rcx",
            "pop rax",
            "pop rbp",
            ".cfi_def_cfa rsp, 8",
            ".cfi_restore rbp",
            "ret",
            "2:",
            ".cfi_def_cfa rbp, 16",
            ".cfi_offset rbp, -16",
            "mov rdi, rax",
            "jmp {overflow}",
            ".cfi_endproc",
            store = const cowling_abi::layout::VmHeader::STORE,
            exit_fp = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_fp),
            exit_pc = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_pc),
            limit = const std::mem::offset_of!(cowling_abi::layout::StoreContext, host_stack_limit),
            target = sym gc_new,
            overflow = sym $crate::activation::raise_stack_overflow,
        )
    };
    (throw) => { $crate::arch::builtin_stub!(@throwing throw) };
    (throw_ref) => { $crate::arch::builtin_stub!(@throwing throw_ref) };
    (@throwing $name:ident) => {
        $crate::arch::builtin_stub!(@body $name,
            "mov [rax + {registers}], rbx",
            "mov [rax + {registers} + 8], r12",
            "mov [rax + {registers} + 16], r13",
            "mov [rax + {registers} + 24], r14",
            "mov [rax + {registers} + 32], r15";
            registers = const $crate::activation::THROWER_REGISTERS,
        )
    };
    ($name:ident) => { $crate::arch::builtin_stub!(@body $name, ; ) };
    (@body $name:ident, $($more:literal),*; $($operands:tt)*) => {
        std::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, [rdi + {store}]",
            "mov r10, [rsp]",
            "mov [rax + {exit_fp}], rbp",
            "mov [rax + {exit_pc}], r10",
            $($more,)*
            "cmp rsp, [rax + {limit}]",
            "jb 2f",
            "jmp {target}",
            "2:",
            "mov rdi, rax",
            "jmp {overflow}",
            ".cfi_endproc",
            store = const cowling_abi::layout::VmHeader::STORE,
            exit_fp = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_fp),
            exit_pc = const std::mem::offset_of!(cowling_abi::layout::StoreContext, exit_pc),
            limit = const std::mem::offset_of!(cowling_abi::layout::StoreContext, host_stack_limit),
            target = sym $name,
            overflow = sym $crate::activation::raise_stack_overflow,
            $($operands)*
        )
    };
}
pub(crate) use builtin_stub;
