//! Debug information read through a meter.
//!
//! It is a guest's, and its tables refer to each other: a thousand units may each name one list of a million ranges. What reading it
//! costs is therefore not bounded by its length but counted: every read takes from a budget, and when that is used up, everything
//! that is still to be read seems to end early.

use gimli::{EndianSlice, Error, LittleEndian, Reader, ReaderOffsetId, Result};
use std::borrow::Cow;
use std::cell::Cell;

/// How much may still be read.
pub(super) struct Meter(Cell<u64>);

impl Meter {
    pub(super) fn new(budget: u64) -> Meter {
        Meter(Cell::new(budget))
    }

    /// Takes from the budget. Says whether there was that much; if not, there is nothing left.
    pub(super) fn take(&self, cost: u64) -> bool {
        let left = self.0.get().checked_sub(cost);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Lets `read` have no more than this.
    pub(super) fn at_most<R>(&self, budget: u64, read: impl FnOnce() -> R) -> R {
        let kept = self.0.get().saturating_sub(budget);
        self.0.set(self.0.get() - kept);
        let result = read();
        self.0.set(self.0.get() + kept);
        result
    }
}

/// Bytes of debug information.
#[derive(Clone)]
pub(super) struct Metered<'a> {
    bytes: EndianSlice<'a, LittleEndian>,
    meter: &'a Meter,
}

impl<'a> Metered<'a> {
    pub(super) fn new(bytes: &'a [u8], meter: &'a Meter) -> Self {
        Metered {
            bytes: EndianSlice::new(bytes, LittleEndian),
            meter,
        }
    }

    #[inline]
    fn charge(&self, cost: usize) -> Result<()> {
        match self.meter.take(cost as u64) {
            true => Ok(()),
            false => Err(Error::UnexpectedEof(self.bytes.offset_id())),
        }
    }
}

impl std::fmt::Debug for Metered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl Reader for Metered<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn empty(&mut self) {
        Reader::empty(&mut self.bytes);
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> Result<()> {
        self.bytes.truncate(len)
    }

    #[inline]
    fn offset_from(&self, base: &Self) -> usize {
        self.bytes.offset_from(base.bytes)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let found = Reader::find(&self.bytes, byte)?;
        // A search goes over many bytes in the time of a read.
        self.charge(1 + found / 8)?;
        Ok(found)
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<()> {
        self.charge(1)?;
        self.bytes.skip(len)
    }

    #[inline]
    fn split(&mut self, len: usize) -> Result<Self> {
        self.charge(1)?;
        Ok(Metered {
            bytes: self.bytes.split(len)?,
            meter: self.meter,
        })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.bytes.to_slice()
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        self.charge(self.bytes.len())?;
        Reader::to_string(&self.bytes)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        // It may be copied, and kept.
        self.charge(self.bytes.len().saturating_mul(8))?;
        Reader::to_string_lossy(&self.bytes)
    }

    #[inline]
    fn read_slice(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.charge(1)?;
        Reader::read_slice(&mut self.bytes, buffer)
    }
}
