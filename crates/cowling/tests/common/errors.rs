//! What tests ask of errors.

use cowling::{Error, Trap};

/// The trap in an error.
#[track_caller]
pub(crate) fn trap(error: &Error) -> Trap {
    *error
        .downcast_ref::<Trap>()
        .unwrap_or_else(|| panic!("not a trap: {error:?}"))
}

/// Asserts that an error, with its causes, says all of this.
#[track_caller]
pub(crate) fn assert_says(error: &Error, expected: &[&str]) {
    let message = format!("{error:#}");
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}
