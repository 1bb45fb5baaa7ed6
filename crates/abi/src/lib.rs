//! # cowling-abi: the contract
//!
//! Everything that compiled code and the runtime must agree on is written here once. The compiler and the runtime both
//! depend on this crate and never on each other; whatever one of them derives (an offset, a builtin's number, a section's
//! name) comes from a declaration in this crate.
//!
//! | file | job |
//! |---|---|
//! | [`index`] | typed indices: `FuncIndex`, `DefinedMemoryIndex`, ... |
//! | [`entity`] | maps from typed indices |
//! | [`types`] | value, function, table, memory and global types, and how they print |
//! | [`module`] | [`module::ModuleInfo`]: the facts read from a binary |
//! | [`plan`] | how a memory is addressed and bounds-checked |
//! | [`layout`] | the VMContext, the records in it, and their offsets |
//! | [`gc_layout`] | references, and objects of the garbage-collected heap |
//! | [`gc_heap`] | the garbage-collected heap: what compiled code knows of it |
//! | [`builtins`] | runtime functions that compiled code calls |
//! | [`trap`] | trap codes |
//! | [`knobs`] | every setting, declared once |
//! | [`operator_costs`] | the setting of what operators cost in fuel |
//! | [`artifact`] | the ELF image: sections, header, lookup tables |
//! | [`host`] | what this machine is: target, processor features, version |

#![forbid(unsafe_code)]

pub mod artifact;
pub mod builtins;
pub mod entity;
pub mod gc_heap;
pub mod gc_layout;
pub mod host;
pub mod index;
pub mod knobs;
pub mod layout;
pub mod module;
pub mod operator_costs;
pub mod plan;
pub mod trap;
pub mod types;

pub use index::*;
pub use module::ModuleInfo;
pub use trap::{Trap, TrapSite};
pub use types::*;
