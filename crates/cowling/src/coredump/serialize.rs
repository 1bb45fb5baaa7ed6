//! Writing a core dump down.
//!
//! ```text
//!   core            custom: what was running
//!   coremodules     custom: names of the modules
//!   coreinstances   custom: module, memories and globals of each instance, by their places in
//!   memory          the memories, with the sizes they have
//!   global          the globals, as constants with the values they have
//!   corestack       custom: the frames
//!   data            what is in the memories, without what is zero
//! ```

use super::WasmCoreDump;
use crate::global::Global;
use crate::instance::Instance;
use crate::memory::Memory;
use crate::store::StoreContextMut;
use crate::val::Val;
use cowling_abi::{EntityIndex, GlobalIndex, MemoryIndex};
use cowling_vm::ExternHandle;
use std::collections::HashMap;
use std::sync::Arc;
use wasm_encoder::{
    ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection,
    CoreDumpStackSection, DataSection, GlobalSection, GlobalType, MemorySection, MemoryType,
    RefType, ValType,
};

/// Pieces of memory of this many bytes are written or, if they are all zeros, left out.
const PIECE: usize = 4096;
/// No piece of data is longer.
const MAX_SEGMENT: usize = 64 << 20;
/// What data sections may have in all, so that their length can be written: 4 GiB, with something to spare for what stands around.
const MAX_DATA: usize = (u32::MAX as usize) - (64 << 20);

pub(super) fn serialize<T: 'static>(
    dump: &WasmCoreDump,
    store: &mut StoreContextMut<'_, T>,
    name: &str,
) -> Vec<u8> {
    let mut file = wasm_encoder::Module::new();
    file.section(&CoreDumpSection::new(name));

    let mut modules = CoreDumpModulesSection::new();
    for (number, module) in dump.modules().iter().enumerate() {
        match module.name() {
            Some(name) => modules.module(name),
            None => modules.module(format!("<module {number}>")),
        };
    }
    file.section(&modules);
    file.section(&instances(dump, store));

    let mut memories = MemorySection::new();
    let mut types = Vec::new();
    for memory in dump.memories() {
        let ty = memory.ty(&*store);
        let page_size_log2 = u32::from(ty.page_size_log2());
        types.push(ty.is_64());
        memories.memory(MemoryType {
            minimum: memory.size(&*store),
            maximum: ty.maximum(),
            memory64: ty.is_64(),
            shared: ty.is_shared(),
            page_size_log2: (page_size_log2 != 16).then_some(page_size_log2),
        });
    }
    file.section(&memories);

    let mut globals = GlobalSection::new();
    for global in dump.globals() {
        let (val_type, value) = constant(global.get(&mut *store));
        let ty = GlobalType {
            val_type,
            mutable: false,
            shared: false,
        };
        globals.global(ty, &value);
    }
    file.section(&globals);
    file.section(&stack(dump, store));

    let mut data = DataSection::new();
    let mut room = MAX_DATA;
    for ((number, memory), is_64) in (0..).zip(dump.memories()).zip(types) {
        write_memory(&mut data, &mut room, number, is_64, memory.data(&*store));
    }
    file.section(&data);
    file.finish()
}

/// The instances, with the places of what they define and import.
fn instances<T: 'static>(
    dump: &WasmCoreDump,
    store: &mut StoreContextMut<'_, T>,
) -> CoreDumpInstancesSection {
    let places = |number: usize| number as u32;
    let memories: HashMap<Memory, u32> = (dump.memories().iter().copied())
        .zip((0..).map(places))
        .collect();
    let globals: HashMap<Global, u32> = (dump.globals().iter().copied())
        .zip((0..).map(places))
        .collect();
    let mut section = CoreDumpInstancesSection::new();
    for instance in dump.instances() {
        let Some((module, info_memories, info_globals)) = parts(dump, store, instance) else {
            // The places of instances are what frames name: one that is gone keeps its own.
            section.instance(0, [], []);
            continue;
        };
        let mut entity = |entity| {
            let found = store.inner_mut().instance_entity(instance.to_vm(), entity);
            found.ok().flatten()
        };
        let memories: Vec<u32> = (0..info_memories)
            .filter_map(
                |index| match entity(EntityIndex::Memory(MemoryIndex::from_u32(index)))? {
                    ExternHandle::Memory(memory) => memories.get(&Memory::from_vm(memory)).copied(),
                    _ => None,
                },
            )
            .collect();
        let globals: Vec<u32> = (0..info_globals)
            .filter_map(
                |index| match entity(EntityIndex::Global(GlobalIndex::from_u32(index)))? {
                    ExternHandle::Global(global) => globals.get(&Global::from_vm(global)).copied(),
                    _ => None,
                },
            )
            .collect();
        section.instance(module, memories, globals);
    }
    section
}

/// An instance's module, by its place, and how many memories and globals it has.
fn parts<T: 'static>(
    dump: &WasmCoreDump,
    store: &StoreContextMut<'_, T>,
    instance: &Instance,
) -> Option<(u32, u32, u32)> {
    let code = store.inner().instance_module(instance.to_vm()).ok()?;
    let place = dump
        .modules()
        .iter()
        .position(|m| Arc::ptr_eq(m.code(), code))?;
    let info = code.info();
    Some((
        place as u32,
        info.memories.len() as u32,
        info.globals.len() as u32,
    ))
}

fn stack<T: 'static>(dump: &WasmCoreDump, store: &StoreContextMut<'_, T>) -> CoreDumpStackSection {
    let mut stack = CoreDumpStackSection::new("main");
    for frame in dump.frames() {
        let mut instances = dump.instances().iter();
        let instance = instances.position(|instance| {
            let code = store.inner().instance_module(instance.to_vm());
            code.is_ok_and(|code| Arc::ptr_eq(code, frame.module().code()))
        });
        let offset = frame.func_offset().unwrap_or(0);
        stack.frame(
            instance.unwrap_or(0) as u32,
            frame.func_index(),
            offset as u32,
            [],
            [],
        );
    }
    stack
}

/// A global's value, as the type and the expression of a constant.
fn constant(value: Val) -> (ValType, ConstExpr) {
    let null = |ty: RefType| (ValType::Ref(ty), ConstExpr::ref_null(ty.heap_type));
    match value {
        Val::I32(value) => (ValType::I32, ConstExpr::i32_const(value)),
        Val::I64(value) => (ValType::I64, ConstExpr::i64_const(value)),
        Val::F32(bits) => (
            ValType::F32,
            ConstExpr::f32_const(wasm_encoder::Ieee32::new(bits)),
        ),
        Val::F64(bits) => (
            ValType::F64,
            ConstExpr::f64_const(wasm_encoder::Ieee64::new(bits)),
        ),
        Val::V128(value) => (
            ValType::V128,
            ConstExpr::v128_const(value.as_u128() as i128),
        ),
        Val::FuncRef(_) => null(RefType::FUNCREF),
        Val::ExternRef(_) => null(RefType::EXTERNREF),
        Val::ExnRef(_) => null(RefType::EXNREF),
        Val::AnyRef(_) => null(RefType::ANYREF),
    }
}

/// Writes what is in a memory and not zero, as far as there is room.
fn write_memory(
    data: &mut DataSection,
    room: &mut usize,
    number: u32,
    is_64: bool,
    mut bytes: &[u8],
) {
    let mut offset = 0;
    while !bytes.is_empty() {
        let is_zero = |piece: &&[u8]| piece.iter().all(|byte| *byte == 0);
        let zeros = bytes
            .chunks(PIECE)
            .take_while(is_zero)
            .map(<[u8]>::len)
            .sum();
        (offset, bytes) = (offset + zeros, &bytes[zeros..]);
        let pieces = bytes.chunks(PIECE).take(MAX_SEGMENT / PIECE);
        let len: usize = pieces.take_while(|p| !is_zero(p)).map(<[u8]>::len).sum();
        // What stands around a segment is less than a piece.
        if len == 0 || len + PIECE > *room {
            return;
        }
        *room -= len + PIECE;
        let start = match is_64 {
            true => ConstExpr::i64_const(offset as i64),
            false => ConstExpr::i32_const(offset as i32),
        };
        data.active(number, &start, bytes[..len].iter().copied());
        (offset, bytes) = (offset + len, &bytes[len..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The segments that are written of a memory: where each begins and how long it is.
    fn segments(bytes: &[u8], mut room: usize) -> Vec<u8> {
        let mut data = DataSection::new();
        write_memory(&mut data, &mut room, 0, false, bytes);
        let mut encoded = Vec::new();
        wasm_encoder::Encode::encode(&data, &mut encoded);
        encoded
    }

    #[test]
    fn zeros_are_left_out_and_what_has_no_room_too() {
        let mut bytes = vec![0; 20 * PIECE];
        let none = segments(&bytes, MAX_DATA).len();
        assert!(none < 4, "{none}");
        bytes[3 * PIECE + 7] = 1;
        let one = segments(&bytes, MAX_DATA).len();
        assert!((PIECE..PIECE + 32).contains(&one), "{one}");
        bytes[4 * PIECE] = 1;
        bytes[19 * PIECE] = 1;
        let three = segments(&bytes, MAX_DATA).len();
        assert!((3 * PIECE..3 * PIECE + 48).contains(&three), "{three}");
        let less = segments(&bytes, 4 * PIECE).len();
        assert!((2 * PIECE..2 * PIECE + 48).contains(&less), "{less}");
        assert_eq!(segments(&bytes, PIECE).len(), none);
    }
}
