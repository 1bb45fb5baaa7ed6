//! The runtime.

mod activation;
mod arch;
mod code;
mod memory;
mod registry;
mod signals;
mod slot;
mod stack;
mod sys;
mod trap;

pub use activation::EnterError;
pub use code::{CodeLocation, CompiledModule, LoadError, TypeRegistry, Verify};
pub use slot::MapError;
