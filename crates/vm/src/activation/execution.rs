//! What a store keeps of what runs in it.

use super::{Activation, CURRENT, Frame, Frames, OwnStack, Run};
use crate::arch;
use crate::control::Phase;
use crate::embedder::StackCreator;
use crate::fuel::Fuel;
use crate::interrupt::Interrupts;
use crate::repair::Repairs;
use crate::slot::MapError;
use crate::stack::{GuestStack, StackBounds, StackSpec};
use crate::suspend::Computations;
use cowling_abi::gc_heap::VmGcHeap;
use cowling_abi::layout::StoreContext;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// What a store needs in order to run guests. Must be the first field of the store, which must not move while it runs one: the
/// guest finds the store by the address of the [`StoreContext`] inside.
///
/// Everything in it changes behind shared references, because guest code and host functions reach it through raw pointers.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Execution {
    pub(super) context: UnsafeCell<StoreContext>,
    /// Values of the callee-saved registers when a guest called a throwing builtin: `rbx`, `r12` to `r15`.
    pub(super) thrower_registers: UnsafeCell<[u64; 5]>,
    pub(super) innermost: Cell<*const Activation>,
    pub(super) run: Cell<*const Run>,
    pub(super) computations: Computations,
    pub(super) stack: UnsafeCell<Option<OwnStack>>,
    /// May anything have been written in the store's slots since they were given to it?
    pub(super) touched: Cell<bool>,
    /// Not 0 if there may have been frames on the store's stack that are not compiled code's, other than outermost ones.
    pub(super) host_frames: Cell<usize>,
    pub(super) stack_spec: StackSpec,
    pub(super) stacks: Stacks,
    pub(super) host_stack_reserve: usize,
    pub(super) fuel: Fuel,
    pub(super) interrupts: Interrupts,
    pub(super) repairs: Repairs,
}

/// Who makes a store's stacks, if the embedder does.
#[derive(Clone, Default)]
pub(crate) struct Stacks(pub(crate) Option<Arc<dyn StackCreator>>);

impl fmt::Debug for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stacks").field(&self.0.is_some()).finish()
    }
}

/// Offset of [`Execution`]'s saved registers, for the assembly: from the [`StoreContext`]'s address.
pub(crate) const THROWER_REGISTERS: usize = std::mem::offset_of!(Execution, thrower_registers);

impl Execution {
    /// For a store whose guests get this much stack, in bytes. The stack is mapped when it is first needed, unless one is
    /// [provided](Self::provide_stack) before.
    #[inline]
    pub(crate) fn new(max_wasm_stack: u64, host_stack_reserve: u64, stacks: Stacks) -> Execution {
        Execution {
            context: UnsafeCell::new(StoreContext {
                exit_fp: 0,
                exit_pc: 0,
                host_stack_limit: 0,
                fuel: 0,
                gc_heap: VmGcHeap::none(),
            }),
            thrower_registers: UnsafeCell::new([0; 5]),
            innermost: Cell::new(ptr::null()),
            run: Cell::new(ptr::null()),
            computations: Computations::default(),
            stack: UnsafeCell::new(None),
            touched: Cell::new(false),
            host_frames: Cell::new(0),
            stack_spec: StackSpec::new(max_wasm_stack, host_stack_reserve),
            stacks,
            host_stack_reserve: usize::try_from(host_stack_reserve).unwrap_or(usize::MAX),
            fuel: Fuel::default(),
            interrupts: Interrupts::new(),
            repairs: Repairs::default(),
        }
    }

    /// Return address and frame pointer of the guest's last call to the host. Async-signal-safe.
    pub(super) fn exit(&self) -> (usize, usize) {
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

    /// What compiled code knows of the store's heap. To be used only while no guest code of the store runs.
    pub(crate) fn gc_heap(&self) -> *mut VmGcHeap {
        // SAFETY: the cell is part of `self`.
        unsafe { &raw mut (*self.context.get()).gc_heap }
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

    pub(super) fn set_exit(&self, (pc, fp): (usize, usize)) {
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
    pub(super) fn note_exit(&self, pc: usize) {
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

    /// Should the store's next slot have a stack for it?
    pub(crate) fn wants_stack_in_slot(&self) -> bool {
        self.stacks.0.is_none() && !self.has_stack()
    }

    /// A new stack of this store's size.
    ///
    /// # Errors
    /// When there is no memory for it, or the embedder makes none.
    pub(crate) fn new_stack(&self) -> Result<GuestStack, MapError> {
        match &self.stacks.0 {
            Some(creator) => GuestStack::supplied(&**creator, self.stack_spec),
            None => GuestStack::new(self.stack_spec),
        }
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
    pub(super) fn own_run(&self) -> Option<&Run> {
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
    pub(super) fn make_run(&self) -> Result<&Run, MapError> {
        self.provide_stack(self.new_stack()?);
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

    /// Does nothing of the store run, wait, or hold results on its stacks?
    pub(crate) fn is_idle(&self) -> bool {
        self.run().is_null() && !self.is_active() && self.computations.is_idle()
    }

    /// Is all guest code of this store that is not suspended on stacks of this thread? Another thread that waits for this one has
    /// things in registers that cannot be seen from here.
    pub(crate) fn is_on_this_thread(&self) -> bool {
        let mut ours = CURRENT.get();
        let mut next = self.innermost.get();
        // SAFETY: activations are in the lists only while they live.
        while let Some(activation) = unsafe { next.as_ref() } {
            // SAFETY: as above.
            while let Some(other) = unsafe { ours.as_ref() }
                && !ptr::eq(other, activation)
            {
                ours = other.previous.get();
            }
            if ours.is_null() {
                return false;
            }
            next = activation.outer.get();
        }
        true
    }

    /// Has the store a stack of its own of which this is true?
    pub(crate) fn has_stack_that(&self, test: impl FnOnce(&GuestStack) -> bool) -> bool {
        // SAFETY: as for `own_run`.
        unsafe { (*self.stack.get()).as_ref() }.is_some_and(|own| test(&own.stack))
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
