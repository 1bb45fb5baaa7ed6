//! How a guest ends itself.

/// The guest ended itself with this exit code.
///
/// A call into the guest fails with this when the guest called `proc_exit` (or raised a signal that ends a process: then the
/// code is 128 and the signal's number). Code 0 is success: look for it before reporting an error.
///
/// ```
/// use cowling_wasi::I32Exit;
///
/// fn exit_code(result: anyhow::Result<()>) -> anyhow::Result<i32> {
///     match result {
///         Ok(()) => Ok(0),
///         Err(error) => match error.downcast_ref::<I32Exit>() {
///             Some(exit) => Ok(exit.0),
///             None => Err(error),
///         },
///     }
/// }
///
/// assert_eq!(exit_code(Err(I32Exit(3).into())).unwrap(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exited with code {0}")]
pub struct I32Exit(pub i32);
