//! Runs `.wast` scripts, the format of the WebAssembly specification's test suite, on Cowling.
//!
//! A script is a list of directives: modules to instantiate, calls to make, and assertions about what comes of them. It is
//! run with the public API only, so that it tests what an embedder gets.
//!
//! | file | what it does |
//! |---|---|
//! | [`runner`](Runner) | carries out the directives |
//! | `value` | script values to engine values, and results against what a script expects |
//! | `message` | error messages against the words of the specification |
//! | `spectest` | the host module that scripts import |
//! | `threads` | threads of a script |
//! | `error` | failures, with the place in the script |
//!
//! ```
//! let engine = cowling::Engine::default();
//! let script = r#"
//!     (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
//!     (assert_return (invoke "add" (i32.const 2) (i32.const 3)) (i32.const 5))
//! "#;
//! let report = cowling_wast::Runner::new(&engine)?.run("add.wast", script)?;
//! assert_eq!(report.assertions, 1);
//! # Ok::<(), cowling::Error>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod message;
mod runner;
mod spectest;
mod threads;
mod value;

pub use error::{Failure, ScriptError};
pub use runner::{Report, Runner};

/// The example of the repository's README, as a test. It is here because this is the crate furthest up that has a library.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
