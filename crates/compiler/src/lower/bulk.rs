//! Copies and fills of a few bytes, whose number is known: in place, without the runtime.
//!
//! ```text
//!   memory.copy of 20 bytes       a = 16 bytes of src           b = the last 16 bytes of src
//!                                 the last 16 bytes of dst = b
//!                                 dst = a
//! ```
//!
//! Invariants, as the specification has them:
//!
//! * Everything is read before anything is written, as source and destination may overlap.
//! * Nothing is written if not all can be: the last piece is written first. Memories have no holes, so where that can be written,
//!   all before it can, and an access across the end of a memory writes nothing.
//!
//! Pieces may overlap, so that few of them are enough.

use super::heap::HeapAccess;
use super::state::FuncLowering;
use cowling_abi::MemoryIndex;
use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use smallvec::SmallVec;

/// Bytes up to which it is done in place. So many are in eight registers when a copy has read everything.
const MAX_BYTES: u64 = 128;

/// A part of a range: where it begins, and what holds it.
type Piece = (i32, ir::Type);

/// A range in few pieces, the last one of which ends where it does.
fn pieces(len: u32) -> SmallVec<[Piece; 8]> {
    let kinds = [types::I8X16, types::I64, types::I32, types::I16, types::I8];
    let kind = kinds.into_iter().find(|kind| kind.bytes() <= len);
    let Some(kind) = kind else {
        return SmallVec::new();
    };
    let size = kind.bytes();
    let last = len - size;
    let starts = (0..last).step_by(size as usize).chain([last]);
    starts.map(|start| (start as i32, kind)).collect()
}

impl FuncLowering<'_> {
    /// How many bytes an operation is on, if it shall be done in place.
    pub(super) fn few_bytes(&self, len: Value) -> Option<u32> {
        let len = self.constant(len)?;
        (1..=MAX_BYTES).contains(&len).then_some(len as u32)
    }

    /// Copies bytes from one memory to another or within one.
    pub(super) fn copy_in_place(
        &mut self,
        (dst_memory, dst): (MemoryIndex, Value),
        (src_memory, src): (MemoryIndex, Value),
        len: u32,
    ) {
        let from = self.range_address(src_memory, src, len);
        let pieces = pieces(len);
        let values: SmallVec<[Value; 8]> = pieces
            .iter()
            .map(|&(start, kind)| {
                let HeapAccess {
                    flags,
                    base,
                    offset,
                } = from;
                let ins = self.builder.ins();
                ins.load(kind, flags, base, offset + start)
            })
            .collect();
        let to = self.range_address(dst_memory, dst, len);
        self.write_pieces(&to, &pieces, &values);
    }

    /// Fills a range of a memory with the low byte of a value.
    pub(super) fn fill_in_place(&mut self, memory: MemoryIndex, dst: Value, byte: Value, len: u32) {
        let pieces = pieces(len);
        let kind = pieces.first().map_or(types::I8, |&(_, kind)| kind);
        let value = self.repeated(byte, kind);
        let values: SmallVec<[Value; 8]> = pieces.iter().map(|_| value).collect();
        let to = self.range_address(memory, dst, len);
        self.write_pieces(&to, &pieces, &values);
    }

    fn write_pieces(&mut self, to: &HeapAccess, pieces: &[Piece], values: &[Value]) {
        for (&(start, _), &value) in pieces.iter().zip(values).rev() {
            let ins = self.builder.ins();
            ins.store(to.flags, value, to.base, to.offset + start);
        }
    }

    /// A value of this type all of whose bytes are the low byte of a value of 32 bits.
    fn repeated(&mut self, byte: Value, kind: ir::Type) -> Value {
        const EACH: u64 = 0x0101_0101_0101_0101;
        if kind.is_vector() {
            let byte = self.builder.ins().ireduce(types::I8, byte);
            return self.builder.ins().splat(kind, byte);
        }
        if let Some(constant) = self.constant(byte) {
            let all = (constant & 0xff) * EACH;
            let all = all & (u64::MAX >> (64 - kind.bits()));
            return self.builder.ins().iconst(kind, all as i64);
        }
        let low = self.builder.ins().ireduce(types::I8, byte);
        if kind == types::I8 {
            return low;
        }
        let wide = self.builder.ins().uextend(kind, low);
        let each = EACH & (u64::MAX >> (64 - kind.bits()));
        let each = self.builder.ins().iconst(kind, each as i64);
        self.builder.ins().imul(wide, each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_and_nothing_else() {
        for len in 1..=MAX_BYTES as u32 {
            let mut covered = vec![false; len as usize];
            let pieces = pieces(len);
            for &(start, kind) in &pieces {
                covered[start as usize..][..kind.bytes() as usize].fill(true);
            }
            assert!(covered.iter().all(|&c| c), "{len}");
            let last = pieces
                .iter()
                .map(|&(start, kind)| start as u32 + kind.bytes());
            assert_eq!(
                pieces.last().map(|&(s, k)| s as u32 + k.bytes()),
                last.max(),
                "{len}"
            );
            assert!(pieces.len() <= 8, "{len}");
        }
    }
}
