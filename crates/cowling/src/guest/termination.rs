//! Why a guest was terminated: everything that stops a guest for good other than a trap.

use super::contexts::ContextError;
use crate::backtrace;
use crate::error::Error;
use cowling_vm::{CannotSuspend, Terminated, UncaughtException as ThrownException};
use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Why a guest was terminated.
#[derive(Debug)]
#[non_exhaustive]
pub enum TerminationDetails {
    /// By its [`KillSwitch`](crate::KillSwitch).
    Remote,
    /// Its deadline passed.
    Deadline,
    /// Its epoch deadline passed.
    Epoch,
    /// A host function terminated it with this: [`Caller::terminate`](crate::Caller::terminate). So did a fault handler.
    Provided(Payload),
    /// A host function borrowed a context that was borrowed already.
    BorrowError {
        /// Name of the context's type.
        type_name: &'static str,
    },
    /// A host function asked for a context that is not there.
    CtxNotFound {
        /// Name of the context's type.
        type_name: &'static str,
    },
    /// A host function had to wait, but the guest was not run asynchronously.
    BlockOnNeedsAsync,
    /// It threw an exception that nothing caught.
    Exception(ThrownException),
    /// A host function, or the resource limiter, failed with this error.
    HostError(Error),
    /// A host function panicked with this.
    OtherPanic(Payload),
    /// The future of an asynchronous run was dropped before it was ready.
    Cancelled,
}

/// A value that a guest was terminated with. Can be shared between threads although the value cannot: it has to be taken out.
pub struct Payload(Mutex<Box<dyn Any + Send>>);

impl Payload {
    pub(super) fn new(value: Box<dyn Any + Send>) -> Payload {
        Payload(Mutex::new(value))
    }

    /// The value.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, if it is of this type.
    ///
    /// # Errors
    /// Gives the payload back if it is of another type.
    pub fn downcast<P: Any>(self) -> Result<Box<P>, Payload> {
        self.into_inner().downcast().map_err(Payload::new)
    }

    /// Is it of this type?
    pub fn is<P: Any>(&self) -> bool {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (**value).is::<P>()
    }

    /// The message, if the value is what `panic!` makes, or a string.
    fn message(&self) -> Option<String> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let literal = value.downcast_ref::<&str>().map(ToString::to_string);
        literal.or_else(|| value.downcast_ref::<String>().cloned())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => f.debug_tuple("Payload").field(&message).finish(),
            None => f.debug_tuple("Payload").finish_non_exhaustive(),
        }
    }
}

impl fmt::Display for TerminationDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TerminationDetails::Remote => f.write_str("by its kill switch"),
            TerminationDetails::Deadline => f.write_str("its deadline has passed"),
            TerminationDetails::Epoch => f.write_str("its epoch deadline has passed"),
            TerminationDetails::Provided(payload) => {
                f.write_str("by a host function")?;
                (payload.message()).map_or(Ok(()), |message| write!(f, ": {message}"))
            }
            TerminationDetails::BorrowError { type_name } => {
                write!(f, "context of type {type_name} was borrowed already")
            }
            TerminationDetails::CtxNotFound { type_name } => {
                write!(
                    f,
                    "a host function wanted a context of type {type_name}, and there is none"
                )
            }
            TerminationDetails::BlockOnNeedsAsync => {
                f.write_str("a host function had to wait, which needs an asynchronous run")
            }
            TerminationDetails::Exception(exception) => write!(f, "{exception}"),
            TerminationDetails::HostError(error) => {
                f.write_str("a host function failed")?;
                // The outermost context is where the guest was.
                let places = backtrace::descriptions(error);
                let mut causes = error.chain().skip(places);
                causes.try_for_each(|cause| write!(f, ": {cause}"))
            }
            TerminationDetails::OtherPanic(payload) => {
                f.write_str("a host function panicked")?;
                (payload.message()).map_or(Ok(()), |message| write!(f, ": {message}"))
            }
            TerminationDetails::Cancelled => {
                f.write_str("the future of its run was dropped before it was ready")
            }
        }
    }
}

/// The error by which a host function terminates its guest.
#[derive(Debug, thiserror::Error)]
#[error("guest terminated by a host function")]
pub(super) struct Terminate(pub(super) Payload);

impl TerminationDetails {
    /// Why a guest ended that did not trap.
    pub(super) fn of(error: Error) -> TerminationDetails {
        if let Some(ended) = error.downcast_ref::<Terminated>() {
            return match ended {
                Terminated::Deadline => TerminationDetails::Deadline,
                Terminated::Epoch => TerminationDetails::Epoch,
                _ => TerminationDetails::Remote,
            };
        }
        match error.downcast_ref::<ContextError>() {
            Some(&ContextError::NotFound { type_name }) => {
                return TerminationDetails::CtxNotFound { type_name };
            }
            Some(&ContextError::Borrowed { type_name }) => {
                return TerminationDetails::BorrowError { type_name };
            }
            None => {}
        }
        if let Some(CannotSuspend::NoTask) = error.downcast_ref() {
            return TerminationDetails::BlockOnNeedsAsync;
        }
        match error.downcast::<Terminate>() {
            Ok(terminate) => TerminationDetails::Provided(terminate.0),
            Err(error) => match error.downcast::<ThrownException>() {
                Ok(exception) => TerminationDetails::Exception(exception),
                Err(error) => TerminationDetails::HostError(error),
            },
        }
    }
}
