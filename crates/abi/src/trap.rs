//! Trap codes: why guest code stopped.

use std::fmt;

macro_rules! traps {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $message:literal;)*) => {
        /// Why guest code stopped.
        ///
        /// The number is what the artifact's trap table stores; 0 is never a trap.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Trap {
            $($(#[$doc])* $name = $code,)*
        }

        impl Trap {
            /// Every trap, in order of its number.
            pub const ALL: &'static [Trap] = &[$(Trap::$name),*];

            /// The trap with this number.
            pub fn from_u8(code: u8) -> Option<Trap> {
                match code {
                    $($code => Some(Trap::$name),)*
                    _ => None,
                }
            }

            /// What happened, in the words of the specification's test suite.
            pub fn message(self) -> &'static str {
                match self {
                    $(Trap::$name => $message,)*
                }
            }
        }
    };
}

traps! {
    /// The guest's stack, or what must be left of it for a host function, ran out.
    StackOverflow = 1, "call stack exhausted";
    /// A load, store or bulk operation reached outside a linear memory.
    MemoryOutOfBounds = 2, "out of bounds memory access";
    /// An atomic access was not aligned.
    HeapMisaligned = 3, "unaligned atomic";
    /// A table access reached outside the table.
    TableOutOfBounds = 4, "undefined element: out of bounds table access";
    /// An indirect call through a null table element.
    IndirectCallToNull = 5, "uninitialized element";
    /// An indirect call found a function of another type.
    BadSignature = 6, "indirect call type mismatch";
    /// The result of an integer operation does not fit.
    IntegerOverflow = 7, "integer overflow";
    /// Division by zero.
    IntegerDivisionByZero = 8, "integer divide by zero";
    /// A float that has no integer equivalent was converted.
    BadConversionToInteger = 9, "invalid conversion to integer";
    /// `unreachable` was executed.
    UnreachableCodeReached = 10, "unreachable";
    /// The guest was interrupted from outside.
    Interrupt = 11, "interrupt";
    /// The guest used up its fuel.
    OutOfFuel = 12, "all fuel consumed";
    /// A null reference was used where an object is needed.
    NullReference = 13, "null reference";
    /// A reference was cast to a type that it is not of.
    CastFailure = 14, "cast failure";
    /// An array access reached outside the array.
    ArrayOutOfBounds = 15, "out of bounds array access";
    /// A struct or array would be larger than any heap.
    AllocationTooLarge = 16, "allocation size too large";
    /// The garbage-collected heap is full.
    GcHeapOutOfMemory = 17, "GC heap out of memory";
    /// A wait in a memory that is not shared.
    AtomicWaitNonSharedMemory = 20, "expected shared memory";
}

/// What it means when an instruction traps.
///
/// As a number below `WITH_UNTAKEN` it is the [`Trap`]'s; from there on it is [`Trap::MemoryOutOfBounds`] with the untaken
/// fuel added.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TrapSite {
    /// The trap.
    pub trap: Trap,
    /// In code that counts fuel: what has been executed by then, the instruction itself included, and not been taken from the
    /// count. Not 0 for [`Trap::MemoryOutOfBounds`] only, and at most [`TrapSite::MAX_UNTAKEN`].
    pub untaken: u8,
}

impl TrapSite {
    /// The first number that means untaken fuel.
    const WITH_UNTAKEN: u8 = 64;

    /// Most fuel that may be untaken. Numbers up to 250 are what the code generator leaves to its users.
    pub const MAX_UNTAKEN: u8 = 250 - Self::WITH_UNTAKEN;

    /// Its number.
    pub fn to_u8(self) -> u8 {
        match self.untaken {
            0 => self.trap as u8,
            untaken => {
                debug_assert!(self.trap == Trap::MemoryOutOfBounds && untaken <= Self::MAX_UNTAKEN);
                Self::WITH_UNTAKEN.saturating_add(untaken)
            }
        }
    }

    /// The one with this number.
    pub fn from_u8(number: u8) -> Option<TrapSite> {
        match number.checked_sub(Self::WITH_UNTAKEN) {
            None => Trap::from_u8(number).map(TrapSite::from),
            Some(untaken) => (untaken <= Self::MAX_UNTAKEN).then_some(TrapSite {
                trap: Trap::MemoryOutOfBounds,
                untaken,
            }),
        }
    }
}

impl From<Trap> for TrapSite {
    fn from(trap: Trap) -> Self {
        TrapSite { trap, untaken: 0 }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.message())
    }
}

impl std::error::Error for Trap {}

#[cfg(test)]
mod tests {
    use super::{Trap, TrapSite};

    #[test]
    fn numbers_round_trip_and_zero_is_no_trap() {
        for &trap in Trap::ALL {
            assert_eq!(Trap::from_u8(trap as u8), Some(trap));
        }
        assert_eq!(Trap::from_u8(0), None);
        assert_eq!(Trap::from_u8(250), None);
    }

    #[test]
    fn sites_round_trip_with_and_without_untaken_fuel() {
        let plain = Trap::ALL.iter().map(|&trap| TrapSite::from(trap));
        let untaken = (1..=TrapSite::MAX_UNTAKEN).map(|untaken| TrapSite {
            trap: Trap::MemoryOutOfBounds,
            untaken,
        });
        let mut seen = std::collections::HashSet::new();
        for site in plain.chain(untaken) {
            assert_eq!(TrapSite::from_u8(site.to_u8()), Some(site));
            assert!(seen.insert(site.to_u8()), "{site:?}");
        }
        assert_eq!(TrapSite::from_u8(0), None);
        assert_eq!(TrapSite::from_u8(251), None);
    }
}
