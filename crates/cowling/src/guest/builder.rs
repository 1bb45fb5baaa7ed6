//! Building a guest: what it may take is checked against its region before it takes a slot.

use super::Guest;
use super::contexts::Contexts;
use super::error::GuestError;
use super::fault::{FaultAction, FaultDetails};
use super::limits::{LIMIT_PAGE, LimitError, Limits, fits};
use super::region::{RegionShared, SlotPermit};
use crate::error::Result;
use crate::func::Caller;
use crate::instance::{InstancePre, PreInner};
use crate::store::{Store, StoreContextMut};
use cowling_abi::plan::MemoryPlan;
use cowling_abi::{DefinedMemoryIndex, DefinedTableIndex, ModuleInfo};
use cowling_vm::spread::Share;
use cowling_vm::{CallHook, ResourceLimiter, ResourceLimiterAsync, StoreSpec};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Builds a [`Guest`]. Begun with [`Region::guest`](super::Region::guest).
#[must_use = "nothing happens before `build`"]
pub struct GuestBuilder<T: 'static> {
    region: Arc<Share<RegionShared>>,
    pre: Arc<Share<PreInner<T>>>,
    data: T,
    limits: Limits,
    contexts: Contexts,
    setup: Vec<Setup<T>>,
}

/// What is done to a new guest before it is instantiated.
type Setup<T> = Box<dyn FnOnce(&mut Guest<T>) -> Result<(), GuestError> + Send>;

impl<T: 'static> GuestBuilder<T> {
    pub(super) fn new(region: Arc<Share<RegionShared>>, pre: &InstancePre<T>, data: T) -> Self {
        GuestBuilder {
            limits: *region.limits(),
            region,
            pre: pre.share(),
            data,
            contexts: Contexts::new(),
            setup: Vec::new(),
        }
    }

    /// Puts a context in, in place of one of the same type.
    pub fn with_context<C: Any + Send>(mut self, context: C) -> Self {
        self.contexts.insert(context);
        self
    }

    /// Lowers the most bytes that the guest's memories may have together. Whole pages of 4096 bytes.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// Asks a limiter, too, before a memory or table is created or grows within the limits: see
    /// [`Store::limiter`](crate::Store::limiter).
    pub fn limiter(
        mut self,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) -> Self {
        (self.setup).push(Box::new(|guest| {
            guest.store.limiter(limiter);
            Ok(())
        }));
        self
    }

    /// Asks a limiter that may take its time: see [`Store::limiter_async`](crate::Store::limiter_async). What
    /// [`build`](Self::build) has to ask cannot be waited for, so this is for modules that begin without memories, tables and
    /// objects.
    pub fn limiter_async(
        mut self,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiterAsync) + Send + Sync + 'static,
    ) -> Self {
        (self.setup).push(Box::new(|guest| {
            guest.store.limiter_async(limiter);
            Ok(())
        }));
        self
    }

    /// Watches the transitions between the host and the guest, the start function's included: see
    /// [`Store::call_hook`](crate::Store::call_hook).
    pub fn call_hook(
        mut self,
        hook: impl FnMut(StoreContextMut<'_, T>, CallHook) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        (self.setup).push(Box::new(|guest| {
            guest.store.call_hook(hook);
            Ok(())
        }));
        self
    }

    /// Sets the fault handler: see [`Guest::set_fault_handler`].
    pub fn fault_handler(
        mut self,
        handler: impl FnMut(Caller<'_, T>, &FaultDetails) -> FaultAction + Send + 'static,
    ) -> Self {
        (self.setup).push(Box::new(|guest| guest.set_fault_handler(handler)));
        self
    }

    /// Makes the guest: takes a slot, instantiates the module, writes its segments. The start function, if there is one, is left
    /// to [`Guest::run_start`].
    ///
    /// # Errors
    /// No slot is taken then. [`GuestError::Limit`] when the memory limit is no whole number of pages or more than the region's;
    /// [`GuestError::LimitsExceeded`] when the module needs more than the guest may have; [`GuestError::RegionFull`];
    /// [`GuestError::Instantiate`] when there is no room, the limiter says no, or a segment does not fit.
    pub fn build(self) -> Result<Guest<T>, GuestError> {
        let limit = self.limits.memory;
        if !limit.is_multiple_of(LIMIT_PAGE) {
            return Err(LimitError::NotPageAligned {
                limit: "memory",
                bytes: limit,
            }
            .into());
        }
        let of_region = self.region.limits().memory;
        fits(("memory", limit), ("memory of the region", of_region))?;
        let module = self.pre.module();
        let knobs = module.engine().config().knobs();
        check_needs(module.code().info(), knobs, &self.limits)?;

        let spec = StoreSpec {
            quota: self.limits.quota(),
            pool: Some(self.region.pool()),
        };
        let slot = SlotPermit::take(self.region)?;
        let mut store = Store::with_spec(module.engine(), spec, self.data);
        *store.vm_mut().into_data_mut().contexts() = self.contexts;
        let mut guest = Guest::empty(store, self.pre, slot);
        for setup in self.setup {
            setup(&mut guest)?;
        }
        guest.instantiate()?;
        Ok(guest)
    }
}

/// Checks that a module fits the limits before it grows.
fn check_needs(
    info: &ModuleInfo,
    knobs: &cowling_abi::knobs::Knobs,
    limits: &Limits,
) -> Result<(), GuestError> {
    let memories = (0..info.defined_memory_count() as u32)
        .map(|index| info.memory_index(DefinedMemoryIndex::from_u32(index)));
    let tables = (0..info.defined_table_count() as u32)
        .map(|index| info.table_index(DefinedTableIndex::from_u32(index)));
    let sum = |each: &mut dyn Iterator<Item = u64>| each.fold(0, u64::saturating_add);
    let memory = sum(&mut memories.clone().map(|index| {
        let bytes = info.memories[index].minimum_bytes();
        bytes.unwrap_or(u64::MAX)
    }));
    let address_space = sum(&mut memories.map(|index| {
        let plan = MemoryPlan::new(info, index, knobs);
        let reserved = plan.initial_reservation(&info.memories[index]);
        reserved.unwrap_or(u64::MAX).saturating_add(plan.guard)
    }));
    let table_elements = sum(&mut tables.map(|index| info.tables[index].minimum));
    let globals = info.defined_global_count() as u64;
    let needs = [
        ("memory", "bytes", memory, limits.memory),
        (
            "address_space",
            "bytes",
            address_space,
            limits.address_space,
        ),
        ("globals", "globals", globals, limits.globals),
        (
            "table_elements",
            "elements",
            table_elements,
            limits.table_elements,
        ),
    ];
    for (limit, unit, needed, allowed) in needs {
        if needed > allowed {
            return Err(GuestError::LimitsExceeded {
                limit,
                unit,
                needed,
                allowed,
            });
        }
    }
    Ok(())
}

impl<T: 'static> fmt::Debug for GuestBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestBuilder")
            .field("limits", &self.limits)
            .field("contexts", &self.contexts)
            .finish_non_exhaustive()
    }
}
