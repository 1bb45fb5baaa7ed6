//! The stack on which a thread's signal handlers run, and what else a thread needs for guests.
//!
//! A guest that overflows its stack leaves no room there for a handler, so the kernel must switch to another stack first: each
//! thread that enters guests has one. Threads started by Rust's standard library have one already, but a small one.
//!
//! ```text
//!   | guard page | alternate signal stack ...... |
//!   base         sp                              base + len
//! ```
//!
//! Invariant: the kernel never holds the address of an alternate stack that has been unmapped. It is given up (`SS_DISABLE`)
//! before it is unmapped at thread exit, unless somebody else installed another one meanwhile.

use super::PAGE_SIZE;
use super::mapping::{Mapping, Protection};
use super::thread;
use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// An alternate stack that is there already is kept if it has at least this many bytes. The kernel's frame takes up to 11 KiB of
/// them on processors with large vector and matrix registers.
const ENOUGH: usize = 32 << 10;

/// Bytes of the ones made here.
const SIZE: usize = 64 << 10;

struct AltStack(Option<Mapping>);

thread_local! {
    /// Has [`prepare_thread`] done its work on this thread? Needs no destructor, so reading it is one load.
    static READY: Cell<bool> = const { Cell::new(false) };
    static OWN: RefCell<AltStack> = const { RefCell::new(AltStack(None)) };
}

/// Makes sure that this thread has an alternate signal stack of sufficient size, and can be interrupted. Cheap after the first
/// time.
///
/// # Errors
/// When there is no memory for one, or the thread is already running its last destructors.
#[inline]
pub(crate) fn prepare_thread() -> io::Result<()> {
    if is_prepared() { Ok(()) } else { install() }
}

/// Has [`prepare_thread`] been called?
#[inline]
pub(crate) fn is_prepared() -> bool {
    READY.get()
}

#[cold]
fn install() -> io::Result<()> {
    let current = current()?;
    if current.ss_flags & libc::SS_DISABLE != 0 || current.ss_size < ENOUGH {
        let exiting =
            |_| io::Error::other("this thread is exiting: no guest can run on it any more");
        OWN.try_with(|own| -> io::Result<()> {
            let mapping = Mapping::reserve(PAGE_SIZE + SIZE)?;
            // SAFETY: nobody uses the new mapping yet.
            unsafe { mapping.protect(PAGE_SIZE..PAGE_SIZE + SIZE, Protection::ReadWrite)? };
            let stack = libc::stack_t {
                ss_sp: mapping.at(PAGE_SIZE).as_ptr().cast(),
                ss_flags: 0,
                ss_size: SIZE,
            };
            // SAFETY: the stack is SIZE accessible bytes that live in OWN until `AltStack::drop` takes them from the kernel.
            check(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) })?;
            own.borrow_mut().0 = Some(mapping);
            Ok(())
        })
        .map_err(exiting)??;
    }
    thread::allow_interrupts();
    READY.set(true);
    Ok(())
}

fn current() -> io::Result<libc::stack_t> {
    let mut current = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: `current` has room for a stack_t, and a null first argument changes nothing.
    check(unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it filled `current` in.
    Ok(unsafe { current.assume_init() })
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        READY.set(false);
        let Some(mapping) = self.0.take() else { return };
        let own = mapping.at(PAGE_SIZE).as_ptr().cast();
        let installed = current();
        if installed
            .as_ref()
            .is_ok_and(|s| s.ss_sp != own || s.ss_flags & libc::SS_DISABLE != 0)
        {
            return;
        }
        let off = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: turning the alternate stack off is always allowed; no handler is running on it, for this is thread exit.
        if check(unsafe { libc::sigaltstack(&off, ptr::null_mut()) }).is_err() {
            // The kernel may still use it: leaking is all that is left.
            std::mem::forget(mapping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_a_stack_of_sufficient_size_and_gives_its_own_up_at_exit() {
        std::thread::spawn(|| {
            prepare_thread().unwrap();
            assert!(current().unwrap().ss_size >= ENOUGH);
            let own = OWN.with(|own| {
                own.borrow()
                    .0
                    .as_ref()
                    .map(|m| m.at(PAGE_SIZE).as_ptr() as usize)
            });
            assert_eq!(own, Some(current().unwrap().ss_sp as usize));
            // What thread exit does:
            OWN.with(|own| *own.borrow_mut() = AltStack(None));
            assert_ne!(current().unwrap().ss_flags & libc::SS_DISABLE, 0);
            assert!(!READY.get());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_large_enough_stack_is_kept() {
        std::thread::spawn(|| {
            let memory = vec![0u8; ENOUGH].leak();
            let stack = libc::stack_t {
                ss_sp: memory.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: ENOUGH,
            };
            let before = current().unwrap();
            // SAFETY: the memory is leaked and used for nothing else.
            check(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) }).unwrap();
            prepare_thread().unwrap();
            assert_eq!(current().unwrap().ss_sp, stack.ss_sp);
            // SAFETY: this is what the thread had.
            check(unsafe { libc::sigaltstack(&before, ptr::null_mut()) }).unwrap();
        })
        .join()
        .unwrap();
    }
}
