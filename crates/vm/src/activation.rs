//! Activations: one stretch of guest code, from the host's call into it to its return or trap.
//!
//! ```text
//!                     the thread's own stack              the store's guest stack
//!                    +-----------------------+      base +---------------------------+
//!   embedder ------> | call_on_guest_stack   | ========> | closure of the runtime    |
//!                    |   or drive  (waits)   |           | enter: Activation A       | <-+ outer, previous
//!                    +-----------------------+           | entry trampoline          |   |
//!                                                        | guest frames              |   |  exit_fp/exit_pc of A's guest
//!                                                        | host shim, host function  |   |  code are saved in B
//!                                                        | enter: Activation B ------|---+
//!                                                        | entry trampoline          |
//!                                                        | guest frames              |
//!                                                        | ...                       |
//!                                                  limit +---------------------------+
//! ```
//!
//! Two lists run through the activations, which all lie on stacks: `previous` joins those of one thread, innermost first, for
//! the signal handler, which starts at the thread-local [`CURRENT`]; `outer` joins those of one store, for backtraces, and starts
//! at [`Execution::innermost`]. They differ when a host function of one store runs another store.
//!
//! A *run* is what is on one stack, from the switch to it to its end: of a plain call, or of a [computation](crate::suspend) that
//! may be suspended. [`Execution::run`] is the innermost of a store.
//!
//! A guest stops early by [`raise`]: the reason is put into the innermost activation and the registers saved by
//! [`arch::enter_guest`] are restored, as if the guest had returned. Nothing is unwound: guest frames own nothing, and
//! the host's frames between have run their destructors before.
//!
//! Invariants:
//! * An activation is in both lists exactly while `enter_guest` runs it and its run is not suspended. Then its neighbours in the
//!   lists may be gone: whoever resumes it puts it into the lists that are there then.
//! * Code between `enter_guest` and the end of `enter` may be on another thread than the code before: nothing that belongs to a
//!   thread is kept across.
//! * `StoreContext::exit_pc` and `exit_fp` always describe the innermost activation's last call to the host, or are 0 when it
//!   has made none: they are saved when an activation begins and restored when it ends, however it ends. A store without activation
//!   has any.
//! * [`Execution::run`] is on the stack that the store's code runs on, exactly while it does.

mod frames;
mod plain;
mod run;

pub(crate) use frames::{FaultSite, Frame, Frames};
use frames::{capture, take_captured};
pub(crate) use plain::call_in_registers;
use run::OwnStack;
pub(crate) use run::{BASE, LINK, Outside, Run, Suspended, call_on_guest_stack};

use crate::arch;
use crate::control::Phase;
use crate::fuel::Fuel;
use crate::interrupt::{self, Interrupts};
use crate::repair::Repairs;
use crate::slot::MapError;
use crate::stack::{GuestStack, StackBounds, StackSpec};
use crate::suspend::{Cancelled, Computations};
use crate::test_points::Point;
use crate::trap::{Raised, TrapReason};
use cowling_abi::Trap;
use cowling_abi::layout::{StoreContext, VmFuncRef, VmValue};
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering::SeqCst, compiler_fence};

/// How many frames of the innermost activation a trap records. There is no room for more where it may not allocate.
pub(crate) const MAX_TRAP_FRAMES: usize = 64;

/// Stack that must be left for entering a guest, in bytes: so much that the entry itself cannot overflow.
const ENTRY_STACK: usize = 8 << 10;

thread_local! {
    /// The activation this thread runs. Without destructor, so that a signal handler can read it.
    static CURRENT: Cell<*const Activation> = const { Cell::new(ptr::null()) };
}

/// The guest cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// There is no memory for its stack.
    #[error(transparent)]
    Stack(#[from] MapError),
    /// The thread cannot be made ready to handle the guest's faults.
    #[error("cannot prepare this thread for running guests: {0}")]
    Thread(#[source] io::Error),
}

/// What a store needs in order to run guests. Must be the first field of the store, which must not move while it runs one: the
/// guest finds the store by the address of the [`StoreContext`] inside.
///
/// Everything in it changes behind shared references, because guest code and host functions reach it through raw pointers.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Execution {
    context: UnsafeCell<StoreContext>,
    /// Values of the callee-saved registers when a guest called a throwing builtin: `rbx`, `r12` to `r15`.
    thrower_registers: UnsafeCell<[u64; 5]>,
    innermost: Cell<*const Activation>,
    run: Cell<*const Run>,
    computations: Computations,
    stack: UnsafeCell<Option<OwnStack>>,
    /// May anything have been written in the store's slots since they were given to it?
    touched: Cell<bool>,
    /// Not 0 if there may have been frames on the store's stack that are not compiled code's, other than outermost ones.
    host_frames: Cell<usize>,
    stack_spec: StackSpec,
    host_stack_reserve: usize,
    fuel: Fuel,
    interrupts: Interrupts,
    repairs: Repairs,
}

/// Offset of [`Execution`]'s saved registers, for the assembly: from the [`StoreContext`]'s address.
pub(crate) const THROWER_REGISTERS: usize = std::mem::offset_of!(Execution, thrower_registers);

impl Execution {
    /// For a store whose guests get this much stack, in bytes. The stack is mapped when it is first needed, unless one is
    /// [provided](Self::provide_stack) before.
    pub(crate) fn new(max_wasm_stack: u64, host_stack_reserve: u64) -> Execution {
        Execution {
            context: UnsafeCell::new(StoreContext {
                exit_fp: 0,
                exit_pc: 0,
                host_stack_limit: 0,
                fuel: 0,
            }),
            thrower_registers: UnsafeCell::new([0; 5]),
            innermost: Cell::new(ptr::null()),
            run: Cell::new(ptr::null()),
            computations: Computations::default(),
            stack: UnsafeCell::new(None),
            touched: Cell::new(false),
            host_frames: Cell::new(0),
            stack_spec: StackSpec::new(max_wasm_stack, host_stack_reserve),
            host_stack_reserve: usize::try_from(host_stack_reserve).unwrap_or(usize::MAX),
            fuel: Fuel::default(),
            interrupts: Interrupts::new(),
            repairs: Repairs::default(),
        }
    }

    /// Return address and frame pointer of the guest's last call to the host. Async-signal-safe.
    fn exit(&self) -> (usize, usize) {
        // SAFETY: reads of words that only this thread's code for the store writes. Volatile, so that they are read one by one, as
        // they have been written: a processor does not forward two writes to one read.
        unsafe {
            let context = self.context.get();
            (
                (&raw const (*context).exit_pc).read_volatile(),
                (&raw const (*context).exit_fp).read_volatile(),
            )
        }
    }

    /// What interrupts the store's guests.
    pub(crate) fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// Replaces the return address and frame pointer of the guest's last call to the host: where backtraces begin.
    #[inline]
    pub(crate) fn replace_exit(&self, (pc, fp): (usize, usize)) -> (usize, usize) {
        let before = self.exit();
        self.note_exit(before.0);
        // SAFETY: plain writes of words that only this thread's code for the store uses.
        unsafe { ((*self.context.get()).exit_pc, (*self.context.get()).exit_fp) = (pc, fp) };
        before
    }

    /// The fuel that is not in the count.
    pub(crate) fn fuel(&self) -> &Fuel {
        &self.fuel
    }

    /// The fuel count, as the host sees it.
    pub(crate) fn fuel_count(&self) -> i64 {
        // SAFETY: a plain read of a word that only this thread's code for the store writes.
        unsafe { (*self.context.get()).fuel }
    }

    /// Sets the fuel count. Async-signal-safe.
    pub(crate) fn set_fuel_count(&self, count: i64) {
        // SAFETY: a plain write of a word that only this thread's code for the store uses.
        unsafe { (*self.context.get()).fuel = count };
    }

    fn set_exit(&self, (pc, fp): (usize, usize)) {
        // SAFETY: only this thread's code for the store uses the context, and none runs right now.
        let context = unsafe { &mut *self.context.get() };
        self.note_exit(context.exit_pc);
        (context.exit_pc, context.exit_fp) = (pc, fp);
    }

    /// The store's part in repairing failed accesses.
    pub(crate) fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// Notes that something may be written in the store's slots: by guests, which run only once the store has
    /// [provided a run](Self::provided_run) or a plain call has begun, or by the host.
    #[inline]
    pub(crate) fn touch(&self) {
        self.touched.set(true);
    }

    /// May anything have been written in the store's slots?
    pub(crate) fn is_touched(&self) -> bool {
        self.touched.get()
    }

    /// Notes that there are, or will be, frames on the store's stack that are not compiled code's, other than the few of the
    /// runtime that are outermost: it is not known how far down the stack is used then.
    pub(crate) fn note_host_frames(&self) {
        self.host_frames.set(1);
    }

    /// May there have been frames on the store's stack that are not compiled code's, other than outermost ones?
    pub(crate) fn had_host_frames(&self) -> bool {
        self.host_frames.get() | self.exit().0 != 0
    }

    /// Notes that guests had called the host or a builtin, if they had, before that is forgotten.
    #[inline(always)]
    fn note_exit(&self, pc: usize) {
        self.host_frames.set(self.host_frames.get() | pc);
    }

    /// How large this store's stacks are.
    pub(crate) fn stack_spec(&self) -> StackSpec {
        self.stack_spec
    }

    /// Does the store have a stack already?
    pub(crate) fn has_stack(&self) -> bool {
        self.own_run().is_some()
    }

    /// Gives the store its stack: that of its first slot. A second one is dropped.
    pub(crate) fn provide_stack(&self, stack: GuestStack) {
        if !self.has_stack() {
            let run = Run::new(stack.bounds(), self.host_stack_reserve);
            // SAFETY: only this thread's code for the store uses the cell, and there is nothing in it to refer to yet.
            unsafe { *self.stack.get() = Some(OwnStack { stack, run }) };
        }
    }

    /// The run of the store's own stack, if it has one.
    fn own_run(&self) -> Option<&Run> {
        // SAFETY: only this thread's code for the store uses the cell, and what is in it is replaced only when nothing uses it.
        unsafe { (*self.stack.get()).as_ref() }.map(|own| &own.run)
    }

    /// The run of the store's own stack, which it gets now if it has none.
    ///
    /// # Errors
    /// When there is no memory for it.
    #[inline]
    pub(crate) fn provided_run(&self) -> Result<&Run, MapError> {
        self.touch();
        match self.own_run() {
            Some(run) => Ok(run),
            None => self.make_run(),
        }
    }

    #[cold]
    fn make_run(&self) -> Result<&Run, MapError> {
        self.provide_stack(GuestStack::new(self.stack_spec)?);
        Ok(self
            .own_run()
            .unwrap_or_else(|| unreachable!("it was just provided")))
    }

    /// The room above the store's stack, if it has one.
    pub(crate) fn room(&self) -> Option<NonNull<u8>> {
        // SAFETY: as for `own_run`.
        unsafe { (*self.stack.get()).as_ref() }.map(|own| own.stack.room())
    }

    /// Takes the store's stack away. It gets another one when it needs one.
    ///
    /// # Safety
    /// Nothing runs on it, or ever will.
    pub(crate) unsafe fn take_stack(&self) -> Option<GuestStack> {
        // SAFETY: as for `provide_stack`, and nobody refers to its run.
        unsafe { (*self.stack.get()).take() }.map(|own| own.stack)
    }

    /// A run on another stack of the same size.
    pub(crate) fn run_on(&self, stack: &GuestStack) -> Run {
        Run::new(stack.bounds(), self.host_stack_reserve)
    }

    /// The innermost run of the store; null if it has none.
    #[inline]
    pub(crate) fn run(&self) -> *const Run {
        self.run.get()
    }

    /// Is what runs being cancelled? Then no guest of the store is entered or returned to.
    #[inline]
    pub(crate) fn is_cancelling(&self) -> bool {
        self.computations.is_cancelling()
    }

    /// What the store knows of computations that may be suspended.
    #[inline]
    pub(crate) fn computations(&self) -> &Computations {
        &self.computations
    }

    /// Where it is in the life of an execution.
    pub(crate) fn phase(&self) -> Phase {
        match () {
            () if !self.run().is_null() => Phase::Running,
            () if self.computations.is_blocked() => Phase::Suspended,
            () => Phase::Idle,
        }
    }

    /// Is guest code of this store on a stack somewhere?
    pub(crate) fn is_active(&self) -> bool {
        !self.innermost.get().is_null()
    }

    /// The stacks that guest code of this store is on, innermost activation first; one stack may come several times.
    pub(crate) fn stacks_in_use(&self) -> impl Iterator<Item = StackBounds> {
        let mut next = self.innermost.get();
        std::iter::from_fn(move || {
            // SAFETY: activations are in the list only while they live; they lie on the stacks that this is about.
            let activation = unsafe { next.as_ref()? };
            next = activation.outer.get();
            // SAFETY: a run outlives its activations.
            Some(unsafe { &*activation.run }.stack)
        })
    }

    /// Is as much stack left as host functions are promised?
    #[inline]
    pub(crate) fn has_host_stack(&self) -> bool {
        // SAFETY: a plain read of a word that only this thread's code for the store writes.
        arch::stack_pointer() >= unsafe { (*self.context.get()).host_stack_limit }
    }

    /// The store's guest frames, as [`Raised::frames`] has them but without a limit: the host function or builtin that is
    /// running now is called by the first. Empty when no guest of the store is active.
    pub(crate) fn backtrace(&self) -> Vec<usize> {
        let mut frames = Vec::new();
        if let Some(guest) = self.guest_frames() {
            frames.extend(guest.map(Frame::call_site));
            // SAFETY: `innermost` is not null as there are guest frames, and activations stay in the list while they live.
            frames.extend(unsafe { &*self.innermost.get() }.outer_frames());
        }
        frames
    }

    /// The frames of the innermost activation, from the one that called the host or a builtin outwards; `None` if no guest of
    /// the store is active.
    pub(crate) fn guest_frames(&self) -> Option<Frames> {
        // SAFETY: activations are in the list only while they live; they lie on the stack that runs this code.
        let activation = unsafe { self.innermost.get().as_ref()? };
        let (pc, fp) = self.exit();
        Some(activation.frames(pc, fp))
    }
}

/// One stretch of guest code. Lives in the frame of [`enter`].
#[repr(C)]
pub(crate) struct Activation {
    /// Stack pointer inside `enter_guest`, at which everything that has to be restored lies. Written by assembly.
    resume_sp: Cell<usize>,
    /// Frame pointer of `enter_guest`: where a walk over guest frames ends. Written by assembly.
    entry_fp: Cell<usize>,
    execution: NonNull<Execution>,
    run: *const Run,
    /// The function, if it is entered with its arguments in registers; else null.
    func: *const VmFuncRef,
    previous: Cell<*const Activation>,
    outer: Cell<*const Activation>,
    /// `exit_pc` and `exit_fp` of the outer activation.
    outer_exit_pc: Cell<usize>,
    outer_exit_fp: Cell<usize>,
    /// Why it was raised. Taken before the activation is gone, so there is nothing to drop.
    reason: UnsafeCell<ManuallyDrop<Option<TrapReason>>>,
}

/// Offset of [`Activation`]'s stack pointer, for the assembly.
pub(crate) const RESUME_SP: usize = std::mem::offset_of!(Activation, resume_sp);
/// Offset of [`Activation`]'s frame pointer, for the assembly.
pub(crate) const ENTRY_FP: usize = std::mem::offset_of!(Activation, entry_fp);

/// Offset of [`Activation`]'s run, for the assembly.
pub(crate) const RUN: usize = std::mem::offset_of!(Activation, run);
/// Offset of [`Activation`]'s function, for the assembly.
pub(crate) const FUNC: usize = std::mem::offset_of!(Activation, func);

impl Activation {
    /// One that is not linked yet. The places for the guest's last call to the host are emptied for it.
    ///
    /// # Safety
    /// The execution and the run stay valid as long as it; no guest code of the store runs on this thread right now.
    #[inline(always)]
    unsafe fn new(
        execution: NonNull<Execution>,
        run: *const Run,
        func: *const VmFuncRef,
    ) -> Activation {
        // SAFETY: the reference ends here; only this thread's code for the store uses the context.
        let (innermost, exit) = unsafe {
            let this = execution.as_ref();
            (this.innermost.get(), this.replace_exit((0, 0)))
        };
        Activation {
            resume_sp: Cell::new(0),
            entry_fp: Cell::new(0),
            execution,
            run,
            func,
            previous: Cell::new(CURRENT.get()),
            outer: Cell::new(innermost),
            outer_exit_pc: Cell::new(exit.0),
            outer_exit_fp: Cell::new(exit.1),
            reason: UnsafeCell::new(ManuallyDrop::new(None)),
        }
    }

    /// One that is not linked yet, of a store that has no other.
    ///
    /// # Safety
    /// As for [`new`](Self::new); nothing of the store runs.
    #[inline(always)]
    unsafe fn outermost(
        execution: NonNull<Execution>,
        run: *const Run,
        func: *const VmFuncRef,
    ) -> Activation {
        // SAFETY: as the caller says; the reference ends here.
        unsafe {
            debug_assert!(!execution.as_ref().is_active());
            execution.as_ref().replace_exit((0, 0));
        }
        Activation {
            resume_sp: Cell::new(0),
            entry_fp: Cell::new(0),
            execution,
            run,
            func,
            previous: Cell::new(CURRENT.get()),
            outer: Cell::new(ptr::null()),
            outer_exit_pc: Cell::new(0),
            outer_exit_fp: Cell::new(0),
            reason: UnsafeCell::new(ManuallyDrop::new(None)),
        }
    }

    /// Puts it into both lists, from where its guest code can be interrupted. Returns whether something was asked of the guest
    /// before, which has to be looked at then.
    ///
    /// # Safety
    /// It is entered or unlinked next, and stays where it is until it is unlinked.
    #[inline(always)]
    unsafe fn link(&self) -> bool {
        // SAFETY: the execution outlives its activations; the reference ends here.
        let execution = unsafe { self.execution.as_ref() };
        execution.innermost.set(self);
        // From here on the signal handler may look at it.
        compiler_fence(SeqCst);
        CURRENT.set(self);
        execution.interrupts.host_ends()
    }

    /// Takes it out of the store's list. The caller takes it out of the thread's.
    ///
    /// # Safety
    /// Its guest does not run any more.
    #[inline(always)]
    unsafe fn unlink(&self) {
        // SAFETY: the execution outlives its activations; the reference ends here.
        let execution = unsafe { self.execution.as_ref() };
        execution.innermost.set(self.outer.get());
        execution.set_exit(self.outer_exit());
        execution.interrupts.guest_left();
    }

    /// Was its guest entered by an entry trampoline?
    fn by_trampoline(&self) -> bool {
        self.func.is_null()
    }

    /// Has its guest been stopped?
    ///
    /// # Safety
    /// The guest does not run any more.
    #[inline(always)]
    unsafe fn was_raised(&self) -> bool {
        // SAFETY: whoever raises puts the reason there before the guest stops, and nobody does any more.
        unsafe { (*self.reason.get()).is_some() }
    }

    /// Why its guest has been stopped.
    ///
    /// # Safety
    /// It has, and is unlinked.
    #[cold]
    unsafe fn raised(&self) -> Box<Raised> {
        let (mut frames, cut_after) = take_captured();
        // SAFETY: nobody else looks at the reason any more.
        let reason = unsafe { (*self.reason.get()).take() };
        frames.extend(self.outer_frames());
        let Some(reason) = reason else {
            unreachable!("raising begins with a reason")
        };
        Box::new(Raised {
            reason,
            frames,
            cut_after,
        })
    }

    /// The activation that this thread runs. Async-signal-safe.
    pub(crate) fn current() -> Option<&'static Activation> {
        // SAFETY: CURRENT holds an activation only while it lives. It outlives every use here: those happen inside it.
        unsafe { CURRENT.get().as_ref() }
    }

    /// The stack it runs on.
    pub(crate) fn stack(&self) -> &StackBounds {
        // SAFETY: a run outlives its activations.
        &unsafe { &*self.run }.stack
    }

    /// Its store's execution.
    pub(crate) fn execution(&self) -> NonNull<Execution> {
        self.execution
    }

    /// The activation outside this one on the thread. Async-signal-safe.
    pub(crate) fn previous(&self) -> Option<&Activation> {
        // SAFETY: the activations of a thread are nested, so those further out live at least as long.
        unsafe { self.previous.get().as_ref() }
    }

    /// Is it the innermost of its store? Async-signal-safe.
    pub(crate) fn is_innermost_of_store(&self) -> bool {
        // SAFETY: an execution outlives its activations.
        ptr::eq(unsafe { self.execution.as_ref() }.innermost.get(), self)
    }

    /// Can it be [raised](arch::raise)? Not in its first and last instructions. Async-signal-safe.
    pub(crate) fn can_be_raised(&self) -> bool {
        self.resume_sp.get() != 0
    }

    /// Stores the fuel count that guest code had in its register. Async-signal-safe.
    pub(crate) fn store_fuel(&self, count: i64) {
        // SAFETY: the execution outlives its activations.
        unsafe { self.execution.as_ref() }.set_fuel_count(count);
    }

    /// Notes a trap that the processor noticed. Async-signal-safe. The caller makes the thread continue in
    /// [`arch::raise`].
    ///
    /// `guest` says where the guest was when it trapped itself; `None` if the host did, called by the guest.
    pub(crate) fn record_fault(
        &self,
        trap: Trap,
        guest: Option<FaultSite>,
        fault_address: Option<usize>,
    ) {
        let reason = TrapReason::Wasm {
            trap,
            fault_address,
        };
        self.record(reason, guest);
    }

    /// Notes why the guest will be raised, with its frames. The rest is as for [`record_fault`](Self::record_fault).
    pub(crate) fn record(&self, reason: TrapReason, guest: Option<FaultSite>) {
        // SAFETY: the execution outlives its activations.
        let execution = unsafe { self.execution.as_ref() };
        // What is made of the reason is made by more than a few frames, perhaps on this stack.
        execution.note_host_frames();
        match guest {
            Some(site) => {
                let mut rest = self.frames(site.return_address.unwrap_or(site.pc), site.fp);
                if site.return_address.is_none() {
                    rest.next();
                }
                let frames = std::iter::once(site.pc).chain(rest.map(Frame::call_site));
                capture(frames, self.by_trampoline());
            }
            None => {
                let (pc, fp) = execution.exit();
                let frames = self.frames(pc, fp).map(Frame::call_site);
                capture(frames, self.by_trampoline());
            }
        }
        // SAFETY: nobody else looks at the reason while the guest runs; it is None, so nothing is overwritten undropped.
        unsafe { **self.reason.get() = Some(reason) };
    }

    fn frames(&self, pc: usize, fp: usize) -> Frames {
        Frames {
            pc,
            fp,
            entry_fp: self.entry_fp.get(),
            stack: *self.stack(),
        }
    }

    fn outer_exit(&self) -> (usize, usize) {
        (self.outer_exit_pc.get(), self.outer_exit_fp.get())
    }

    /// Frames of the activations of the same store outside this one.
    fn outer_frames(&self) -> impl Iterator<Item = usize> {
        let mut inner = self;
        std::iter::from_fn(move || {
            // SAFETY: activations of a store are nested, so outer ones outlive inner ones.
            let outer = unsafe { inner.outer.get().as_ref()? };
            let (pc, fp) = inner.outer_exit();
            let frames = outer.frames(pc, fp);
            inner = outer;
            Some(frames.map(Frame::call_site))
        })
        .flatten()
    }
}

/// Sets [`CURRENT`] after guest code has run, perhaps on another thread than before: a function of its own, so that no address of
/// the thread that was is reused.
#[inline(never)]
fn set_current(activation: *const Activation) {
    CURRENT.set(activation);
}

/// Calls guest code through its entry trampoline and waits for it to return or stop.
///
/// # Errors
/// Why the guest stopped early, or a stack overflow if there is hardly any stack left to begin with.
///
/// # Safety
/// * Runs inside [`call_on_guest_stack`] or a computation of the same `execution`, which stays valid during the call.
/// * No Rust reference to the store or to anything the guest reaches is held across the call.
/// * `entry` is the entry trampoline of the type of the function at `code`, `ctx` the context to call it with, and `values` points
///   to as many values as it has parameters or results, whichever are more.
/// * [`signals::init`](crate::signals::init) has succeeded.
pub(crate) unsafe fn enter(
    execution: NonNull<Execution>,
    entry: *const u8,
    ctx: *mut u8,
    code: *const u8,
    values: *mut VmValue,
) -> Result<(), Box<Raised>> {
    let activation = {
        // SAFETY: the caller keeps the execution valid; this reference ends before the guest runs.
        let this = unsafe { execution.as_ref() };
        let run = this.run.get();
        // SAFETY: guests are entered inside call_on_guest_stack or a computation, so there is a run.
        let stack = &unsafe { &*run }.stack;
        if this.is_cancelling() {
            return Err(Box::new(Raised {
                reason: TrapReason::Host(Cancelled.into()),
                frames: Vec::new(),
                cut_after: None,
            }));
        }
        if arch::stack_pointer() < stack.limit().saturating_add(ENTRY_STACK) {
            return Err(Box::new(Raised {
                reason: TrapReason::Wasm {
                    trap: Trap::StackOverflow,
                    fault_address: None,
                },
                frames: this.backtrace(),
                cut_after: None,
            }));
        }
        // SAFETY: as the caller says.
        unsafe { Activation::new(execution, run, ptr::null()) }
    };
    // SAFETY: as the caller says; what was asked of the guest before now is looked at here; the signal handler sees to what comes
    // later.
    let refused = unsafe {
        match activation.link() {
            true => interrupt::look(execution).err(),
            false => None,
        }
    };
    if refused.is_none() {
        let address = ptr::from_ref(&activation);
        // SAFETY: as above.
        unsafe { execution.as_ref() }
            .interrupts
            .point(Point::EnteringGuest);
        // SAFETY: the caller vouches for what is called; the activation is linked as raising and the signal handler need it.
        unsafe { arch::enter_guest(address, entry, ctx, code, values) }
    } else {
        // SAFETY: nobody else looks at the reason.
        unsafe { **activation.reason.get() = refused };
    }
    // SAFETY: as above, the guest does not run any more.
    unsafe { execution.as_ref() }
        .interrupts
        .point(Point::GuestReturned);
    set_current(activation.previous.get());
    // SAFETY: as the caller says, the guest does not run any more.
    unsafe {
        activation.unlink();
        if activation.was_raised() {
            return Err(activation.raised());
        }
    }
    Ok(())
}

/// Stops the guest that called the builtin or host function that runs now: its [`enter`] returns `reason`.
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

#[cfg(test)]
mod tests;
