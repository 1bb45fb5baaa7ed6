//! Regions: a fixed number of slots for guests, and what each guest may take.
//!
//! ```text
//!   Region (cheap to clone) ---+
//!                              v
//!                        RegionShared { limits, permits, pool }
//!                              ^
//!   Guest ---- SlotPermit -----+      taken before the guest is made, given back when it is dropped
//! ```
//!
//! Invariant: there are never more permits taken than the region has slots. A permit keeps what it counts in alive, so a region
//! may be dropped before its guests. The slots themselves are those of a pool with the same limit: whoever has a permit finds one there,
//! because those that are only warm give way, and the limit is soft.

use super::builder::GuestBuilder;
use super::error::GuestError;
use super::limits::{LimitError, Limits};
use super::permits::Permits;
use crate::instance::InstancePre;
use cowling_vm::spread::{Share, Spread};
use cowling_vm::{Handle, Pool, PoolConfig, PoolMetrics};
use std::sync::Arc;

/// A fixed number of slots for guests.
///
/// ```
/// # use cowling::*;
/// let region = Region::builder().slots(2).memory(1 << 20).build()?;
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module (func (export "run")))"#)?;
/// let guest = Linker::new(&engine).instantiate_pre(&module)?;
///
/// let _first = region.guest(&guest, ()).build()?;
/// let second = region.guest(&guest, ()).build()?;
/// assert!(matches!(region.guest(&guest, ()).build(), Err(GuestError::RegionFull(2))));
/// drop(second);
/// assert_eq!((region.capacity(), region.used(), region.free()), (2, 1, 1));
/// # Ok::<(), Error>(())
/// ```
///
/// Clones are the same region. It may be dropped before its guests.
#[derive(Clone, Debug)]
pub struct Region {
    shared: Spread<RegionShared>,
}

/// What a region, its permits and those who are building guests share.
#[derive(Debug)]
pub(super) struct RegionShared {
    limits: Limits,
    permits: Permits,
    /// For stores.
    pools: Spread<Pool>,
    pool: Handle<Pool>,
}

impl Region {
    /// Begins a region with the default [`Limits`] and 64 slots.
    pub fn builder() -> RegionBuilder {
        RegionBuilder {
            slots: 64,
            limits: Limits::default(),
            warm: None,
            keep_resident: PoolConfig::default().keep_resident,
        }
    }

    /// Begins a guest: an instance of a module in a slot of this region, with the embedder's data beside it.
    pub fn guest<T: 'static>(&self, pre: &InstancePre<T>, data: T) -> GuestBuilder<T> {
        GuestBuilder::new(self.shared.share(), pre, data)
    }

    /// What each guest may take.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// How many guests there may be at a time.
    pub fn capacity(&self) -> usize {
        self.shared.permits.all()
    }

    /// How many guests there are.
    pub fn used(&self) -> usize {
        self.shared.permits.taken()
    }

    /// Figures of the slots: how many are mapped, how many wait for their next guest, what was done to them.
    pub fn metrics(&self) -> PoolMetrics {
        self.shared.pool.metrics()
    }

    /// How many more guests there may be now.
    pub fn free(&self) -> usize {
        self.capacity() - self.used()
    }
}

impl RegionShared {
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where the slots come from.
    pub(super) fn pool(&self) -> Arc<Share<Pool>> {
        self.pools.share()
    }
}

/// A slot, until it is dropped.
#[derive(Debug)]
pub(super) struct SlotPermit {
    region: Arc<Share<RegionShared>>,
}

impl SlotPermit {
    /// Takes a slot.
    pub(super) fn take(region: Arc<Share<RegionShared>>) -> Result<SlotPermit, GuestError> {
        if !region.permits.take() {
            return Err(GuestError::RegionFull(region.permits.all()));
        }
        Ok(SlotPermit { region })
    }
}

impl Drop for SlotPermit {
    fn drop(&mut self) {
        self.region.permits.give_back();
    }
}

/// How many slots of a module each thread keeps for itself.
const PER_THREAD: usize = 16;

/// Builds a [`Region`]. What the limits mean is said in [`Limits`].
#[derive(Clone, Debug)]
pub struct RegionBuilder {
    slots: usize,
    limits: Limits,
    warm: Option<usize>,
    keep_resident: usize,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {$(
        $(#[doc = $doc])*
        #[doc = concat!("See [`Limits::", stringify!($name), "`].")]
        pub fn $name(mut self, $name: u64) -> Self {
            self.limits.$name = $name;
            self
        }
    )*};
}

impl RegionBuilder {
    /// How many guests there may be at a time.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// How many slots that are not in use stay warm: mapped, and with the pages that their last guest has written, as
    /// [`keep_resident`](Self::keep_resident) says. By default all do.
    pub fn warm_slots(mut self, slots: usize) -> Self {
        self.warm = Some(slots);
        self
    }

    /// How many bytes a warm slot keeps of those that its last guest has written; what is beyond goes back to the system, and
    /// costs a page fault each 4 KiB when it is written again. The default is 256 KiB.
    pub fn keep_resident(mut self, bytes: usize) -> Self {
        self.keep_resident = bytes;
        self
    }

    limits! {
        /// The most bytes that a guest's memories may have together. Whole pages.
        memory;
        /// The most bytes of address space for a guest's memories. Whole pages.
        address_space;
        /// Bytes of stack for a guest. Whole pages.
        stack;
        /// Bytes of the stack that must be left when a host function is called. Whole pages.
        host_reserve;
        /// The most globals of a guest.
        globals;
        /// The most elements that a guest's tables may have together.
        table_elements;
    }

    /// All limits at once.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes the region.
    ///
    /// # Errors
    /// When the limits make no sense: see [`Limits::validate`]; or there would be no slot.
    pub fn build(self) -> Result<Region, LimitError> {
        if self.slots == 0 {
            return Err(LimitError::Zero { limit: "slots" });
        }
        self.limits.validate()?;
        let pool = Pool::new(PoolConfig {
            slots: self.slots,
            warm: self.warm.unwrap_or(self.slots),
            warm_per_thread: (self.warm).map_or(PER_THREAD, |warm| warm.min(PER_THREAD)),
            keep_resident: self.keep_resident,
            // Permits limit the guests.
            soft: true,
            ..PoolConfig::default()
        });
        Ok(Region {
            shared: Spread::new(Arc::new(RegionShared {
                limits: self.limits,
                permits: Permits::new(self.slots),
                pools: Spread::new(pool.clone()),
                pool: Handle::new(pool),
            })),
        })
    }
}
