//! What the store of a program that runs has for it.

use cowling::{GuestProfiler, StoreLimits};
use cowling_wasi::p1::WasiP1Ctx;

/// The data of a program's store.
pub(crate) struct Host {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) limits: StoreLimits,
    /// Collects samples, if they are wanted.
    pub(crate) profiler: Option<GuestProfiler>,
}
