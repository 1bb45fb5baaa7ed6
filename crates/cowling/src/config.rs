//! Settings of an [`Engine`](crate::Engine).

mod pooling;

pub use pooling::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::Result;
use cowling_abi::knobs::{Knobs, OptLevel, WasmBacktraceDetails};
use std::fmt;
use std::num::NonZeroUsize;

/// Settings of an [`Engine`](crate::Engine).
///
/// Each [`Knob`](crate::Knob) has a setter of its name here.
#[derive(Clone, Default)]
pub struct Config {
    pub(crate) knobs: Knobs,
    pub(crate) allocation: InstanceAllocationStrategy,
    #[cfg(feature = "compiler")]
    pub(crate) progress: Option<crate::compile::Progress>,
    #[cfg(feature = "cache")]
    pub(crate) cache: crate::cache::CacheConfig,
}

impl Config {
    /// The default settings.
    pub fn new() -> Config {
        Config::default()
    }

    /// Sets a knob by its name from text, as `-C name=value` on the command line does.
    ///
    /// # Errors
    /// [`KnobError`](crate::KnobError) when there is no such knob or the value does not parse; nothing is changed then.
    pub fn set_knob(&mut self, name: &str, value: &str) -> Result<&mut Config> {
        self.knobs.set(name, value)?;
        Ok(self)
    }

    /// Accepted and without effect: every store can have an [epoch deadline](crate::Store::set_epoch_deadline), and guest code is
    /// the same whether it has or not. Here so that code written for the `wasmtime` crate compiles.
    pub fn epoch_interruption(&mut self, _enable: bool) -> &mut Config {
        self
    }

    /// Accepted and without effect: every store can be used [asynchronously](crate::Func::call_async). Here so that code written
    /// for the `wasmtime` crate compiles.
    pub fn async_support(&mut self, _enable: bool) -> &mut Config {
        self
    }

    /// Whether the errors of guests that were stopped have backtraces: with as many frames as
    /// [`wasm_backtrace_max_frames`](Self::wasm_backtrace_max_frames) says, or the default number if that says none.
    #[deprecated = "use `wasm_backtrace_max_frames`"]
    pub fn wasm_backtrace(&mut self, enable: bool) -> &mut Self {
        let frames = &mut self.knobs.wasm_backtrace_max_frames;
        *frames = match enable {
            true => frames.or(Knobs::default().wasm_backtrace_max_frames),
            false => None,
        };
        self
    }

    /// Where the slots of instances come from. The default is [`InstanceAllocationStrategy::OnDemand`].
    pub fn allocation_strategy(
        &mut self,
        strategy: impl Into<InstanceAllocationStrategy>,
    ) -> &mut Config {
        self.allocation = strategy.into();
        self
    }

    /// The value of every knob.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])* $name:ident: $ty:ty = $default:expr, $scope:ident, [$($sample:literal),*];)*) => {
        impl Config {$(
            $(#[doc = $doc])*
            #[doc = ""]
            #[doc = concat!("The default is `", stringify!($default), "`.")]
            pub fn $name(&mut self, $name: $ty) -> &mut Config {
                self.knobs.$name = $name;
                self
            }
        )*}
    };
}

cowling_abi::for_each_knob!(setters);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Config");
        for (knob, value) in self.knobs.values() {
            debug.field(knob.name, &format_args!("{value}"));
        }
        debug.field("allocation", &self.allocation);
        #[cfg(feature = "cache")]
        debug.field("cache", &self.cache);
        debug.finish_non_exhaustive()
    }
}
