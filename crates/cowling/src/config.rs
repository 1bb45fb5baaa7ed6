//! Settings of an [`Engine`](crate::Engine).

use crate::error::Result;
use cowling_abi::knobs::{Knobs, OptLevel};
use std::fmt;

/// Settings of an [`Engine`](crate::Engine).
///
/// Each [`Knob`](crate::Knob) has a setter of its name here.
#[derive(Clone, Default)]
pub struct Config {
    pub(crate) knobs: Knobs,
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
        #[cfg(feature = "cache")]
        debug.field("cache", &self.cache);
        debug.finish_non_exhaustive()
    }
}
