//! Plain calls from outside with arguments in registers: the way into guest code that is taken most.
//!
//! ```text
//!   stack of the caller                                     the store's own stack
//!     call_in_registers: Activation
//!       arch::enter_in_registers  == switch, call ========>   guest function
//!                                 <======== return, switch ==
//! ```
//!
//! This is [`call_on_guest_stack`](super::call_on_guest_stack) and [`enter`] in one, for the case that the store runs
//! nothing and has no call hook: then the whole stack is free, so there is nothing to check, and no code of the host runs on it before the guest does, so
//! nothing can panic there. Everything else goes the general way.
//!
//! A plain call stays on its thread until it returns.

use super::{Activation, CURRENT, Execution, Run, enter, run};
use crate::registers::InRegisters;
use crate::sys::altstack;
use crate::test_points::Point;
use crate::trap::Raised;
use crate::values::TypedBuffer;
use cowling_abi::layout::VmFuncRef;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

impl Execution {
    /// The store's own stack, if a plain call may begin there: nothing of the store runs or is suspended, nobody watches its calls,
    /// and the thread is ready for guests.
    #[inline(always)]
    fn idle_run(&self) -> Option<*const Run> {
        if !self.run.get().is_null() || self.computations.is_special() || !altstack::is_prepared() {
            return None;
        }
        self.own_run().map(ptr::from_ref)
    }
}

/// Calls a guest function on the store's own stack, if that is free.
///
/// # Errors
/// `None` if it is not; then nothing has happened. Else why the guest stopped early.
///
/// # Safety
/// * No Rust reference to the store, or to anything the guest reaches, is held across the call.
/// * The function is a guest's, of this store, with parameters `P` and results `R`, which [fit](crate::registers::fit); it does not
///   count fuel. The registers hold live values.
#[inline(always)]
pub(crate) unsafe fn call_in_registers<P: InRegisters, R: InRegisters>(
    execution: NonNull<Execution>,
    func: NonNull<VmFuncRef>,
    params: P::Registers,
) -> Result<R::Registers, Option<Box<Raised>>> {
    let mut place = MaybeUninit::uninit();
    // SAFETY: the caller's promises are those of all three. The activation stays in its place.
    unsafe {
        let activation = match begin(execution, func, &mut place) {
            Begun::Ready => place.assume_init_ref(),
            Begun::Asked => return asked::<P, R>(place.assume_init_ref(), params).map_err(Some),
            Begun::NotFree => return Err(None),
        };
        let left = P::enter(ptr::from_ref(activation).cast(), params);
        if end(activation) {
            return Err(Some(activation.raised()));
        }
        Ok(left)
    }
}

/// How far [`begin`] has come.
enum Begun {
    /// The guest can be entered.
    Ready,
    /// The same, but it must be done by [`asked`].
    Asked,
    /// Not at all.
    NotFree,
}

/// Puts the store into the run of its own stack, with an activation for the function.
///
/// # Safety
/// The store and the function are valid, and no Rust reference to the store is held. The activation stays where it is until its end.
// Not inlined, as what is inlined into the embedder's crate reaches thread-local variables by calls, one for each use.
#[inline(never)]
unsafe fn begin(
    execution: NonNull<Execution>,
    func: NonNull<VmFuncRef>,
    place: &mut MaybeUninit<Activation>,
) -> Begun {
    // SAFETY: the caller keeps the store valid; references to it end with their statements. What `Activation` asks for is done here,
    // in the order of `call_on_guest_stack` and `enter`; but outside of a store's runs nobody looks at exit and stack limit, which
    // need not be restored therefore.
    unsafe {
        let Some(run) = execution.as_ref().idle_run() else {
            return Begun::NotFree;
        };
        execution.as_ref().touch();
        execution.as_ref().interrupts.run_plain();
        execution.as_ref().run.set(run);
        (*execution.as_ref().context.get()).host_stack_limit = (*run).host_stack_limit;
        let activation = place.write(Activation::outermost(execution, run, func.as_ptr()));
        if activation.link() {
            return Begun::Asked;
        }
        execution.as_ref().interrupts.point(Point::EnteringGuest);
    }
    Begun::Ready
}

/// Takes the store out of the run that it was put into by [`begin`]. Has the guest been stopped early?
///
/// # Safety
/// On the same thread, when the guest does not run any more.
#[inline(never)]
unsafe fn end(activation: &Activation) -> bool {
    // SAFETY: as the caller says; the execution outlives its activations.
    unsafe {
        let interrupts = &activation.execution.as_ref().interrupts;
        interrupts.point(Point::GuestReturned);
        leave(activation);
        interrupts.end();
        activation.was_raised()
    }
}

/// Takes the activation out of the lists and the store out of its run.
///
/// # Safety
/// It is the store's only one, linked, on this thread, and its guest does not run any more.
#[inline(always)]
unsafe fn leave(activation: &Activation) {
    CURRENT.set(activation.previous.get());
    // SAFETY: the execution outlives its activations; the reference ends with the function.
    let execution = unsafe { activation.execution.as_ref() };
    execution.innermost.set(ptr::null());
    execution.run.set(ptr::null());
    execution.interrupts.guest_left();
}

/// Enters the guest the general way, as something has been asked of it, which must be looked at on the guest stack.
///
/// # Errors
/// Why the guest stopped early.
///
/// # Safety
/// As for [`call_in_registers`], which has not called anything yet.
#[cold]
#[inline(never)]
unsafe fn asked<P: InRegisters, R: InRegisters>(
    activation: &Activation,
    params: P::Registers,
) -> Result<R::Registers, Box<Raised>> {
    let mut values: TypedBuffer = [MaybeUninit::uninit(); _];
    P::store(params, &mut values);
    let (execution, run) = (activation.execution, activation.run);
    // SAFETY: the caller's promises are the same; the results lie where the arguments were.
    unsafe {
        leave(activation);
        let VmFuncRef {
            entry, ctx, code, ..
        } = *activation.func;
        let left = run::run_plain(execution, run, || {
            enter(execution, entry, ctx, code, values.as_mut_ptr().cast())
        });
        execution.as_ref().interrupts.end();
        left.map(|()| R::load(&values))
    }
}
