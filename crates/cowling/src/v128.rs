//! 128-bit vectors on the host's side.

use std::fmt;

/// A 128-bit vector: 16 bytes in little-endian order, whatever lanes the guest divides them into. Ordered as
/// the number they are.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct V128(u128);

impl V128 {
    /// Its bits; lane 0 is in the lowest ones.
    pub fn as_u128(&self) -> u128 {
        self.0
    }
}

impl From<u128> for V128 {
    fn from(bits: u128) -> V128 {
        V128(bits)
    }
}

impl From<V128> for u128 {
    fn from(vector: V128) -> u128 {
        vector.0
    }
}

impl fmt::Debug for V128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#034x}", self.0)
    }
}
