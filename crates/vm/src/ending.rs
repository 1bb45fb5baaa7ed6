//! Ending a guest by a signal that somebody sends the process, as Ctrl-C on a terminal does.
//!
//! No thread waits for the signal: its handler does what a [`KillSwitch`](crate::KillSwitch) does, as far as a handler may, and has itself
//! reminded by an alarm as long as the guest was not at a place where it notices (`interrupt.rs` says which these are).
//!
//! Invariant: the [`Control`] that handlers know lives for ever.

use crate::control::Control;
use crate::sys::ending::{self, Actions};
use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

/// Whose guests end.
static WATCHED: AtomicPtr<Control> = AtomicPtr::new(ptr::null_mut());

/// From now on `signal` ends what runs in the store of this control, or what runs there next. See `Store::end_on_signal` of the
/// embedding API.
///
/// # Errors
/// When there is no such signal, or it cannot be handled.
pub(crate) fn end_on_signal(control: Arc<Control>, signal: i32) -> io::Result<()> {
    // A handler may be reading the last one, on another thread: none is ever freed. A process that does this does it once or twice.
    WATCHED.store(Arc::into_raw(control).cast_mut(), SeqCst);
    ending::install(signal, Actions { asked, again })
}

fn watched() -> Option<&'static Control> {
    // SAFETY: it is null or what `into_raw` gave, which is never freed, and only ever shared.
    unsafe { WATCHED.load(SeqCst).as_ref() }
}

fn asked() -> bool {
    watched().is_some_and(|control| {
        let needs_signal = control.ask_to_end();
        if needs_signal {
            control.signal();
        }
        needs_signal
    })
}

fn again() -> bool {
    watched().is_some_and(|control| {
        let unnoticed = control.needs_reminder();
        if unnoticed {
            control.signal();
        }
        unnoticed
    })
}
