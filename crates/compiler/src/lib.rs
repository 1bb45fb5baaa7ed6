//! # cowling-compiler: from WebAssembly to an artifact

#![forbid(unsafe_code)]

mod error;

pub use error::{CompileError, FunctionLabel};
