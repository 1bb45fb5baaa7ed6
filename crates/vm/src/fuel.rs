//! Fuel: how much guest code may still execute, and how much it has executed.
//!
//! ```text
//!   what the store has           |<------------ total = reserve + count ------------>|
//!                                |  reserve                     |  count             |
//!                                '  Fuel::reserve               '  StoreContext::fuel, or the pinned register
//!                                                                  while guest code runs
//! ```
//!
//! Guest code takes from the count alone and looks at it when it goes round a loop and before it calls. With nothing
//! left there it calls [`out_of_fuel`], which fills the count up from the reserve, or traps. The count holds as much as fits, or
//! as much as the yield interval says; so a store that yields comes by here every so often.
//!
//! Guest code may take more than is left before it looks: the count is negative then, and the total may be. That is a debt the
//! next [`set_fuel`](StoreInner::set_fuel) forgives, but it has been executed and is counted as such.
//!
//! # Invariants
//!
//! * Whenever host code can see the store, the count is in the [`StoreContext`](cowling_abi::layout::StoreContext):
//!   [`cowling_abi::builtins`] says who puts it there.
//! * Executed so far = `origin` - total, in arithmetic modulo 2^64: whatever changes the total changes the origin too.

use crate::activation::{self, Execution};
use crate::instance::{Instance, InstancePtr};
use crate::store::StoreInner;
use crate::suspend::{CannotSuspend, Why};
use crate::trap::TrapReason;
use cowling_abi::Trap;
use cowling_abi::layout::VmContext;
use std::cell::Cell;
use std::num::NonZeroU64;
use std::ptr::NonNull;

/// Fuel was not set or read.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FuelError {
    /// The engine's code does not count.
    #[error("fuel is not counted: the engine's setting `consume_fuel` is off")]
    NotCounted,
    /// Yielding would never make progress.
    #[error("the interval for yielding must not be 0")]
    ZeroInterval,
}

/// A store's fuel, apart from the count in its context.
#[derive(Debug, Default)]
pub(crate) struct Fuel {
    /// Fuel that is not in the count yet.
    reserve: Cell<u64>,
    /// Most that the count is filled up to, when the guest is to yield then.
    interval: Cell<Option<NonZeroU64>>,
    /// What would have been executed when the total is 0.
    origin: Cell<u64>,
}

/// What guest code that has used its count up does.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Refuelled {
    /// Goes on, if anything is left.
    Continue,
    /// Lets others have their turn first.
    Yield,
}

impl Execution {
    fn fuel_total(&self) -> i128 {
        i128::from(self.fuel().reserve.get()) + i128::from(self.fuel_count())
    }

    /// Divides a total between count and reserve.
    fn divide_fuel(&self, total: i128) {
        let most = match self.fuel().interval.get() {
            Some(interval) => i128::from(interval.get()).min(i64::MAX.into()),
            None => i64::MAX.into(),
        };
        // A total is at least the most negative count and at most what fits in a reserve.
        let count = total.min(most);
        self.fuel().reserve.set((total - count) as u64);
        self.set_fuel_count(count as i64);
    }

    /// Modulo 2^64, so a total below 0 is right too.
    fn executed_cost(&self) -> u64 {
        let origin = self.fuel().origin.get();
        origin.wrapping_sub(self.fuel_total() as u64)
    }

    /// Fills the count up.
    fn refuel(&self) -> Refuelled {
        let total = self.fuel_total();
        self.divide_fuel(total);
        if total > 0 && self.fuel().interval.get().is_some() {
            Refuelled::Yield
        } else {
            Refuelled::Continue
        }
    }
}

impl StoreInner {
    /// The execution, if its guests' code counts.
    fn counting(&self) -> Result<&Execution, FuelError> {
        match self.config().knobs.consume_fuel {
            true => Ok(self.execution()),
            false => Err(FuelError::NotCounted),
        }
    }

    /// Gives guests of this store that much fuel, in place of what they had left. A host function may call it for the guest that
    /// called the host function.
    ///
    /// # Errors
    /// When the engine does not count fuel.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<(), FuelError> {
        let execution = self.counting()?;
        let executed = execution.executed_cost();
        execution.fuel().origin.set(executed.wrapping_add(fuel));
        execution.divide_fuel(fuel.into());
        Ok(())
    }

    /// The fuel that is left.
    ///
    /// # Errors
    /// When the engine does not count fuel.
    pub fn fuel(&self) -> Result<u64, FuelError> {
        let total = self.counting()?.fuel_total();
        Ok(u64::try_from(total).unwrap_or(0))
    }

    /// Makes computations that can be suspended do so each time they have used that much fuel; `None`: never.
    ///
    /// # Errors
    /// When the engine does not count fuel, or the interval is 0.
    pub fn set_fuel_yield_interval(&mut self, interval: Option<u64>) -> Result<(), FuelError> {
        let execution = self.counting()?;
        let interval = match interval {
            Some(interval) => Some(NonZeroU64::new(interval).ok_or(FuelError::ZeroInterval)?),
            None => None,
        };
        let total = execution.fuel_total();
        execution.fuel().interval.set(interval);
        execution.divide_fuel(total);
        Ok(())
    }

    /// The cost of everything that guests of this store have executed, plus what
    /// [`set_executed_cost`](Self::set_executed_cost) made of it. Starts from 0 again after 2^64.
    ///
    /// # Errors
    /// When the engine does not count.
    pub fn executed_cost(&self) -> Result<u64, FuelError> {
        Ok(self.counting()?.executed_cost())
    }

    /// Lets [`executed_cost`](Self::executed_cost) go on from another number. Fuel stays as it is.
    ///
    /// # Errors
    /// When the engine does not count.
    pub fn set_executed_cost(&mut self, cost: u64) -> Result<(), FuelError> {
        let execution = self.counting()?;
        let total = execution.fuel_total() as u64;
        execution.fuel().origin.set(cost.wrapping_add(total));
        Ok(())
    }
}

/// The builtin `out_of_fuel`.
///
/// # Safety
/// Called by the stub of that name for guest code with its VMContext, the count in the store.
pub(crate) unsafe extern "C" fn out_of_fuel(vmctx: *mut VmContext) {
    // SAFETY: guest code passes the VMContext of a living instance, whose store nobody else uses now.
    unsafe {
        let instance = InstancePtr::new(Instance::from_vmctx(NonNull::new_unchecked(vmctx)));
        let execution: NonNull<Execution> = instance.store().cast();
        if execution.as_ref().refuel() == Refuelled::Yield {
            match Execution::suspend(execution, Why::OutOfFuel) {
                Err(CannotSuspend::Cancelled(cancelled)) => {
                    activation::raise(execution, TrapReason::Host(cancelled.into()));
                }
                Err(CannotSuspend::Terminated(why)) => {
                    activation::raise(execution, TrapReason::Terminated(why));
                }
                // It goes on where it cannot be suspended.
                Err(_) | Ok(()) => {}
            }
        }
        // Whoever resumed it may have taken all fuel away.
        if execution.as_ref().fuel_total() <= 0 {
            activation::raise_trap(execution, Trap::OutOfFuel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtrace::describe_plainly;
    use crate::code::TypeRegistry;
    use crate::pool::{Pool, PoolConfig};
    use crate::store::{RuntimeConfig, Store};
    use cowling_abi::knobs::Knobs;
    use std::sync::Arc;

    fn store(consume_fuel: bool) -> Store<()> {
        let knobs = Knobs {
            consume_fuel,
            ..Knobs::default()
        };
        let config = RuntimeConfig {
            supplied: Default::default(),
            knobs,
            types: TypeRegistry::new().unwrap(),
            epochs: Default::default(),
            pool: Pool::new(PoolConfig::default()),
            describe: describe_plainly,
        };
        Store::new(&Arc::new(config), ())
    }

    /// What guest code does that executes something of this cost.
    fn execute(store: &StoreInner, cost: i64) {
        let execution = store.execution();
        execution.set_fuel_count(execution.fuel_count() - cost);
    }

    #[test]
    fn what_was_executed_adds_up_whatever_happens_to_the_fuel() {
        let mut store = store(true);
        let mut store = store.as_mut();
        let store = store.inner_mut();
        assert_eq!(store.fuel(), Ok(0));
        assert_eq!(store.executed_cost(), Ok(0));
        store.set_fuel(100).unwrap();
        execute(store, 30);
        assert_eq!((store.fuel(), store.executed_cost()), (Ok(70), Ok(30)));
        store.set_fuel(u64::MAX).unwrap();
        execute(store, 5);
        assert_eq!(store.fuel(), Ok(u64::MAX - 5));
        assert_eq!(store.executed_cost(), Ok(35));
        // More than there was: a debt that is forgiven, not forgotten.
        store.set_fuel(3).unwrap();
        execute(store, 10);
        assert_eq!((store.fuel(), store.executed_cost()), (Ok(0), Ok(45)));
        store.set_fuel(20).unwrap();
        assert_eq!((store.fuel(), store.executed_cost()), (Ok(20), Ok(45)));
        store.set_executed_cost(1_000).unwrap();
        execute(store, 1);
        assert_eq!((store.fuel(), store.executed_cost()), (Ok(19), Ok(1_001)));
        store.set_fuel_yield_interval(Some(4)).unwrap();
        assert_eq!((store.fuel(), store.executed_cost()), (Ok(19), Ok(1_001)));
    }

    #[test]
    fn the_count_is_filled_up_by_the_interval_until_nothing_is_left() {
        let mut store = store(true);
        let mut store = store.as_mut();
        let store = store.inner_mut();
        store.set_fuel(10).unwrap();
        store.set_fuel_yield_interval(Some(4)).unwrap();
        // Before, executed, after.
        for (count, cost, refuelled, total) in [
            (4, 4, Refuelled::Yield, 6),
            (4, 5, Refuelled::Yield, 1),
            (1, 3, Refuelled::Continue, -2),
        ] {
            assert_eq!(store.execution().fuel_count(), count);
            execute(store, cost);
            assert_eq!(store.execution().refuel(), refuelled);
            assert_eq!(store.execution().fuel_total(), total);
        }
        store.set_fuel_yield_interval(None).unwrap();
        store.set_fuel(10).unwrap();
        assert_eq!(store.execution().fuel_count(), 10);
        assert_eq!(store.execution().refuel(), Refuelled::Continue);
    }

    #[test]
    fn a_store_that_is_reset_has_no_fuel_no_interval_and_has_executed_nothing() {
        let mut store = store(true);
        store.as_mut().inner_mut().set_fuel(100).unwrap();
        (store.as_mut().inner_mut().set_fuel_yield_interval(Some(4))).unwrap();
        execute(store.as_ref().inner(), 1);
        store.reset();
        let mut store = store.as_mut();
        let store = store.inner_mut();
        assert_eq!((store.fuel(), store.executed_cost()), (Ok(0), Ok(0)));
        store.set_fuel(10).unwrap();
        assert_eq!(store.execution().fuel_count(), 10);
        assert_eq!(store.execution().refuel(), Refuelled::Continue);
    }

    #[test]
    fn stores_of_engines_that_do_not_count_have_no_fuel() {
        let mut store = store(false);
        let mut store = store.as_mut();
        let store = store.inner_mut();
        assert_eq!(store.set_fuel(1), Err(FuelError::NotCounted));
        assert_eq!(store.fuel(), Err(FuelError::NotCounted));
        assert_eq!(store.executed_cost(), Err(FuelError::NotCounted));
        assert_eq!(store.set_executed_cost(1), Err(FuelError::NotCounted));
        let interval = store.set_fuel_yield_interval(None);
        assert_eq!(interval, Err(FuelError::NotCounted));
    }
}
