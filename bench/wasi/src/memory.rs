//! What is needed of an engine's memory, and numbers and lists in it.

use crate::Errno;

/// A guest's memory. An address that is not in it is [`Errno::Fault`].
pub trait GuestMemory {
    /// Copies what is at `address` to `to`.
    fn read(&self, address: u32, to: &mut [u8]) -> Result<(), Errno>;
    /// Copies `from` to `address`.
    fn write(&mut self, address: u32, from: &[u8]) -> Result<(), Errno>;
}

impl GuestMemory for &mut [u8] {
    fn read(&self, address: u32, to: &mut [u8]) -> Result<(), Errno> {
        let from = self
            .get(address as usize..)
            .and_then(|rest| rest.get(..to.len()));
        to.copy_from_slice(from.ok_or(Errno::Fault)?);
        Ok(())
    }

    fn write(&mut self, address: u32, from: &[u8]) -> Result<(), Errno> {
        let to = self
            .get_mut(address as usize..)
            .and_then(|rest| rest.get_mut(..from.len()));
        to.ok_or(Errno::Fault)?.copy_from_slice(from);
        Ok(())
    }
}

impl dyn GuestMemory + '_ {
    pub(crate) fn write_u32(&mut self, address: u32, value: u32) -> Result<(), Errno> {
        self.write(address, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, address: u32, value: u64) -> Result<(), Errno> {
        self.write(address, &value.to_le_bytes())
    }

    /// The `length` bytes at `address`.
    pub(crate) fn bytes(&self, address: u32, length: u32) -> Result<Vec<u8>, Errno> {
        // Read in pieces, so that a length that no memory has is a fault and not an allocation.
        let mut bytes = Vec::new();
        while (bytes.len() as u32) < length {
            let done = bytes.len();
            let piece = (length as usize - done).min(1 << 16);
            bytes.resize(done + piece, 0);
            let from = address.checked_add(done as u32).ok_or(Errno::Fault)?;
            self.read(from, &mut bytes[done..])?;
        }
        Ok(bytes)
    }

    /// A list of buffers: pairs of address and length.
    pub(crate) fn buffers(&self, list: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
        let bytes = self.bytes(list, count.checked_mul(8).ok_or(Errno::Invalid)?)?;
        let (words, _) = bytes.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let (pairs, _) = words.as_chunks::<2>();
        Ok(pairs
            .iter()
            .map(|[address, length]| (*address, *length))
            .collect())
    }
}
