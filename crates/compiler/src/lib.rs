//! # cowling-compiler: from WebAssembly to an artifact

#![forbid(unsafe_code)]

mod error;
mod parse;

pub use error::{CompileError, FunctionLabel};
