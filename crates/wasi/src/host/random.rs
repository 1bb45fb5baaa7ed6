//! Random bytes: the operating system's, or a sequence that a seed determines.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Where a guest's random bytes come from.
pub trait RandomSource: Send {
    /// Fills `buffer` with random bytes. A guest that asks for more than 1 MiB has it filled in parts.
    ///
    /// # Errors
    ///
    /// When the source has no bytes to give; the guest gets the error's code.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()>;
}

/// The operating system's random bytes, fit for keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            // One call gives at most 32 MiB - 1, and can be interrupted.
            let count =
                rustix::io::retry_on_intr(|| getrandom(&mut *buffer, GetRandomFlags::empty()))?;
            buffer = &mut buffer[count..];
        }
        Ok(())
    }
}

/// A sequence determined by its seed, for repeatable runs. It is *not* fit for keys.
///
/// The generator is SplitMix64.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    state: u64,
}

impl SeededRandom {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        SeededRandom { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl RandomSource for SeededRandom {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for chunk in buffer.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_bytes_fill_the_whole_buffer() {
        let mut buffer = vec![0; 100_000];
        SystemRandom.fill(&mut buffer).unwrap();
        // The chance that the last 32 bytes are all zero is 2^-256.
        assert!(buffer[buffer.len() - 32..].iter().any(|&byte| byte != 0));
    }

    #[test]
    fn a_seed_determines_the_sequence() {
        let bytes = |seed| {
            let mut buffer = [0; 19];
            SeededRandom::new(seed).fill(&mut buffer).unwrap();
            buffer
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
        // The first word of SplitMix64 from seed 0 is published as 0xe220a8397b1dcdaf.
        assert_eq!(bytes(0)[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }
}
