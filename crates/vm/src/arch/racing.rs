//! Copying and filling bytes that other threads may be changing.
//!
//! For Rust it is undefined what happens when an ordinary access meets a write of another thread. Guests may do that to each other in
//! a shared memory at any time, so what the runtime does there on a guest's behalf is done by these instructions: what they find
//! and leave is some mixture of old and new bytes, as WebAssembly allows, and nothing else.

use std::arch::asm;

/// Copies `len` bytes, first to last.
///
/// # Safety
/// As for [`std::ptr::copy_nonoverlapping`], but for the race: other threads may access the bytes. If the ranges overlap, `to` lies
/// below `from`.
pub(crate) unsafe fn copy_racing(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller answers for the ranges; the direction flag is clear at function borders and stays so.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        )
    }
}

/// Fills `len` bytes.
///
/// # Safety
/// As for [`std::ptr::write_bytes`], but for the race: other threads may access the bytes.
pub(crate) unsafe fn fill_racing(to: *mut u8, value: u8, len: usize) {
    // SAFETY: as above.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            in("al") value,
            options(nostack, preserves_flags)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_and_filled_and_those_around_stay() {
        let mut bytes: Vec<u8> = (0..100).collect();
        let at = bytes.as_mut_ptr();
        // SAFETY: all within the vector; the second copy goes down.
        unsafe {
            copy_racing(at.add(10), at.add(50), 5);
            copy_racing(at.add(2), at.add(1), 3);
            fill_racing(at.add(90), 7, 4);
            copy_racing(at, at.add(99), 0);
        }
        assert_eq!(bytes[49..56], [49, 10, 11, 12, 13, 14, 55]);
        assert_eq!(bytes[0..6], [0, 2, 3, 4, 4, 5]);
        assert_eq!(bytes[89..95], [89, 7, 7, 7, 7, 94]);
        assert_eq!(bytes[99], 99);
    }
}
