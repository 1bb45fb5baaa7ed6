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
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.message())
    }
}

impl std::error::Error for Trap {}

#[cfg(test)]
mod tests {
    use super::Trap;

    #[test]
    fn numbers_round_trip_and_zero_is_no_trap() {
        for &trap in Trap::ALL {
            assert_eq!(Trap::from_u8(trap as u8), Some(trap));
        }
        assert_eq!(Trap::from_u8(0), None);
        assert_eq!(Trap::from_u8(250), None);
    }
}
