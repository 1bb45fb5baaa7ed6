//! What an engine's settings are.

use super::Engine;
use crate::config::{InstanceAllocationStrategy, PoolingAllocationConfig};
use cowling_abi::knobs::{Inlining, OptLevel, RegallocAlgorithm};
use std::num::NonZeroUsize;

macro_rules! getters {
    ($(
        $(#[doc = $doc:literal])* $name:ident: $ty:ty = $default:expr, $scope:ident
        $(, $getter:ident $(if $compiler:ident)?)?, [$($sample:literal),*];
    )*) => {
        /// The settings it was made with, one by one; each says what it means at the setter of [`Config`](crate::Config).
        impl Engine {
            $($(getters!(@one $name: $ty, $getter $(if $compiler)?);)?)*
        }
    };
    (@one $name:ident: $ty:ty, $getter:ident) => {
        #[doc = concat!("The setting [`", stringify!($name), "`](crate::Config::", stringify!($name), ").")]
        pub fn $getter(&self) -> $ty {
            self.config().knobs.$name
        }
    };
    (@one $name:ident: $ty:ty, $getter:ident if compiler) => {
        #[doc = concat!("The setting [`", stringify!($name), "`](crate::Config::", stringify!($name), ").")]
        /// `None` if it does not compile.
        pub fn $getter(&self) -> Option<$ty> {
            self.compiles().then_some(self.config().knobs.$name)
        }
    };
}

cowling_abi::for_each_knob!(getters);

impl Engine {
    /// May it compile?
    fn compiles(&self) -> bool {
        #[cfg(feature = "compiler")]
        return self.config().compiler.enabled;
        #[cfg(not(feature = "compiler"))]
        false
    }

    /// Bytes of a store's stack, for guests and host functions together.
    pub fn get_async_stack_size(&self) -> usize {
        let knobs = &self.config().knobs;
        knobs.max_wasm_stack + knobs.host_stack_reserve
    }

    /// How many frames a backtrace has at most; 0 if errors have none.
    pub fn get_wasm_backtrace_max_frames(&self) -> usize {
        let limit = self.config().knobs.wasm_backtrace_max_frames;
        limit.map_or(0, NonZeroUsize::get)
    }

    /// Is information for the system's debuggers put into artifacts? Always `Some`: there is a default.
    pub fn get_native_unwind_info(&self) -> Option<bool> {
        Some(self.config().knobs.native_unwind_info)
    }

    /// The settings of its pool, if it was given any.
    pub fn get_pooling_config(&self) -> Option<&PoolingAllocationConfig> {
        match &self.config().allocation {
            InstanceAllocationStrategy::OnDemand => None,
            InstanceAllocationStrategy::Pooling(pooling) => Some(pooling),
        }
    }
}

#[cfg(feature = "compiler")]
impl Engine {
    /// Which code generator compiles. `None` if it does not compile.
    pub fn get_strategy(&self) -> Option<crate::config::Strategy> {
        self.compiles().then_some(self.config().compiler.strategy)
    }

    /// The target triple that it compiles for, if it was given one.
    pub fn get_target(&self) -> Option<String> {
        self.config().compiler.target.clone()
    }

    /// Which WebAssembly features modules may use.
    pub fn get_wasm_features(&self) -> cowling_compiler::WasmFeatures {
        cowling_compiler::features(&self.config().knobs)
    }
}
