//! # cowling-compiler: from WebAssembly to an artifact
//!
//! ```text
//!   bytes --parse--> facts, bodies --driver--> machine code --emit--> artifact (ELF)
//!                      |                 ^                     ^
//!                      '--init: folded segments, images -------'
//! ```
//!
//! | file | job |
//! |---|---|
//! | `compiler` | [`Compiler`]: the public face |
//! | `error` | [`CompileError`] |
//! | `features` | WebAssembly features and the knobs that switch them |
//! | `parse` | one pass over the binary: facts, function bodies, data, names |
//! | `init` | segments laid out ahead of time |
//! | `fixed_tables` | tables whose contents are known when the module is compiled |
//! | `isa` | the code generator's target |
//! | `operator_cost` | what operators cost in fuel |
//! | `inlining` | which functions take the place of their calls |
//! | `lower` | a function body becomes CLIF, validated in the same pass |
//! | `optimize` | the mid-end: what the code generator would miss in CLIF |
//! | `trampoline` | the ways between host and guest, in CLIF |
//! | `clif` | CLIF written down for people |
//! | `origin` | which function, and which of its operators, code comes from |
//! | `settle` | which operator each instruction is of, once the code generator has optimised |
//! | `code` | CLIF becomes one piece of machine code |
//! | `effort` | how much is spent on a function that is out of all proportion |
//! | `driver` | all pieces of a module |
//! | `incremental` | pieces that were compiled before |
//! | `queue` | tasks spread over threads |
//! | `emit` | pieces and tables become the artifact |
//!
//! Guest bytes never make it panic: whatever is wrong with a module is a [`CompileError`].

#![forbid(unsafe_code)]

mod clif;
mod code;
mod compiler;
mod driver;
mod effort;
mod emit;
mod error;
mod features;
mod fixed_tables;
mod incremental;
mod init;
mod inlining;
mod isa;
mod lower;
mod operator_cost;
mod optimize;
mod origin;
mod parse;
mod queue;
mod settle;
mod trampoline;

pub use compiler::Compiler;
pub use error::{CompileError, FunctionLabel};
pub use features::{features, set_features};
pub use incremental::CacheStore;
pub use isa::check_target;
pub use operator_cost::{OperatorCost, UnknownOperator, VariableOperatorCost};
pub use wasmparser::WasmFeatures;

/// What tells compilers apart that may make different code of the same module under the same settings: a hash of this crate's sources,
/// and the code generator's version.
pub const IDENTITY: [&str; 2] = [env!("COWLING_COMPILER"), cranelift_codegen::VERSION];
