//! Interrupting guests: what happens between a request and its effect.
//!
//! ```text
//!   other thread                    thread that runs the store
//!   request in the control's word
//!   signal ----------------------->  handle (alternate stack): which code was interrupted?
//!                                      guest code, and it shall end:  raised, like a trap
//!                                      guest code, and it shall stop: registers saved in the store's save area,
//!                                                                     thread redirected to `interrupted`
//!                                      a host function of the store:  `pending` set; it looks when it returns
//!                                      anything else of the runtime:  `pending` set; the signal comes again
//!
//!   interrupted (save area's stack): suspend ==> embedder ... resume, perhaps on another thread
//!                                    asked again? shall it end? -> raised
//!                                    rt_sigreturn: the guest goes on with the next instruction
//! ```
//!
//! Guest code has no part in this. It can be interrupted anywhere: between the instructions of a prologue, in an entry
//! trampoline or a host shim (unless they move the fuel count), with nearly no stack left, because nothing is put on its stack. Whatever is not guest code is
//! one of two things: a host function, which can last, and so looks for requests itself when it is over; or code of the
//! runtime (builtins, raising, throwing, entering), which ends soon, so that the sender signals again. Builtins that guests can
//! keep busy (bulk operations, throwing) look for requests, too: a guest may spend nearly all of its time there.
//!
//! # Several activations and stores
//!
//! A thread's activations may be of several stores: a host function of A has entered B. Only the thread's innermost is in guest
//! code. Every other store on the thread is in a host function, whatever the processor does, so its requests are deferred.
//! A host function that enters the guest again looks for requests then.
//!
//! # Invariants
//!
//! * `in_host` is set exactly while host functions may run in the innermost activation of the store: from the call to the return of
//!   a host function, except while that has entered the guest again, and while the store has no activation.
//! * Only while `in_host` is set does the handler tell the sender that the request will be noticed without another signal. Whoever
//!   clears `in_host` looks at `pending` afterwards, so a request is noticed by one of them: the look, or a signal after it.
//! * The save area is full exactly while the store's computation is suspended by an interruption in guest code.
//! * The handler is async-signal-safe: it reads lists that are valid at every instruction, changes atomics, and copies.

use crate::activation::{self, Activation, EnterError, Execution, FaultSite};
use crate::arch;
use crate::control::{Control, Phase, Requests, Terminated, Word};
use crate::epoch::EpochClock;
use crate::error::Error;
use crate::registry;
use crate::suspend::Interruption;
use crate::sys::sigframe::{Interrupted, SaveArea};
use crate::sys::thread::{self, ThreadId};
use crate::test_points::{POINTS, Point, point};
use crate::timer;
use crate::trap::TrapReason;
use cowling_abi::Trap;
use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
    compiler_fence,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What happens at a store's epoch deadline.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnEpoch {
    /// The guest ends.
    Trap,
    /// It is suspended, and the next deadline is so many ticks later.
    Yield(u64),
    /// The store's callback decides.
    Call,
}

/// A store's part in being interrupted. All but `control` is only used by the thread that runs the store.
#[derive(Debug)]
pub(crate) struct Interrupts {
    control: OnceLock<Arc<Control>>,
    in_host: AtomicBool,
    pending: AtomicBool,
    /// The thread that runs the store, if one does.
    thread: Cell<ThreadId>,
    /// Can the execution be suspended for a preemption?
    suspendable: Cell<bool>,
    on_epoch: Cell<OnEpoch>,
    area: OnceCell<SaveArea>,
    /// Why the guest in the save area was interrupted.
    why: Cell<Interruption>,
}

impl Interrupts {
    pub(crate) const fn new() -> Interrupts {
        Interrupts {
            control: OnceLock::new(),
            in_host: AtomicBool::new(true),
            pending: AtomicBool::new(false),
            thread: Cell::new(ThreadId(0)),
            suspendable: Cell::new(false),
            on_epoch: Cell::new(OnEpoch::Trap),
            area: OnceCell::new(),
            why: Cell::new(Interruption::Preempted),
        }
    }

    /// The store's control, which it gets now if it has none. `phase` is what the store is in.
    pub(crate) fn control(&self, clock: &Arc<EpochClock>, phase: Phase) -> &Arc<Control> {
        self.control.get_or_init(|| {
            let thread = self.thread.get();
            let control = Control::new(clock, phase, thread, self.suspendable.get());
            if phase != Phase::Idle {
                // An execution that is under way cannot be preempted if there is no memory: nobody is there to be told.
                drop(self.provide_area());
            }
            control
        })
    }

    fn control_ptr(&self) -> *const Control {
        self.control.get().map_or(ptr::null(), Arc::as_ptr)
    }

    pub(crate) fn on_epoch(&self) -> OnEpoch {
        self.on_epoch.get()
    }

    /// At the epoch deadline guests end.
    pub(crate) fn trap_at_epoch(&self) {
        self.on_epoch.set(OnEpoch::Trap);
    }

    /// What happens at the epoch deadline from now on.
    ///
    /// # Errors
    /// When there is no memory for interrupting guests of this store.
    pub(crate) fn set_on_epoch(&self, on_epoch: OnEpoch) -> Result<(), EnterError> {
        self.provide_area()?;
        self.on_epoch.set(on_epoch);
        Ok(())
    }

    /// Where the guest's registers are kept while it is interrupted.
    pub(crate) fn area(&self) -> Option<&SaveArea> {
        self.area.get()
    }

    /// Makes a place for the registers of an interrupted guest, if there is none.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn provide_area(&self) -> Result<(), EnterError> {
        if self.area.get().is_none() {
            let area = take_area().map_err(EnterError::Thread)?;
            self.area.get_or_init(|| area);
        }
        Ok(())
    }

    // --- told by the code that drives the store ---

    /// The embedder is going to begin an execution.
    ///
    /// # Errors
    /// When there is no memory for interrupting it.
    #[inline]
    pub(crate) fn prepare(&self, suspendable: bool) -> Result<(), EnterError> {
        self.suspendable.set(suspendable);
        match self.control.get() {
            Some(_) if suspendable => self.provide_area(),
            _ => Ok(()),
        }
    }

    /// [`run`](Self::run) if that needs no more than a word to be written. `false` otherwise: then nothing is done.
    #[inline(always)]
    pub(crate) fn run_uncontrolled(&self) -> bool {
        let (thread, control) = (thread::known_id(), self.control.get());
        let Some(thread) = thread.filter(|_| control.is_none()) else {
            return false;
        };
        self.thread.set(thread);
        true
    }

    /// The embedder begins a plain call on this thread.
    #[inline]
    pub(crate) fn run_plain(&self) {
        self.suspendable.set(false);
        self.run();
    }

    /// The embedder begins or resumes the execution on this thread.
    #[inline]
    pub(crate) fn run(&self) {
        self.thread.set(thread::id());
        if let Some(control) = self.control.get() {
            self.enter(control);
        }
    }

    #[cold]
    fn enter(&self, control: &Arc<Control>) {
        point(Point::Entering, &**control);
        let word = control.enter(self.thread.get(), self.suspendable.get());
        self.pending.store(word.has(Word::REQUESTS), Relaxed);
        if self.suspendable.get() {
            timer::begin_slice(control);
        }
        point(Point::Entered, &**control);
    }

    /// May other threads ask for something? Otherwise nobody has to be told what becomes of the execution.
    #[inline(always)]
    pub(crate) fn is_controlled(&self) -> bool {
        self.control.get().is_some()
    }

    /// The execution is suspended.
    pub(crate) fn suspend(&self) {
        if let Some(control) = self.control.get() {
            point(Point::Suspending, &**control);
            control.suspend();
        }
    }

    /// The execution is over.
    #[inline]
    pub(crate) fn end(&self) {
        if let Some(control) = self.control.get() {
            self.leave(control);
        }
    }

    #[cold]
    fn leave(&self, control: &Control) {
        point(Point::Leaving, control);
        self.pending.store(false, Relaxed);
        control.leave();
    }

    /// The thread that runs the store from now on is this one, although the execution began on another, which waits. Returns that.
    pub(crate) fn run_on_this_thread(&self) -> ThreadId {
        self.run_on(thread::id())
    }

    /// The thread that runs the store from now on. Returns the one that did.
    pub(crate) fn run_on(&self, thread: ThreadId) -> ThreadId {
        if let Some(control) = self.control.get() {
            control.change_thread(thread);
        }
        self.thread.replace(thread)
    }

    /// Shall the execution end, as somebody asked while it was suspended or in a host function? It will, at the latest when the
    /// host function returns.
    pub(crate) fn shall_end(&self) -> Option<Terminated> {
        if !self.pending.load(Relaxed) {
            return None;
        }
        self.control.get()?.word().ends()
    }

    // --- told at the border between guest and host ---

    /// A host function is called.
    #[inline(always)]
    pub(crate) fn host_begins(&self) {
        self.in_host.store(true, Relaxed);
        compiler_fence(SeqCst);
    }

    /// A host function is over. Is there a request to look at, with [`look`]?
    #[inline(always)]
    pub(crate) fn host_ends(&self) -> bool {
        compiler_fence(SeqCst);
        self.in_host.store(false, Relaxed);
        compiler_fence(SeqCst);
        self.pending.load(Relaxed)
    }

    /// Is there a request to look at, with [`look`]?
    #[inline(always)]
    pub(crate) fn is_asked(&self) -> bool {
        compiler_fence(SeqCst);
        self.pending.load(Relaxed)
    }

    /// The guest has been left.
    #[inline(always)]
    pub(crate) fn guest_left(&self) {
        compiler_fence(SeqCst);
        self.in_host.store(true, Relaxed);
    }

    #[inline]
    pub(crate) fn point(&self, at: Point) {
        if POINTS {
            point(at, self.control_ptr());
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        if let Some(control) = self.control.get() {
            control.gone();
        }
        if let Some(area) = self.area.take() {
            give_area_back(area);
        }
    }
}

/// Save areas that no store uses.
static AREAS: Mutex<Vec<SaveArea>> = Mutex::new(Vec::new());

/// No more than these are kept.
const MAX_AREAS: usize = 64;

fn take_area() -> std::io::Result<SaveArea> {
    let free = AREAS.lock().unwrap_or_else(PoisonError::into_inner).pop();
    free.map_or_else(SaveArea::new, Ok)
}

fn give_area_back(area: SaveArea) {
    let mut areas = AREAS.lock().unwrap_or_else(PoisonError::into_inner);
    if areas.len() < MAX_AREAS {
        areas.push(area);
    }
}

/// The error of an execution that was ended from outside.
pub(crate) fn ended(why: Terminated) -> Error {
    Error::new(Trap::Interrupt).context(why)
}

/// Acts on the requests there are, before guest code runs again: in the host function that is over, or in the one that enters a
/// guest.
///
/// # Errors
/// Why the guest has to be raised.
///
/// # Safety
/// The store's innermost activation is this thread's, and nothing on the way from it needs dropping if the execution is cancelled
/// that would not be dropped by returning the error. No reference to the store is alive.
#[cold]
pub(crate) unsafe fn look(execution: NonNull<Execution>) -> Result<(), TrapReason> {
    // SAFETY: the caller's promises are the same.
    unsafe { look_with(execution, 0..0) }
}

/// [`look`], when the guest's registers are saved at these addresses.
pub(crate) unsafe fn look_with(
    execution: NonNull<Execution>,
    registers: Range<usize>,
) -> Result<(), TrapReason> {
    loop {
        let why = {
            // SAFETY: as the caller says; the reference ends before the store is suspended.
            let interrupts = unsafe { execution.as_ref() }.interrupts();
            interrupts.pending.store(false, Relaxed);
            let Some(control) = interrupts.control.get() else {
                return Ok(());
            };
            match interrupts.decide(control.take_requests()) {
                Decision::GoOn => return Ok(()),
                Decision::End(why) => return Err(TrapReason::Terminated(why)),
                Decision::Stop(why) => why,
            }
        };
        // SAFETY: as the caller says. The stack that this runs on is the guest's, or the save area's.
        unsafe { stop(execution, why, registers.clone())? };
        // What was asked while it was suspended is there again.
        // SAFETY: as the caller says.
        if !unsafe { execution.as_ref() }
            .interrupts()
            .pending
            .load(Relaxed)
        {
            return Ok(());
        }
    }
}

/// [`look`] in the midst of a host function that takes long, if there is anything to look at.
///
/// Requests that cannot be acted on from here stay: they are looked at when the host function returns.
///
/// # Errors
/// Why the host function should return.
///
/// # Panics
/// If what is asked at an epoch's end panics.
///
/// # Safety
/// `execution` is valid, and no reference to the store is alive.
#[inline]
pub(crate) unsafe fn look_in_host(execution: NonNull<Execution>) -> Result<(), Error> {
    // SAFETY: as the caller says; the reference ends with the statement.
    if !unsafe { execution.as_ref() }.interrupts().is_asked() {
        return Ok(());
    }
    // SAFETY: the caller's promises are the same.
    unsafe { look_in_host_now(execution) }
}

#[cold]
unsafe fn look_in_host_now(execution: NonNull<Execution>) -> Result<(), Error> {
    {
        // SAFETY: as the caller says; the reference ends with the block.
        let this = unsafe { execution.as_ref() };
        if let Some(why) = this.interrupts().shall_end() {
            return Err(ended(why));
        }
        // Others than the host function may call this: on another thread, or between two stores.
        let calls_here = Activation::current().is_some_and(|innermost| {
            innermost.execution() == execution && innermost.stack().contains(arch::stack_pointer())
        });
        if !calls_here || !this.can_stop_here() {
            return Ok(());
        }
    }
    // SAFETY: that was just checked. What the host functions have is dropped as they return the error.
    match unsafe { look(execution) } {
        Ok(()) => Ok(()),
        Err(TrapReason::Terminated(why)) => Err(ended(why)),
        Err(TrapReason::Host(error)) => Err(error),
        Err(TrapReason::Wasm { trap, .. }) => Err(Error::new(trap)),
        Err(TrapReason::Panic(payload)) => std::panic::resume_unwind(payload),
    }
}

/// What becomes of the requests that were taken.
enum Decision {
    GoOn,
    End(Terminated),
    Stop(Interruption),
}

impl Interrupts {
    /// Deadlines by epoch count again for what an epoch had suspended.
    pub(crate) fn goes_on_after_epoch(&self) {
        if let Some(control) = self.control.get() {
            control.goes_on_after_epoch();
        }
    }

    /// Async-signal-safe.
    fn decide(&self, requests: Requests) -> Decision {
        if let Some(why) = requests.ends {
            // Activations further out are left when their host functions return.
            self.pending.store(true, Relaxed);
            return Decision::End(why);
        }
        if requests.epoch {
            return match self.on_epoch.get() {
                OnEpoch::Trap => {
                    self.pending.store(true, Relaxed);
                    Decision::End(Terminated::Epoch)
                }
                OnEpoch::Yield(_) | OnEpoch::Call => Decision::Stop(Interruption::Epoch),
            };
        }
        if requests.preempt && self.suspendable.get() {
            return Decision::Stop(Interruption::Preempted);
        }
        Decision::GoOn
    }
}

/// Suspends the computation until it is resumed.
unsafe fn stop(
    execution: NonNull<Execution>,
    why: Interruption,
    registers: Range<usize>,
) -> Result<(), TrapReason> {
    // SAFETY: the callers' promises are the same.
    let result = unsafe { Execution::suspend_interrupted(execution, why, registers) };
    if why == Interruption::Epoch {
        // SAFETY: as above: the execution is valid. The reference ends here.
        unsafe { execution.as_ref() }
            .interrupts()
            .goes_on_after_epoch();
    }
    result
}

/// Handles the signal. Async-signal-safe.
pub(crate) fn handle(interrupted: &mut Interrupted<'_>) {
    let Some(innermost) = Activation::current() else {
        return;
    };
    let mut next = Some(innermost);
    while let Some(activation) = next {
        next = activation.previous();
        // Between two activations of one store the outer one is not what runs, and one that is just being entered or left is not
        // in both lists.
        if !activation.is_innermost_of_store() {
            continue;
        }
        // SAFETY: an execution outlives its activations.
        let execution = unsafe { activation.execution().as_ref() };
        let interrupts = execution.interrupts();
        let Some(control) = interrupts.control.get() else {
            continue;
        };
        interrupts.point(Point::HandlerEntered);
        let word = control.word();
        if !word.has(Word::REQUESTS) {
            continue;
        }
        let is_innermost = ptr::eq(activation, innermost);
        let pc = interrupted.register(libc::REG_RIP);
        if is_innermost && let Some(code) = Code::at(pc) {
            if activation.can_be_raised() {
                interrupts.stop_guest(interrupted, activation, control, code);
            }
        } else {
            interrupts.pending.store(true, Relaxed);
            if interrupts.in_host.load(Relaxed) {
                control.defer();
            }
        }
    }
}

/// What kind of guest code a program counter is in.
#[derive(Copy, Clone, Debug)]
struct Code {
    pc: usize,
    /// Bytes of the frame's making that are on the stack already, if it is not complete.
    partial_frame: Option<usize>,
    /// Is the fuel count in its register?
    counts_fuel: bool,
}

impl Code {
    /// `None` for code that is not a guest's, and for trampolines that move the fuel count between its register and the store:
    /// which of the two is right depends on the instruction. They end soon. Async-signal-safe.
    fn at(pc: usize) -> Option<Code> {
        let code = registry::with_region(pc, |region| {
            if region.counts_fuel() && !region.is_in_function(pc) {
                return None;
            }
            // SAFETY: a byte of code of a registered region, which is mapped.
            let byte = |at: usize| unsafe { *(at as *const u8) };
            // `push rbp` is what every function begins with, and `ret` what it ends with: there the frame pointer is the caller's.
            let partial_frame = if region.is_function_start(pc) || byte(pc) == RET {
                Some(0)
            } else if region.is_function_start(pc.wrapping_sub(1)) {
                Some(size_of::<usize>())
            } else {
                None
            };
            Some(Code {
                pc,
                partial_frame,
                counts_fuel: region.counts_fuel(),
            })
        });
        code.flatten()
    }
}

const RET: u8 = 0xc3;

impl Interrupts {
    /// Does to a guest that runs its own code what was asked. Async-signal-safe.
    fn stop_guest(
        &self,
        interrupted: &mut Interrupted<'_>,
        activation: &Activation,
        control: &Control,
        code: Code,
    ) {
        // SAFETY: an execution outlives its activations.
        let execution = unsafe { activation.execution().as_ref() };
        if code.counts_fuel {
            activation.store_fuel(interrupted.register(libc::REG_R15) as i64);
        }
        match self.decide(control.take_requests()) {
            Decision::GoOn => {}
            Decision::End(why) => {
                let stack = activation.stack();
                let return_slot = code
                    .partial_frame
                    .map(|bytes| interrupted.register(libc::REG_RSP).wrapping_add(bytes));
                let site = FaultSite {
                    pc: code.pc,
                    fp: interrupted.register(libc::REG_RBP),
                    return_address: return_slot.filter(|&slot| stack.holds_word(slot)).map(
                        |slot| {
                            // SAFETY: the word is on the stack, which is mapped.
                            unsafe { *(slot as *const usize) }
                        },
                    ),
                };
                activation.record(TrapReason::Terminated(why), Some(site));
                let argument = ptr::from_ref(activation).addr();
                interrupted.redirect(arch::raise as *const () as usize, argument, None);
            }
            Decision::Stop(why) => {
                let saved = self.area.get().filter(|area| interrupted.save(area));
                if let Some(area) = saved {
                    self.why.set(why);
                    let argument = ptr::from_ref(execution).addr();
                    let stack = area.stack_base();
                    let function = stopped as *const () as usize;
                    interrupted.redirect(function, argument, Some(stack));
                }
            }
        }
    }
}

/// Where a guest goes that was interrupted to be suspended: on its save area's stack.
///
/// # Safety
/// Only the signal handler lets a thread go here, with the execution whose save area it has filled.
unsafe extern "C" fn stopped(execution: NonNull<Execution>) -> ! {
    // SAFETY: the handler has passed the execution of the thread's innermost activation, whose guest is in the save area. No reference
    // to the store is alive while guest code runs, and those here end before it is suspended.
    unsafe {
        let this = execution.as_ref();
        let interrupts = this.interrupts();
        interrupts.point(Point::Interrupted);
        let Some(area) = interrupts.area.get() else {
            unreachable!("the handler has saved the registers there")
        };
        let (saved, why) = (area.saved(), interrupts.why.get());
        let pc = area.register(libc::REG_RIP) as usize;
        let counts_fuel = Code::at(pc).is_some_and(|code| code.counts_fuel);
        // Backtraces begin at the instruction that is next; what the guest has noted itself comes back.
        let exit = this.replace_exit((pc.wrapping_add(1), area.register(libc::REG_RBP) as usize));

        let mut resumed = stop(execution, why, saved.clone());
        if resumed.is_ok() && execution.as_ref().interrupts().pending.load(Relaxed) {
            resumed = look_with(execution, saved);
        }
        if let Err(reason) = resumed {
            activation::raise(execution, reason);
        }

        let this = execution.as_ref();
        this.replace_exit(exit);
        let Some(area) = this.interrupts().area.get() else {
            unreachable!("it stays as long as the store")
        };
        if counts_fuel {
            area.set_register(libc::REG_R15, this.fuel_count() as u64);
        }
        this.interrupts().point(Point::Resumed);
        area.resume()
    }
}
