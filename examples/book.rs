//! The code in the book's pages that is not an example's: documentation tests compile it.
//!
//! The pages are in `docs/`; the examples that they include are beside this file.

#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../docs/introduction.md")]
mod introduction {}

#[cfg(doctest)]
#[doc = include_str!("../docs/gc.md")]
mod gc {}

#[cfg(doctest)]
#[doc = include_str!("../docs/signing.md")]
mod signing {}

#[cfg(doctest)]
#[doc = include_str!("../docs/cache.md")]
mod cache {}
