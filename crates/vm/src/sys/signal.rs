//! Handlers for the signals by which the processor reports faults, and for the one that interrupts guests.
//!
//! ```text
//!   fault  -> kernel -> on_fault (alternate stack) -> is it a guest's? -- yes --> registers rewritten, return
//!                                                                     \- no ---> the handler that was there before
//!   signal -> kernel -> on_interrupt (likewise) -> the guest is told; was it sent by us? -- no --> the handler before
//! ```
//!
//! Invariant: a fault that is not a guest's has the effect that it would have had without this handler, as far as a handler can do
//! that: whoever was there before is called as the kernel would have called it, with the original registers and the
//! signal mask it asked for.
//!
//! Everything that runs in a handler is async-signal-safe: no allocation, no lock, no thread-local that needs a destructor.

use super::sigframe::Interrupted;
use super::thread::INTERRUPT;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Signals that report faults of a guest, and the one that interrupts guests.
///
/// `SIGBUS` is among them for the processor's stack-segment faults only (an address that is not canonical, relative to the stack or
/// frame pointer). A file that became shorter than its mapping is not a guest's doing.
const SIGNALS: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    INTERRUPT,
];

/// Looks at a fault; `true` if it was a guest's and [`Fault::resume_in`] says where to go on.
pub(crate) type Handler = fn(&mut Fault<'_>) -> bool;

/// Looks at a thread that was interrupted.
pub(crate) type InterruptHandler = fn(&mut Interrupted<'_>);

static HANDLERS: OnceLock<(Handler, InterruptHandler)> = OnceLock::new();
static PREVIOUS: [Previous; SIGNALS.len()] = [const { Previous::new() }; SIGNALS.len()];

/// What was installed for a signal before.
struct Previous {
    action: OnceLock<libc::sigaction>,
    /// It asked to be called once only, and has been.
    used_up: AtomicBool,
}

impl Previous {
    const fn new() -> Previous {
        Previous {
            action: OnceLock::new(),
            used_up: AtomicBool::new(false),
        }
    }
}

/// Installs the handlers for this process. Must be called once only.
///
/// # Errors
/// When the system refuses; the signals before the refused one keep the handler, which passes everything on that is not a guest's.
pub(crate) fn install(handler: Handler, interrupts: InterruptHandler) -> io::Result<()> {
    HANDLERS.get_or_init(|| (handler, interrupts));
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let mut before = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: a null second argument changes nothing, and there is room for the answer.
        if unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Known before the new handler can be called.
        // SAFETY: the call succeeded, so it filled `before` in.
        previous
            .action
            .get_or_init(|| unsafe { before.assume_init() });
        // SAFETY: all zeros is a valid sigaction: no flags, empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = match signal {
            INTERRUPT => on_interrupt as *const () as usize,
            _ => on_fault as *const () as usize,
        };
        // No SA_NODEFER: this handler does not fault. The handlers before it get the mask they asked for.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: both have the signature that SA_SIGINFO wants and are async-signal-safe.
        if unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

unsafe extern "C" fn on_interrupt(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // The code that was interrupted must not find another value there.
    // SAFETY: the address of this thread's error number.
    let (place, error) = unsafe {
        let place = libc::__errno_location();
        (place, *place)
    };
    // SAFETY: the kernel's pointers.
    let mut interrupted = unsafe { Interrupted::new(&*info, context) };
    if let Some((_, handler)) = HANDLERS.get() {
        handler(&mut interrupted);
    }
    if !interrupted.is_ours() {
        // SAFETY: the arguments are the kernel's.
        unsafe { pass_on(signal, info, context) };
    }
    // SAFETY: as above.
    unsafe { *place = error };
}

unsafe extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes valid, exclusive pointers to a handler with SA_SIGINFO.
    let (info_ref, interrupted) = unsafe { (&*info, Interrupted::new(&*info, context)) };
    let mut fault = Fault {
        signal,
        info: info_ref,
        interrupted,
    };
    if HANDLERS
        .get()
        .is_some_and(|(handler, _)| handler(&mut fault))
    {
        return;
    }
    // SAFETY: the arguments are the kernel's.
    unsafe { pass_on(signal, info, context) };
}

/// A fault, as its handler sees it.
pub(crate) struct Fault<'a> {
    signal: i32,
    info: &'a libc::siginfo_t,
    interrupted: Interrupted<'a>,
}

impl<'a> Fault<'a> {
    /// Can the processor have raised it while it executed an instruction of a guest, or overflowed a stack? False for signals
    /// that somebody sent, and for I/O errors of mapped files.
    pub(crate) fn may_be_guests(&self) -> bool {
        match self.signal {
            libc::SIGBUS => self.info.si_code == libc::SI_KERNEL,
            _ => self.info.si_code > 0,
        }
    }

    /// The address that could not be accessed, if the processor said so.
    pub(crate) fn address(&self) -> Option<usize> {
        let known = self.signal == libc::SIGSEGV
            && self.info.si_code != libc::SI_KERNEL
            && self.info.si_code > 0;
        // SAFETY: for a SIGSEGV of the processor's the kernel filled the address in.
        known.then(|| unsafe { self.info.si_addr() } as usize)
    }

    fn register(&self, index: i32) -> usize {
        self.interrupted.register(index)
    }

    /// The thread that has it.
    pub(crate) fn interrupted(&mut self) -> &mut Interrupted<'a> {
        &mut self.interrupted
    }

    /// The instruction.
    pub(crate) fn pc(&self) -> usize {
        self.register(libc::REG_RIP)
    }

    /// The stack pointer.
    pub(crate) fn stack_pointer(&self) -> usize {
        self.register(libc::REG_RSP)
    }

    /// The frame pointer.
    pub(crate) fn frame_pointer(&self) -> usize {
        self.register(libc::REG_RBP)
    }

    /// The register that has the fuel count in code that counts.
    pub(crate) fn fuel_register(&self) -> i64 {
        self.register(libc::REG_R15) as i64
    }

    /// Lets the thread go on at `function`, called with `argument`.
    pub(crate) fn resume_in<T>(
        &mut self,
        function: unsafe extern "C" fn(*const T) -> !,
        argument: *const T,
    ) {
        self.interrupted
            .redirect(function as usize, argument.addr(), None);
    }
}

/// Does with a signal what would have been done without this handler.
///
/// # Safety
/// The arguments are those the kernel called the handler with.
unsafe fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = SIGNALS
        .iter()
        .position(|&s| s == signal)
        .map(|at| &PREVIOUS[at]);
    let action = previous.and_then(|previous| {
        let action = previous.action.get()?;
        let once = action.sa_flags & libc::SA_RESETHAND != 0;
        (!once || !previous.used_up.swap(true, SeqCst)).then_some(action)
    });
    // SAFETY: the kernel's pointer.
    let sent = unsafe { (*info).si_code } <= 0;
    match action {
        Some(action) if action.sa_sigaction == libc::SIG_IGN => {
            // Ignoring works for signals that were sent. A fault would happen again for ever, so the kernel does not ignore it.
            if !sent {
                die_of(signal, sent);
            }
        }
        Some(action) if action.sa_sigaction != libc::SIG_DFL => {
            // SAFETY: sigset_t is plain data and the calls only change this thread's mask, which the kernel restores on return.
            unsafe {
                let mut mask = action.sa_mask;
                if action.sa_flags & libc::SA_NODEFER == 0 {
                    libc::sigaddset(&mut mask, signal);
                } else {
                    let mut own = std::mem::zeroed::<libc::sigset_t>();
                    libc::sigemptyset(&mut own);
                    libc::sigaddset(&mut own, signal);
                    libc::pthread_sigmask(libc::SIG_UNBLOCK, &own, ptr::null_mut());
                }
                libc::pthread_sigmask(libc::SIG_BLOCK, &mask, ptr::null_mut());
            }
            if action.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: with SA_SIGINFO the value is the address of a function with this signature.
                let handler = unsafe {
                    std::mem::transmute::<
                        usize,
                        unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
                    >(action.sa_sigaction)
                };
                // SAFETY: called as the kernel would call it.
                unsafe { handler(signal, info, context) };
            } else {
                // SAFETY: without SA_SIGINFO the value is the address of a function with this signature.
                let handler = unsafe {
                    std::mem::transmute::<usize, unsafe extern "C" fn(i32)>(action.sa_sigaction)
                };
                // SAFETY: called as the kernel would call it.
                unsafe { handler(signal) };
            }
        }
        // Its default is to be ignored.
        _ if signal == INTERRUPT => {}
        _ => die_of(signal, sent),
    }
}

/// Restores the default action. A fault then happens again when the handler returns, and ends the process with the right
/// registers in its core dump; a signal that was sent is sent again.
fn die_of(signal: i32, sent: bool) {
    // SAFETY: all zeros is a valid sigaction, SIG_DFL is always allowed, and both functions are async-signal-safe.
    unsafe {
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &default, ptr::null_mut());
        if sent {
            libc::raise(signal);
        }
    }
}
