//! Settings of an [`Engine`](crate::Engine).
//!
//! | file | job |
//! |---|---|
//! | this | the setters, most of them made from the declaration of the knobs |
//! | `check` | what cannot be had, told by [`Engine::new`](crate::Engine::new) |
//! | `compiler` | settings of the compiler that are no knobs |
//! | `pooling` | settings of the pool of slots |

mod check;
#[cfg(feature = "compiler")]
mod compiler;
mod pooling;
mod supplied;

#[cfg(feature = "compiler")]
pub use compiler::Strategy;
pub use pooling::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};
pub use supplied::MemoryCreator;

use crate::error::{Result, ensure};
use cowling_abi::artifact::Header;
use cowling_abi::knobs::{Inlining, Knobs, OptLevel, RegallocAlgorithm, WasmBacktraceDetails};
use cowling_vm::{Supplied, TextPages};
use std::fmt;
use std::num::NonZeroUsize;

/// Which version artifacts say they are of, and must say to be loaded: [`Config::module_version`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ModuleVersionStrategy {
    /// Cowling's, with the code generator's.
    #[default]
    CowlingVersion,
    /// The embedder's besides: whoever changes it makes artifacts unusable that are there.
    Custom(String),
}

impl ModuleVersionStrategy {
    /// The version as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::CowlingVersion => cowling_abi::host::VERSION,
            Self::Custom(version) => version,
        }
    }
}

/// Settings of an [`Engine`](crate::Engine).
///
/// Each [`Knob`](crate::Knob) has a setter of its name here. Values are checked by [`Engine::new`](crate::Engine::new), whose error
/// names the setting that cannot be had.
///
/// ```
/// # use cowling::*;
/// let mut config = Config::new();
/// config.consume_fuel(true).max_wasm_stack(256 << 10).wasm_threads(false);
/// let engine = Engine::new(&config)?;
/// assert!(engine.get_consume_fuel());
///
/// let error = Engine::new(config.max_wasm_stack(0)).unwrap_err();
/// assert_eq!(error.to_string(), "setting `max_wasm_stack` cannot be 0: guest code needs a stack");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Config {
    pub(crate) knobs: Knobs,
    /// Overrides the knob `host_stack_reserve`: bytes of stack in all.
    async_stack_size: Option<usize>,
    pub(crate) allocation: InstanceAllocationStrategy,
    version: ModuleVersionStrategy,
    pub(crate) supplied: Supplied,
    #[cfg(feature = "compiler")]
    pub(crate) compiler: compiler::CompilerConfig,
    #[cfg(feature = "cache")]
    pub(crate) cache: Option<crate::cache::Cache>,
    #[cfg(feature = "profiling")]
    pub(crate) profiler: crate::ProfilingStrategy,
}

impl Config {
    /// The default settings.
    pub fn new() -> Self {
        Config::default()
    }

    /// Sets a knob by its name from text, as `-C name=value` on the command line does.
    ///
    /// # Errors
    /// [`KnobError`](crate::KnobError) when there is no such knob or the value does not parse; nothing is changed then.
    pub fn set_knob(&mut self, name: &str, value: &str) -> Result<&mut Self> {
        self.knobs.set(name, value)?;
        Ok(self)
    }

    /// Bytes of a store's stack in all: [`max_wasm_stack`](Self::max_wasm_stack) for guest code, and the rest for host functions, in
    /// place of [`host_stack_reserve`](Self::host_stack_reserve). Calls of both kinds use the same stack. It must not be less than
    /// `max_wasm_stack`.
    ///
    /// The default is the sum of the two.
    pub fn async_stack_size(&mut self, size: usize) -> &mut Self {
        self.async_stack_size = Some(size);
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
    ) -> &mut Self {
        self.allocation = strategy.into();
        self
    }

    /// Which version artifacts say they are of, and must say to be loaded. The default is [`ModuleVersionStrategy::CowlingVersion`].
    ///
    /// # Errors
    /// When the embedder's version has more than 255 bytes, or none.
    pub fn module_version(&mut self, strategy: ModuleVersionStrategy) -> Result<&mut Self> {
        if let ModuleVersionStrategy::Custom(version) = &strategy {
            ensure!(
                (1..=255).contains(&version.len()),
                "the version of modules has {} bytes, but must have 1 to 255",
                version.len()
            );
        }
        self.version = strategy;
        Ok(self)
    }

    /// Which of the system's profilers is told about the code of modules. The default is none. The file that it reads is made by
    /// [`Engine::new`](crate::Engine::new), which fails if it cannot be.
    #[cfg(feature = "profiling")]
    pub fn profiler(&mut self, profile: crate::ProfilingStrategy) -> &mut Self {
        self.profiler = profile;
        self
    }

    /// What artifacts must match to be loaded.
    /// Where code runs.
    pub(crate) fn text_pages(&self) -> TextPages {
        #[cfg(feature = "profiling")]
        return self.profiler.text_pages();
        #[cfg(not(feature = "profiling"))]
        TextPages::OfFile
    }

    pub(crate) fn header(&self) -> Header {
        let mut header = Header::for_this_machine(&self.knobs);
        if let ModuleVersionStrategy::Custom(version) = &self.version {
            header.version = format!("{} {version}", header.version);
        }
        header
    }

    /// What artifacts that are compiled here match; `header` is what they must match to be loaded.
    pub(crate) fn code_header(&self, header: &Header) -> Header {
        #[cfg(feature = "compiler")]
        if self.compiler.target.is_some() {
            return header.for_baseline();
        }
        header.clone()
    }

    /// The value of every knob.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }
}

macro_rules! setters {
    ($(
        $(#[doc = $doc:literal])* $name:ident: $ty:ty = $default:expr, $scope:ident
        $(, $getter:ident $(if $compiler:ident)?)?, [$($sample:literal),*];
    )*) => {
        impl Config {
            $(setters!(@one $name: $ty = $default, $($doc)*);)*
        }
    };
    // Its setter takes the costs of all operators, which only the compiler knows.
    (@one operator_cost: $($rest:tt)*) => {};
    (@one $name:ident: $ty:ty = $default:expr, $($doc:literal)*) => {
        $(#[doc = $doc])*
        #[doc = ""]
        #[doc = concat!("The default is `", stringify!($default), "`.")]
        pub fn $name(&mut self, value: $ty) -> &mut Self {
            self.knobs.$name = value;
            self
        }
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
