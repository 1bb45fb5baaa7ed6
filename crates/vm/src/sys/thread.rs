//! Threads by their number: interrupting one, and waiting for a word to change.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The signal that interrupts guests. Its default action is to be ignored, hardly anybody uses it, and it may come at any time.
pub(crate) const INTERRUPT: i32 = libc::SIGURG;

/// The system's number of a thread.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(pub(crate) i32);

thread_local! {
    static ID: Cell<i32> = const { Cell::new(0) };
}

/// The calling thread, if [`id`] was called on it.
#[inline(always)]
pub(crate) fn known_id() -> Option<ThreadId> {
    let known = ID.get();
    (known != 0).then_some(ThreadId(known))
}

/// The calling thread.
#[inline]
pub(crate) fn id() -> ThreadId {
    known_id().unwrap_or_else(ask_for_id)
}

#[cold]
fn ask_for_id() -> ThreadId {
    // SAFETY: asks for a number.
    let id = unsafe { libc::gettid() };
    ID.set(id);
    ThreadId(id)
}

/// The value by which signals sent here are known.
static MARK: u8 = 0;

/// What the kernel's `siginfo_t` starts with for a signal with a value.
#[repr(C)]
struct Queued {
    signo: i32,
    errno: i32,
    code: i32,
    _aligned: i32,
    pid: i32,
    uid: u32,
    value: *const u8,
    _rest: [u64; 12],
}

const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());

/// Sends a thread of this process [`INTERRUPT`]. Nothing happens when it has exited.
pub(crate) fn interrupt(thread: ThreadId) {
    // SAFETY: these ask for numbers.
    let (pid, uid) = unsafe { (libc::getpid(), libc::getuid()) };
    let info = Queued {
        signo: INTERRUPT,
        errno: 0,
        code: libc::SI_QUEUE,
        _aligned: 0,
        pid,
        uid,
        value: &raw const MARK,
        _rest: [0; 12],
    };
    // SAFETY: the handler is installed before any thread is interrupted, and if it is not, the signal is ignored.
    unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            pid,
            thread.0,
            INTERRUPT,
            &raw const info,
        );
    }
}

/// Was the signal sent by [`interrupt`]? Async-signal-safe.
pub(crate) fn sent_by_us(info: &libc::siginfo_t) -> bool {
    // SAFETY: both are as large, and any bytes are a `Queued`.
    let queued = unsafe { &*ptr::from_ref(info).cast::<Queued>() };
    queued.code == libc::SI_QUEUE && ptr::eq(queued.value, &raw const MARK)
}

/// Makes sure that this thread can be interrupted.
pub(crate) fn allow_interrupts() {
    // SAFETY: a sigset_t is plain data; the call changes this thread's mask.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, INTERRUPT);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
    }
}

/// Leaves all signals to the process's other threads.
pub(crate) fn refuse_signals() {
    // SAFETY: as above.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut set);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}

/// Asks the scheduler to run the calling thread soon after it wakes, in return for shorter slices. A thread that only ever works
/// for microseconds loses nothing by that.
///
/// Measured with twice as many busy threads as cores, for 7,500 quanta of 1 ms: the latest preemption came 11 ms late, with this
/// in most runs 0.6 ms late. Needs no privilege; kernels that do not have it (before 6.12) ignore it.
pub(crate) fn wake_promptly() {
    const SLICE: u64 = 100_000;
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: the structure is plain data, as large as is said, and lives during both calls; 0 is the calling thread.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::sched_attr>();
        let got = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0_u32);
        if got == 0 && attributes.sched_policy == libc::SCHED_OTHER as u32 {
            attributes.size = size;
            attributes.sched_runtime = SLICE;
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0_u32);
        }
    }
}

/// The word's lower half, which [`wait_while`] and [`wake_all`] are about.
fn lower_half(word: &AtomicU64) -> *const u32 {
    const { assert!(cfg!(target_endian = "little")) };
    word.as_ptr().cast::<u32>()
}

/// Sleeps until the lower half of the word is another than `value`'s and somebody says so, but not for longer than this.
/// May return earlier.
pub(crate) fn wait_while(word: &AtomicU64, value: u64, at_most: Duration) {
    let timeout = libc::timespec {
        tv_sec: at_most.as_secs() as libc::time_t,
        tv_nsec: at_most.subsec_nanos().into(),
    };
    // SAFETY: the word and the time live during the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            lower_half(word),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            value as u32,
            &raw const timeout,
        );
    }
}

/// Wakes every thread in [`wait_while`] for this word. Async-signal-safe.
pub(crate) fn wake_all(word: &AtomicU64) {
    // SAFETY: the word lives during the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            lower_half(word),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            i32::MAX,
        );
    }
}
