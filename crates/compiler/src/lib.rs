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
//! | `parse` | one pass over the binary: facts, function bodies, data, names |
//! | `init` | segments laid out ahead of time |
//! | `isa` | the code generator's target: this machine |
//! | `lower` | a function body becomes CLIF, validated in the same pass |
//! | `trampoline` | the ways between host and guest, in CLIF |
//! | `code` | CLIF becomes one piece of machine code |
//! | `driver` | all pieces of a module |
//! | `queue` | tasks spread over threads |
//! | `emit` | pieces and tables become the artifact |
//!
//! Guest bytes never make it panic: whatever is wrong with a module is a [`CompileError`].

#![forbid(unsafe_code)]

mod code;
mod compiler;
mod driver;
mod emit;
mod error;
mod init;
mod isa;
mod lower;
mod parse;
mod queue;
mod trampoline;

pub use compiler::Compiler;
pub use error::{CompileError, FunctionLabel};
