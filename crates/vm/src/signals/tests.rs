//! Tests of faults that are not a guest's. Handlers are process-wide, so each case runs in a process of its own.

use super::*;
use crate::testing::in_child;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

const EXIT_CALLED: i32 = 42;
const EXIT_SURVIVED: i32 = 43;

fn exit(code: i32) -> ! {
    // SAFETY: ends the process; callable from handlers.
    unsafe { libc::_exit(code) }
}

fn require(condition: bool) {
    if !condition {
        exit(1);
    }
}

fn blocked(signal: i32) -> bool {
    // SAFETY: reads this thread's mask into a sigset_t, for which all zeros is valid.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask);
        libc::sigismember(&mask, signal) == 1
    }
}

unsafe extern "C" fn with_info(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel's pointers, passed on.
    let (address, registers) = unsafe {
        (
            (*info).si_addr(),
            (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs,
        )
    };
    require(
        signal == libc::SIGSEGV
            && address as usize == 0x10
            && registers[libc::REG_RIP as usize] != 0,
    );
    // The mask it asked for: its own signal, and SIGUSR1.
    require(blocked(libc::SIGSEGV) && blocked(libc::SIGUSR1));
    exit(EXIT_CALLED);
}

unsafe extern "C" fn plain(signal: i32) {
    require(signal == libc::SIGSEGV && !blocked(libc::SIGSEGV));
    exit(EXIT_CALLED);
}

/// Makes the faulting access succeed.
unsafe extern "C" fn repairs(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's pointer; `fault_at_0x10` reads through rdi.
    unsafe {
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RDI as usize] =
            context as i64
    };
}

fn set_handler(signal: i32, handler: usize, flags: i32) {
    // SAFETY: the handlers above have the signatures their flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaddset(&mut action.sa_mask, libc::SIGUSR1);
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

/// Reads address 0x10, which is never mapped.
fn fault_at_0x10() {
    // SAFETY: not at all; that is the point. Only rdi and rax are used.
    unsafe { std::arch::asm!("mov rax, [rdi]", inout("rdi") 0x10usize => _, out("rax") _) };
}

fn send() {
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGSEGV) };
}

#[test]
fn a_fault_that_is_not_a_guests_has_the_effect_it_had_before() {
    const NAME: &str = "signals::tests::a_fault_that_is_not_a_guests_has_the_effect_it_had_before";
    struct Case {
        name: &'static str,
        handler: usize,
        flags: i32,
        then: fn(),
        expected: fn(ExitStatus) -> bool,
    }
    let with_info = with_info as *const () as usize;
    let repairs = repairs as *const () as usize;
    let called = |status: ExitStatus| status.code() == Some(EXIT_CALLED);
    let survived = |status: ExitStatus| status.code() == Some(EXIT_SURVIVED);
    let died = |status: ExitStatus| status.signal() == Some(libc::SIGSEGV);
    let cases = [
        Case {
            name: "a handler with siginfo is called with the original arguments and its mask",
            handler: with_info,
            flags: libc::SA_SIGINFO | libc::SA_ONSTACK,
            then: fault_at_0x10,
            expected: called,
        },
        Case {
            name: "a plain handler that wants its signal unblocked gets that",
            handler: plain as *const () as usize,
            flags: libc::SA_ONSTACK | libc::SA_NODEFER,
            then: fault_at_0x10,
            expected: called,
        },
        Case {
            name: "a handler that repairs the fault makes the program go on",
            handler: repairs,
            flags: libc::SA_SIGINFO | libc::SA_ONSTACK,
            then: || (0..3).for_each(|_| fault_at_0x10()),
            expected: survived,
        },
        Case {
            name: "a one-shot handler is called once",
            handler: repairs,
            flags: libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND,
            then: fault_at_0x10,
            expected: survived,
        },
        Case {
            name: "a one-shot handler is not called twice",
            handler: repairs,
            flags: libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND,
            then: || (0..2).for_each(|_| fault_at_0x10()),
            expected: died,
        },
        Case {
            name: "the default is to die of a fault",
            handler: libc::SIG_DFL,
            flags: 0,
            then: fault_at_0x10,
            expected: died,
        },
        Case {
            name: "the default is to die of a signal that was sent",
            handler: libc::SIG_DFL,
            flags: 0,
            then: send,
            expected: died,
        },
        Case {
            name: "ignoring works for a signal that was sent",
            handler: libc::SIG_IGN,
            flags: 0,
            then: send,
            expected: survived,
        },
        Case {
            name: "ignoring does not work for a fault",
            handler: libc::SIG_IGN,
            flags: 0,
            then: fault_at_0x10,
            expected: died,
        },
    ];
    for case in &cases {
        let status = in_child(NAME, case.name, |chosen| {
            let Some(case) = cases.iter().find(|c| c.name == chosen) else {
                return;
            };
            set_handler(libc::SIGSEGV, case.handler, case.flags);
            init().unwrap();
            (case.then)();
            exit(EXIT_SURVIVED);
        });
        let Some(status) = status else { return };
        assert!((case.expected)(status), "{}: {status}", case.name);
    }
}

#[test]
fn initialising_again_changes_nothing() {
    init().unwrap();
    let handler = || {
        // SAFETY: asks for the installed handler; all zeros is a valid sigaction.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGSEGV, ptr::null(), &mut action);
            action.sa_sigaction
        }
    };
    let first = handler();
    init().unwrap();
    assert_eq!(handler(), first);
}
