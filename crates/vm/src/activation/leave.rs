//! Leaving guest code early: by raising, which ends its activation, and by going to one of its exception handlers.
//!
//! Invariant: nothing is unwound. Frames of the host between the guest's and these functions are gone without another word, so whoever
//! calls them has nothing left to drop.

use super::{CURRENT, Execution, Frame, capture};
use crate::arch;
use crate::trap::TrapReason;
use cowling_abi::Trap;
use cowling_abi::layout::StoreContext;
use std::ptr::NonNull;

/// Stops the guest that called the builtin or host function that runs now: its [`enter`](super::enter) returns `reason`.
///
/// # Safety
/// * `execution` has an active guest, which runs on this thread and has called what runs now: no other activation of the thread
///   is further in.
/// * Every frame between the guest's and this one has run its destructors: they are gone without another word.
pub(crate) unsafe fn raise(execution: NonNull<Execution>, reason: TrapReason) -> ! {
    let activation = {
        // SAFETY: an execution with an active guest is valid.
        let this = unsafe { execution.as_ref() };
        this.note_host_frames();
        let activation = this.innermost.get();
        let frames = this.guest_frames().into_iter().flatten();
        // SAFETY: the store has an active guest.
        let by_trampoline = unsafe { (*activation).by_trampoline() };
        capture(frames.map(Frame::call_site), by_trampoline);
        activation
    };
    debug_assert_eq!(
        activation,
        CURRENT.get(),
        "the innermost activation of the thread is another store's"
    );
    // SAFETY: the activation lives until its `enter_guest` returns, which `arch::raise` makes it do. Its reason is looked at
    // by nobody else and None so far.
    unsafe {
        **(*activation).reason.get() = Some(reason);
        arch::raise(activation)
    }
}

/// [`raise`]s a trap of WebAssembly's.
///
/// # Safety
/// As for [`raise`].
pub(crate) unsafe fn raise_trap(execution: NonNull<Execution>, trap: Trap) -> ! {
    let reason = TrapReason::Wasm {
        trap,
        fault_address: None,
    };
    // SAFETY: the caller's promises are the same.
    unsafe { raise(execution, reason) }
}

/// What builtin stubs jump to when the stack left is less than the host is promised.
pub(crate) unsafe extern "C" fn raise_stack_overflow(context: *mut StoreContext) -> ! {
    // SAFETY: stubs pass the context of the store whose guest called them, and it is the first field of its Execution, from
    // which it was derived. The stub has no frame.
    unsafe {
        let execution = NonNull::new_unchecked(context.cast::<Execution>());
        raise_trap(execution, Trap::StackOverflow)
    }
}

/// Continues the guest in an exception handler of one of the frames of its innermost activation, with `exception` as the payload.
///
/// `stack_pointer` and `frame_pointer` are those of the frame; registers that the guest's calling convention preserves have the
/// values they had when the throwing builtin was called. But the one that may have the fuel count has that: handlers expect
/// nothing else of it.
///
/// # Safety
/// As for [`raise`]; `handler` is the address of a handler of that frame in the artifact's exception table, and the stack and
/// frame pointers are as that table says.
pub(crate) unsafe fn continue_in_handler(
    execution: NonNull<Execution>,
    handler: *const u8,
    stack_pointer: usize,
    frame_pointer: usize,
    exception: u32,
) -> ! {
    // SAFETY: an execution with an active guest is valid, and nobody else looks at its saved registers: `rbx`, `r12` to `r15`.
    let registers = unsafe {
        let this = execution.as_ref();
        let registers = this.thrower_registers.get();
        (*registers)[4] = this.fuel_count() as u64;
        registers
    };
    // SAFETY: the caller vouches for the frame.
    unsafe {
        arch::continue_in_handler(
            handler,
            stack_pointer,
            frame_pointer,
            u64::from(exception),
            registers,
        )
    }
}
