//! Promises of the embedder: the unsafe functions of an API whose crate forbids unsafe code.
//!
//! ```text
//!   embedder       unsafe { Module::deserialize(&engine, bytes) }       makes the promise
//!                      |  declared by `on_trust!`
//!   API crate          `-> Module::load_trusted(&engine, Trusted(bytes))     safe, and cannot be called without one
//! ```
//!
//! A [`Trusted`] is a promise as a value: only unsafe code makes one, so a safe function that takes one is as hard to call as an
//! unsafe function. [`on_trust!`](crate::on_trust) turns such a function into an unsafe one, which is what embedders see.

/// Something that somebody vouched for in `unsafe` code.
///
/// What was promised is what the function asks for that takes it; its documentation says so under *Safety*.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<T>(T);

impl<T> Trusted<T> {
    /// Vouches for it.
    ///
    /// # Safety
    /// It is as the function it is given to asks for.
    pub unsafe fn new(vouched_for: T) -> Trusted<T> {
        Trusted(vouched_for)
    }

    /// What was vouched for.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// What was vouched for, without the promise.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Declares unsafe functions over safe ones that take a [`Trusted`], in crates that forbid unsafe code.
///
/// Each declaration names the safe function after `=>`; it is called with the same arguments, those marked `trusted` as `Trusted<_>`.
/// The receiver, if there is one, comes first. Generic parameters stand in brackets, and so do bounds after `where`. The documentation
/// has a section *Safety* that says what the caller promises.
///
/// ```
/// #![forbid(unsafe_code)]
/// use cowling_vm::{Trusted, on_trust};
///
/// struct Row(Vec<u8>);
///
/// impl Row {
///     fn at<I>(&self, index: Trusted<I>, otherwise: u8) -> u8
///     where
///         I: Into<usize>,
///     {
///         self.0.get(index.into_inner().into()).copied().unwrap_or(otherwise)
///     }
///
///     on_trust! {
///         /// One byte.
///         ///
///         /// # Safety
///         /// It is there.
///         pub unsafe fn get[I](&self, trusted index: I, otherwise: u8) -> u8 where [I: Into<usize>] => Self::at;
///     }
/// }
/// ```
#[macro_export]
macro_rules! on_trust {
    ($(
        $(#[$meta:meta])*
        pub unsafe fn $name:ident $([$($generics:tt)*])? ($($args:tt)*) $(-> $ret:ty)? $(where [$($bounds:tt)*])? => $target:expr;
    )*) => {$(
        $crate::on_trust! {
            @args { [$(#[$meta])*] $name [$($($generics)*)?] [$(-> $ret)?] [$(where $($bounds)*)?] [$target] } [] [] $($args)*
        }
    )*};

    // One argument after the other: what is declared, what is passed on.
    (@args $fn:tt [] [] & self $(, $($rest:tt)*)?) => {
        $crate::on_trust! { @args $fn [&self,] [self,] $($($rest)*)? }
    };
    (@args $fn:tt [] [] & mut self $(, $($rest:tt)*)?) => {
        $crate::on_trust! { @args $fn [&mut self,] [self,] $($($rest)*)? }
    };
    (@args $fn:tt [] [] self $(, $($rest:tt)*)?) => {
        $crate::on_trust! { @args $fn [self,] [self,] $($($rest)*)? }
    };
    (@args $fn:tt [$($declared:tt)*] [$($passed:tt)*] trusted $arg:ident: $ty:ty $(, $($rest:tt)*)?) => {
        $crate::on_trust! { @args $fn [$($declared)* $arg: $ty,] [$($passed)* (trusted $arg),] $($($rest)*)? }
    };
    (@args $fn:tt [$($declared:tt)*] [$($passed:tt)*] $arg:ident: $ty:ty $(, $($rest:tt)*)?) => {
        $crate::on_trust! { @args $fn [$($declared)* $arg: $ty,] [$($passed)* $arg,] $($($rest)*)? }
    };
    (
        @args { [$($meta:tt)*] $name:ident [$($generics:tt)*] [$($ret:tt)*] [$($bounds:tt)*] [$target:expr] }
        [$($declared:tt)*] [$($passed:tt,)*]
    ) => {
        $($meta)*
        pub unsafe fn $name<$($generics)*>($($declared)*) $($ret)* $($bounds)* {
            $target($($crate::on_trust!(@pass $passed)),*)
        }
    };

    (@pass (trusted $arg:ident)) => {
        // SAFETY: the caller promises what the documentation asks for.
        unsafe { $crate::Trusted::new($arg) }
    };
    (@pass $arg:tt) => {
        $arg
    };
}
