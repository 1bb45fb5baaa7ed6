//! The guest's memory, as hostcalls see it: every address and length is checked before it is used.
//!
//! A result's place is checked *before* the work is done ([`GuestMemory::slot`]), so that a bad pointer fails with
//! `EFAULT` and no effect. Buffers are lent to the operating system in place, never copied; how many bytes one
//! call moves, and how much the host allocates for it, is bounded whatever the guest says.

use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;

use smallvec::SmallVec;

use super::abi::Errno;
use crate::host::dir::PATH_MAX;

/// The most buffers one call looks at. A guest that gives more gets a short count and goes on from there.
const MAX_BUFFERS: usize = 1024;
/// The most buffers in an array, empty ones included; more are refused with `EINVAL`, as the operating system refuses more than 1024.
const MAX_ARRAY: u32 = 16_384;
/// The most bytes one call moves: Linux's own limit.
const MAX_BYTES: usize = 0x7fff_f000;
/// Bytes of an `iovec` or `ciovec`.
const IOVEC_SIZE: u32 = 8;

/// Buffers to write to, most often one or two.
pub(crate) type Buffers<'a> = SmallVec<[IoSlice<'a>; 4]>;
/// Buffers to read into.
pub(crate) type BuffersMut<'a> = SmallVec<[IoSliceMut<'a>; 4]>;

/// A guest's linear memory.
#[derive(Debug)]
pub(crate) struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

/// A place of `N` bytes that was checked.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Slot<const N: usize> {
    start: usize,
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        GuestMemory { bytes }
    }

    fn range(&self, pointer: u32, len: usize) -> Result<Range<usize>, Errno> {
        let start = pointer as usize;
        let end = start.checked_add(len).ok_or(Errno::Fault)?;
        if end > self.bytes.len() {
            return Err(Errno::Fault);
        }
        Ok(start..end)
    }

    /// Checks a place for `N` bytes.
    pub(crate) fn slot<const N: usize>(&self, pointer: u32) -> Result<Slot<N>, Errno> {
        let range = self.range(pointer, N)?;
        Ok(Slot { start: range.start })
    }

    /// Stores `value` where there is room for it.
    pub(crate) fn put<const N: usize>(&mut self, slot: Slot<N>, value: [u8; N]) {
        self.bytes[slot.start..slot.start + N].copy_from_slice(&value);
    }

    /// Checks a place for a number and stores it.
    pub(crate) fn store<const N: usize>(
        &mut self,
        pointer: u32,
        value: [u8; N],
    ) -> Result<(), Errno> {
        let slot = self.slot(pointer)?;
        self.put(slot, value);
        Ok(())
    }

    /// The `len` bytes at `pointer`.
    pub(crate) fn slice(&self, pointer: u32, len: u32) -> Result<&[u8], Errno> {
        let range = self.range(pointer, len as usize)?;
        Ok(&self.bytes[range])
    }

    /// The `len` bytes at `pointer`, to change.
    pub(crate) fn slice_mut(&mut self, pointer: u32, len: u32) -> Result<&mut [u8], Errno> {
        let range = self.range(pointer, len as usize)?;
        Ok(&mut self.bytes[range])
    }

    /// The path of `len` bytes at `pointer`; `ENAMETOOLONG` when no path is as long, and `EILSEQ` when it is not UTF-8.
    pub(crate) fn string(&self, pointer: u32, len: u32) -> Result<&str, Errno> {
        let bytes = self.slice(pointer, len)?;
        if bytes.len() >= PATH_MAX {
            return Err(Errno::NameTooLong);
        }
        std::str::from_utf8(bytes).map_err(|_| Errno::IlSeq)
    }

    /// The places that the array of `count` buffers at `pointer` names: those with at least one byte, as many and as much
    /// as one call handles.
    fn places(&self, pointer: u32, count: u32) -> Result<SmallVec<[Range<usize>; 4]>, Errno> {
        let size = count.checked_mul(IOVEC_SIZE).ok_or(Errno::Fault)?;
        let array = self.slice(pointer, size)?;
        if count > MAX_ARRAY {
            return Err(Errno::Inval);
        }
        let mut places = SmallVec::new();
        let mut room = MAX_BYTES;
        for iovec in array.as_chunks().0 {
            let &[a, b, c, d, e, f, g, h] = iovec;
            let base = u32::from_le_bytes([a, b, c, d]);
            let len = u32::from_le_bytes([e, f, g, h]) as usize;
            let mut place = self.range(base, len)?;
            if len > room {
                place.end = place.start + room;
            }
            room -= place.len();
            if !place.is_empty() {
                places.push(place);
            }
            if room == 0 || places.len() == MAX_BUFFERS {
                break;
            }
        }
        Ok(places)
    }

    /// The buffers of an array of `ciovec`. They may overlap.
    pub(crate) fn buffers(&self, pointer: u32, count: u32) -> Result<Buffers<'_>, Errno> {
        let places = self.places(pointer, count)?;
        Ok(places
            .into_iter()
            .map(|place| IoSlice::new(&self.bytes[place]))
            .collect())
    }

    /// The buffers of an array of `iovec`. If any overlap, only the first is given: the guest reads less than it asked for.
    pub(crate) fn buffers_mut(
        &mut self,
        pointer: u32,
        count: u32,
    ) -> Result<BuffersMut<'_>, Errno> {
        let mut places = self.places(pointer, count)?;
        let mut order: SmallVec<[usize; 4]> = (0..places.len()).collect();
        order.sort_unstable_by_key(|&index| places[index].start);
        let overlap = order
            .windows(2)
            .any(|pair| places[pair[0]].end > places[pair[1]].start);
        if overlap {
            places.truncate(1);
            order.clear();
            order.push(0);
        }

        // Cut the memory from front to back, then put the pieces into the guest's order.
        let mut pieces: SmallVec<[(usize, &mut [u8]); 4]> = SmallVec::new();
        let mut rest = &mut *self.bytes;
        let mut rest_start = 0;
        for index in order {
            let place = &places[index];
            let (_, tail) = rest.split_at_mut(place.start - rest_start);
            let (piece, tail) = tail.split_at_mut(place.len());
            pieces.push((index, piece));
            rest = tail;
            rest_start = place.end;
        }
        pieces.sort_unstable_by_key(|&(index, _)| index);
        Ok(pieces
            .into_iter()
            .map(|(_, piece)| IoSliceMut::new(piece))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory_with(iovecs: &[(u32, u32)]) -> Vec<u8> {
        let mut bytes = vec![0; 65_536];
        for (index, (base, len)) in iovecs.iter().enumerate() {
            bytes[index * 8..][..4].copy_from_slice(&base.to_le_bytes());
            bytes[index * 8 + 4..][..4].copy_from_slice(&len.to_le_bytes());
        }
        bytes
    }

    fn lengths(iovecs: &[(u32, u32)]) -> Result<Vec<usize>, Errno> {
        let mut bytes = memory_with(iovecs);
        let mut memory = GuestMemory::new(&mut bytes);
        let buffers = memory.buffers_mut(0, iovecs.len() as u32)?;
        Ok(buffers.iter().map(|buffer| buffer.len()).collect())
    }

    #[test]
    fn places_up_to_the_very_end_are_good_and_one_further_is_not() {
        let mut bytes = [0; 16];
        let mut memory = GuestMemory::new(&mut bytes);
        assert!(memory.slice(16, 0).is_ok());
        assert!(memory.slice(0, 16).is_ok());
        for (pointer, len) in [
            (17, 0),
            (0, 17),
            (16, 1),
            (u32::MAX, 1),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(memory.slice(pointer, len), Err(Errno::Fault));
            assert_eq!(memory.slice_mut(pointer, len), Err(Errno::Fault));
        }
        assert_eq!(memory.store(12, 5_u32.to_le_bytes()), Ok(()));
        assert_eq!(memory.store(13, 5_u32.to_le_bytes()), Err(Errno::Fault));
        assert_eq!(bytes[12], 5);
    }

    #[test]
    fn strings_must_be_utf8() {
        let mut bytes = *b"ok\xff";
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.string(0, 2), Ok("ok"));
        assert_eq!(memory.string(0, 3), Err(Errno::IlSeq));
    }

    #[test]
    fn strings_longer_than_any_path_are_not_looked_at() {
        let mut bytes = vec![0xff; PATH_MAX];
        let memory = GuestMemory::new(&mut bytes);
        let len = PATH_MAX as u32;
        assert_eq!(memory.string(0, len - 1), Err(Errno::IlSeq));
        assert_eq!(memory.string(0, len), Err(Errno::NameTooLong));
        assert_eq!(memory.string(0, len + 1), Err(Errno::Fault));
    }

    #[test]
    fn arrays_of_too_many_buffers_are_refused_even_if_all_are_empty() {
        let mut bytes = vec![0; (MAX_ARRAY as usize + 1) * 8];
        let mut memory = GuestMemory::new(&mut bytes);
        for (count, expected) in [(MAX_ARRAY, None), (MAX_ARRAY + 1, Some(Errno::Inval))] {
            assert_eq!(memory.buffers(0, count).err(), expected);
            assert_eq!(memory.buffers_mut(0, count).err(), expected);
        }
        assert_eq!(memory.buffers(0, MAX_ARRAY + 2).err(), Some(Errno::Fault));
    }

    #[test]
    fn buffers_come_in_the_guests_order() {
        let mut bytes = memory_with(&[(300, 2), (100, 3), (0, 0), (200, 1)]);
        let mut memory = GuestMemory::new(&mut bytes);
        let mut buffers = memory.buffers_mut(0, 4).unwrap();
        for (index, buffer) in buffers.iter_mut().enumerate() {
            buffer.fill(index as u8 + 1);
        }
        drop(buffers);
        assert_eq!(bytes[300..303], [1, 1, 0]);
        assert_eq!(bytes[100..104], [2, 2, 2, 0]);
        assert_eq!(bytes[200..202], [3, 0]);
    }

    #[test]
    fn overlapping_buffers_to_read_into_are_cut_to_the_first() {
        assert_eq!(lengths(&[(100, 10), (110, 10)]), Ok(vec![10, 10]));
        assert_eq!(lengths(&[(100, 11), (110, 10)]), Ok(vec![11]));
        assert_eq!(lengths(&[(110, 10), (100, 11)]), Ok(vec![10]));
        assert_eq!(lengths(&[(100, 5), (100, 5)]), Ok(vec![5]));
        assert_eq!(lengths(&[(100, 0), (100, 5)]), Ok(vec![5]));
    }

    #[test]
    fn buffers_to_write_from_may_overlap() {
        let mut bytes = memory_with(&[(100, 10), (100, 10)]);
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.buffers(0, 2).unwrap().len(), 2);
    }

    #[test]
    fn bad_arrays_and_bad_buffers_are_faults() {
        let fault = Err(Errno::Fault);
        assert_eq!(lengths(&[(65_535, 1)]), Ok(vec![1]));
        assert_eq!(lengths(&[(65_535, 2)]), fault);
        assert_eq!(lengths(&[(65_537, 0)]), fault);
        assert_eq!(lengths(&[(0, 1), (8, u32::MAX)]), fault);
        let mut bytes = vec![0; 65_536];
        let memory = GuestMemory::new(&mut bytes);
        for (pointer, count) in [(65_532, 1), (0, 8_193), (0, u32::MAX), (8, 0x2000_0000)] {
            assert_eq!(memory.buffers(pointer, count).err(), Some(Errno::Fault));
        }
        assert_eq!(memory.buffers(0, 8_192).unwrap().len(), 0);
    }

    #[test]
    fn a_call_handles_a_bounded_number_of_buffers_and_bytes() {
        let many = vec![(60_000, 1); 2_000];
        let mut bytes = memory_with(&many);
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.buffers(0, 2_000).unwrap().len(), MAX_BUFFERS);

        // 64 buffers of 64 MiB each, all the same bytes: 4 GiB.
        let mut bytes = vec![0; 1 << 26];
        for index in 0..64 {
            let len = 1_u32 << 26;
            bytes[index * 8 + 4..][..4].copy_from_slice(&len.to_le_bytes());
        }
        let memory = GuestMemory::new(&mut bytes);
        let buffers = memory.buffers(0, 64).unwrap();
        let total: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        assert_eq!(total, MAX_BYTES);
    }
}
