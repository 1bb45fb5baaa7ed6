//! A signal by which people end what runs, as Ctrl-C does, and the alarm that repeats what its handler has asked for.
//!
//! ```text
//!   signal, the first time -> on_signal: asked() -- true --> alarm every ALARM: again() -- false --> alarm off
//!   signal, again          -> the process exits
//! ```
//!
//! Everything here runs in handlers and is async-signal-safe, and what it calls has to be.

use super::thread::INTERRUPT;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Microseconds between two alarms. What they repeat is nearly always noticed the first time.
const ALARM: libc::suseconds_t = 1000;

/// What shells add to the number of the signal that ended a process.
const ENDED_BY_SIGNAL: i32 = 128;

/// What the handlers call.
pub(crate) struct Actions {
    /// Asks for the end; `true` if [`again`](Self::again) is to be called.
    pub(crate) asked: fn() -> bool,
    /// Asks again; `true` if once more.
    pub(crate) again: fn() -> bool,
}

static ACTIONS: OnceLock<Actions> = OnceLock::new();
static ASKED: AtomicBool = AtomicBool::new(false);

/// Installs the handlers: that of `signal`, and that of the alarm. The actions are those of the first call. A signal that is ignored
/// stays so: whoever started the process wanted that.
///
/// # Errors
/// When there is no such signal, or it cannot be handled.
pub(crate) fn install(signal: i32, actions: Actions) -> io::Result<()> {
    ACTIONS.get_or_init(|| actions);
    if is_ignored(signal)? {
        return Ok(());
    }
    handle(libc::SIGALRM, on_alarm)?;
    handle(signal, on_signal)
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null second argument changes nothing, and there is room for the answer.
    match unsafe { libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) } {
        // SAFETY: the call succeeded, so it filled `now` in.
        0 => Ok(unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN),
        _ => Err(io::Error::last_os_error()),
    }
}

fn handle(signal: i32, handler: extern "C" fn(i32)) -> io::Result<()> {
    // SAFETY: all zeros is a valid sigaction: no flags, empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // On the alternate stack, as the thread may be on a guest's. System calls are not restarted: a host function that waits shall see
    // that somebody wants something.
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the set is the action's. The signal that interrupts guests has to find the code that was interrupted here, not this handler.
    unsafe { libc::sigaddset(&mut action.sa_mask, INTERRUPT) };
    // SAFETY: the handler has the signature that an action without SA_SIGINFO wants and is async-signal-safe.
    match unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_signal(signal: i32) {
    if ASKED.swap(true, SeqCst) {
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(ENDED_BY_SIGNAL.saturating_add(signal)) };
    }
    keeping_errno(|| {
        if ACTIONS.get().is_some_and(|actions| (actions.asked)()) {
            alarm(ALARM);
        }
    });
}

extern "C" fn on_alarm(_: i32) {
    keeping_errno(|| {
        if !ACTIONS.get().is_some_and(|actions| (actions.again)()) {
            alarm(0);
        }
    });
}

/// Has the alarm come every so many microseconds; 0: not any more.
fn alarm(micros: libc::suseconds_t) {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: micros,
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: the value lives during the call, which is one system call and cannot fail with these arguments.
    unsafe {
        libc::syscall(
            libc::SYS_setitimer,
            libc::ITIMER_REAL,
            &raw const timer,
            ptr::null_mut::<libc::itimerval>(),
        );
    }
}

/// The code that was interrupted must not find another error number.
fn keeping_errno(action: impl FnOnce()) {
    // SAFETY: the address of this thread's error number.
    let (place, error) = unsafe {
        let place = libc::__errno_location();
        (place, *place)
    };
    action();
    // SAFETY: as above.
    unsafe { *place = error };
}
