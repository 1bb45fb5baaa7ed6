//! Arguments, environment, clocks, random bytes, and ways to end.

use super::abi::{ClockId, Errno};
use super::memory::GuestMemory;
use super::{Stop, WasiP1Ctx};
use crate::exit::I32Exit;
use crate::host::clocks::nanoseconds;
use crate::host::error::Error;
use crate::host::patience::Patience;

/// The most random bytes made between two looks for requests.
const RANDOM_PART: usize = 1 << 20;

/// Strings as the guest's memory will hold them: one after the other, each with a zero byte behind it.
#[derive(Debug)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// Where each string starts in `bytes`.
    starts: Vec<usize>,
}

impl Strings {
    pub(super) fn new(strings: Vec<Vec<u8>>) -> Self {
        let mut bytes = Vec::new();
        let mut starts = Vec::with_capacity(strings.len());
        for string in strings {
            starts.push(bytes.len());
            bytes.extend_from_slice(&string);
            bytes.push(0);
        }
        Strings { bytes, starts }
    }

    fn count(&self) -> Result<u32, Errno> {
        u32::try_from(self.starts.len()).map_err(|_| Errno::Overflow)
    }

    fn size(&self) -> Result<u32, Errno> {
        u32::try_from(self.bytes.len()).map_err(|_| Errno::Overflow)
    }

    fn store_sizes(
        &self,
        memory: &mut GuestMemory<'_>,
        count: u32,
        size: u32,
    ) -> Result<(), Errno> {
        memory.store(count, self.count()?.to_le_bytes())?;
        memory.store(size, self.size()?.to_le_bytes())
    }

    fn store(&self, memory: &mut GuestMemory<'_>, pointers: u32, buffer: u32) -> Result<(), Errno> {
        let size = self.count()?.checked_mul(4).ok_or(Errno::Fault)?;
        memory.slice(pointers, size)?;
        memory
            .slice_mut(buffer, self.size()?)?
            .copy_from_slice(&self.bytes);
        let pointers = memory.slice_mut(pointers, size)?;
        for (pointer, &start) in pointers.chunks_exact_mut(4).zip(&self.starts) {
            // The buffer lies in a 32-bit memory, so its addresses fit.
            let address = buffer.wrapping_add(start as u32);
            pointer.copy_from_slice(&address.to_le_bytes());
        }
        Ok(())
    }
}

impl WasiP1Ctx {
    pub(super) fn args_sizes_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        count: u32,
        size: u32,
    ) -> Result<(), Errno> {
        self.args.store_sizes(memory, count, size)
    }

    pub(super) fn args_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        pointers: u32,
        buffer: u32,
    ) -> Result<(), Errno> {
        self.args.store(memory, pointers, buffer)
    }

    pub(super) fn environ_sizes_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        count: u32,
        size: u32,
    ) -> Result<(), Errno> {
        self.env.store_sizes(memory, count, size)
    }

    pub(super) fn environ_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        pointers: u32,
        buffer: u32,
    ) -> Result<(), Errno> {
        self.env.store(memory, pointers, buffer)
    }

    /// The time on a clock, in nanoseconds.
    pub(super) fn now(&self, clock: ClockId) -> u64 {
        match clock {
            ClockId::Realtime => nanoseconds(self.clocks.wall.now()),
            ClockId::Monotonic => self.clocks.monotonic.now(),
            ClockId::ProcessCpu | ClockId::ThreadCpu => {
                self.clocks.monotonic.now().saturating_sub(self.start)
            }
        }
    }

    pub(super) fn clock_res_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        clock: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let resolution = match ClockId::from_number(clock)? {
            ClockId::Realtime => nanoseconds(self.clocks.wall.resolution()),
            _ => self.clocks.monotonic.resolution(),
        };
        memory.store(result, resolution.to_le_bytes())
    }

    pub(super) fn clock_time_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        clock: u32,
        _precision: u64,
        result: u32,
    ) -> Result<(), Errno> {
        let now = self.now(ClockId::from_number(clock)?);
        memory.store(result, now.to_le_bytes())
    }

    pub(super) fn random_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        buffer: u32,
        len: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let buffer = memory.slice_mut(buffer, len)?;
        let rest = &mut buffer[patience.moved..];
        let part = rest.len().min(RANDOM_PART);
        self.random.fill(&mut rest[..part]).map_err(Error::from)?;
        if part < rest.len() {
            patience.moved += part;
            return Err(Stop::Wait);
        }
        Ok(())
    }
}

/// What raising `signal` comes to: nothing, an error for the guest, or its end.
pub(super) fn raise(signal: u32) -> Result<Result<(), Errno>, I32Exit> {
    match signal {
        // none, chld, cont, urg, winch
        0 | 16 | 17 | 22 | 27 => Ok(Ok(())),
        // stop, tstp, ttin, ttou: there is no one who could continue it.
        18..=21 => Ok(Err(Errno::NotSup)),
        // Those from hup to sys end a process; a shell shows it as this code.
        1..=30 => Err(I32Exit(128 + signal.cast_signed())),
        _ => Ok(Err(Errno::Inval)),
    }
}
