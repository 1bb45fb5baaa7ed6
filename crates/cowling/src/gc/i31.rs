//! Integers of 31 bits.

use std::fmt;

/// An integer of 31 bits: what an `i31ref` refers to. It is in the reference itself and takes no room in the heap.
///
/// ```
/// # use cowling::I31;
/// assert_eq!(I31::new_i32(-5).map(|v| (v.get_i32(), v.get_u32())), Some((-5, 0x7fff_fffb)));
/// assert_eq!(I31::new_u32(1 << 31), None);
/// assert_eq!(I31::wrapping_u32(1 << 31 | 3), I31::wrapping_u32(3));
/// ```
#[derive(Copy, Clone, Default, PartialEq, Eq, Hash)]
pub struct I31(u32);

impl I31 {
    const MASK: u32 = (1 << 31) - 1;

    /// The number, if it fits without a sign.
    pub fn new_u32(value: u32) -> Option<I31> {
        (value <= Self::MASK).then_some(I31(value))
    }

    /// The number, if it fits with a sign.
    pub fn new_i32(value: i32) -> Option<I31> {
        let made = Self::wrapping_i32(value);
        (made.get_i32() == value).then_some(made)
    }

    /// The lower 31 bits of a number.
    pub fn wrapping_u32(value: u32) -> I31 {
        I31(value & Self::MASK)
    }

    /// The lower 31 bits of a number.
    pub fn wrapping_i32(value: i32) -> I31 {
        Self::wrapping_u32(value.cast_unsigned())
    }

    /// The number, without a sign.
    pub fn get_u32(&self) -> u32 {
        self.0
    }

    /// The number, with a sign.
    pub fn get_i32(&self) -> i32 {
        (self.0 << 1).cast_signed() >> 1
    }
}

impl fmt::Debug for I31 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("I31")
            .field("as_u32", &self.get_u32())
            .field("as_i32", &self.get_i32())
            .finish()
    }
}

impl From<I31> for u32 {
    fn from(value: I31) -> u32 {
        value.get_u32()
    }
}

impl From<I31> for i32 {
    fn from(value: I31) -> i32 {
        value.get_i32()
    }
}
