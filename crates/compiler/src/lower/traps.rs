//! Trap codes: the contract's numbers and Cranelift's.
//!
//! Cranelift has codes of its own for traps that its instructions raise (division, conversion, heap accesses). Every other trap
//! is a *user* code with the contract's number. A memory access that fuel is untaken at has the number of its [`TrapSite`], which stays
//! with it wherever the code generator puts the access.

use cowling_abi::{Trap, TrapSite};
use cranelift_codegen::ir::TrapCode;

/// Traps that Cranelift has a code for.
const OWN: [(Trap, TrapCode); 5] = [
    (Trap::StackOverflow, TrapCode::STACK_OVERFLOW),
    (Trap::MemoryOutOfBounds, TrapCode::HEAP_OUT_OF_BOUNDS),
    (Trap::IntegerOverflow, TrapCode::INTEGER_OVERFLOW),
    (
        Trap::IntegerDivisionByZero,
        TrapCode::INTEGER_DIVISION_BY_ZERO,
    ),
    (
        Trap::BadConversionToInteger,
        TrapCode::BAD_CONVERSION_TO_INTEGER,
    ),
];

/// The code that makes an instruction raise this trap.
pub(crate) fn to_clif(trap: Trap) -> TrapCode {
    match OWN.iter().find(|(own, _)| *own == trap) {
        Some((_, code)) => *code,
        // Numbers of traps are small and never 0, so this is a user code.
        None => TrapCode::unwrap_user(trap as u8),
    }
}

/// The code that makes a memory access out of bounds when so much fuel is untaken: at most [`TrapSite::MAX_UNTAKEN`].
pub(crate) fn out_of_bounds(untaken: u8) -> TrapCode {
    match untaken {
        0 => to_clif(Trap::MemoryOutOfBounds),
        untaken => {
            let trap = Trap::MemoryOutOfBounds;
            TrapCode::unwrap_user(TrapSite { trap, untaken }.to_u8())
        }
    }
}

/// What it means that an instruction with this code traps, or `None` for a code the lowering never emits.
pub(crate) fn from_clif(code: TrapCode) -> Option<TrapSite> {
    match OWN.iter().find(|(_, own)| *own == code) {
        Some((trap, _)) => Some((*trap).into()),
        None => TrapSite::from_u8(code.as_raw().get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU8;

    #[test]
    fn every_trap_survives_the_way_through_clif() {
        for &trap in Trap::ALL {
            assert_eq!(from_clif(to_clif(trap)), Some(trap.into()));
        }
        for untaken in 0..=TrapSite::MAX_UNTAKEN {
            let site = TrapSite {
                trap: Trap::MemoryOutOfBounds,
                untaken,
            };
            assert_eq!(from_clif(out_of_bounds(untaken)), Some(site));
        }
    }

    #[test]
    fn every_code_of_cranelift_is_a_trap_and_unknown_ones_are_none() {
        for &code in TrapCode::non_user_traps() {
            assert!(from_clif(code).is_some(), "{code}");
        }
        let unknown = NonZeroU8::new(40).map(TrapCode::from_raw);
        assert_eq!(unknown.and_then(from_clif), None);
    }
}
