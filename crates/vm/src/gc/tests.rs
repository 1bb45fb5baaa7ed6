//! A heap against a model of it: what is reachable stays as it was, what is not makes room.

use super::heap::Heap;
use super::layouts::{Layouts, object_size};
use super::mark::Marking;
use cowling_abi::gc_heap::{HEADER_SIZE, LARGE_OBJECT, VmGcHeap};
use cowling_abi::gc_layout::{ArrayLayout, GcLayout, StructLayout};
use cowling_abi::layout::TypeRow;
use std::collections::HashMap;

/// A pair of references and a number.
const PAIR: u32 = 1;
/// An array of references.
const REFS: u32 = 2;
/// An array of bytes.
const BYTES: u32 = 3;
/// A struct without fields.
const EMPTY: u32 = 4;

struct Types {
    layouts: Vec<GcLayout>,
    rows: Vec<TypeRow>,
}

impl Types {
    fn new() -> Types {
        let structure = |size, offsets: &[u32], references: &[u32]| {
            GcLayout::Struct(StructLayout {
                size,
                offsets: offsets.into(),
                references: references.into(),
            })
        };
        let array = |element_size_log2, references| {
            GcLayout::Array(ArrayLayout {
                first: 8,
                element_size_log2,
                references,
            })
        };
        let layouts = vec![
            structure(8, &[], &[]),
            structure(24, &[8, 12, 16], &[8, 12]),
            array(2, true),
            array(0, false),
            structure(8, &[], &[]),
        ];
        let rows = layouts.iter().map(|layout| TypeRow {
            depth: 0,
            kind: 0,
            supertype: 0,
            display: [0; _],
            layout,
        });
        Types {
            rows: rows.collect(),
            layouts,
        }
    }

    fn layouts(&self) -> Layouts {
        // SAFETY: the rows are as long as `self`, and have layouts.
        unsafe { Layouts::new(self.rows.as_ptr()) }
    }

    fn size(&self, type_id: u32, len: u32) -> u32 {
        object_size(&self.layouts[type_id as usize], len) as u32
    }
}

/// A heap, and compiled code's part of it.
struct Machine {
    types: Types,
    heap: Heap,
    code: VmGcHeap,
    most_gray: usize,
}

impl Machine {
    fn new(capacity: u64, size: u64) -> Machine {
        let mut heap = Heap::reserve(capacity).unwrap();
        heap.grow(size).unwrap();
        Machine {
            code: heap.for_code(),
            types: Types::new(),
            heap,
            most_gray: 1 << 20,
        }
    }

    /// Makes an object as compiled code does, or elsewhere.
    fn make(&mut self, type_id: u32, len: u32, elsewhere: bool) -> Option<u32> {
        let size = self.types.size(type_id, len);
        let as_code_does = !elsewhere && size < LARGE_OBJECT;
        let fits = |code: &VmGcHeap| code.next + u64::from(size) <= code.limit;
        if as_code_does && (fits(&self.code) || self.heap.refill(&mut self.code, size)) {
            assert!(fits(&self.code), "a refill that is not enough");
            let start = self.code.next as u32 - HEADER_SIZE;
            self.code.next += u64::from(size);
            return Some(self.heap.make(start, type_id, len));
        }
        let start = self.heap.elsewhere(size)?;
        Some(self.heap.make(start, type_id, len))
    }

    fn bytes(&mut self, object: u32) -> &mut [u8] {
        let (type_id, len) = self.heap.header(object);
        let size = u64::from(self.types.size(type_id, len));
        let bytes = self.heap.part(object, 8..size);
        // SAFETY: the object's own bytes; nothing else refers to them as long as the heap is borrowed.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_ptr(), size as usize - 8) }
    }

    fn set(&mut self, object: u32, word: usize, value: u32) {
        self.bytes(object)[4 * word..][..4].copy_from_slice(&value.to_le_bytes());
    }

    fn get(&mut self, object: u32, word: usize) -> u32 {
        let bytes = &self.bytes(object)[4 * word..][..4];
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Collects; the roots may be addresses or offsets anywhere in objects.
    fn collect(&mut self, roots: &[u32], inside: &[u32], addresses: &[u64]) -> (u64, Vec<u32>) {
        let mut marking = Marking::begin(&mut self.heap, self.types.layouts());
        marking.set_most_gray(self.most_gray);
        roots.iter().for_each(|&root| marking.mark(root));
        inside
            .iter()
            .for_each(|&offset| marking.mark_inside(offset));
        addresses
            .iter()
            .for_each(|&address| marking.mark_address(address));
        let mut foreign = Vec::new();
        marking.trace(&mut |number| foreign.push(number));
        let live = marking.finish();
        self.code = self.heap.for_code();
        (live, foreign)
    }
}

/// Pseudo-random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

/// What an object should contain.
#[derive(Clone, Debug)]
struct Model {
    type_id: u32,
    words: Vec<u32>,
    bytes: Vec<u8>,
}

#[test]
fn random_graphs_survive_as_they_are_and_the_rest_makes_room() {
    for (seed, most_gray) in [(1, 1 << 20), (2, 3), (3, 1 << 20), (4, 64)] {
        let mut random = Random(seed);
        let mut machine = Machine::new(4 << 20, 1 << 20);
        machine.most_gray = most_gray;
        let mut model: HashMap<u32, Model> = HashMap::new();
        let mut roots: Vec<u32> = Vec::new();
        let mut collections = 0;
        for _ in 0..60_000 {
            let (type_id, len) = match random.below(40) {
                0..=24 => (PAIR, 0),
                25..=31 => (REFS, random.below(20)),
                32..=34 => (BYTES, random.below(600)),
                35 => (BYTES, random.below(40_000)),
                36 => (REFS, random.below(4000)),
                _ => (EMPTY, 0),
            };
            let elsewhere = random.below(10) == 0;
            let mut object = machine.make(type_id, len, elsewhere);
            // What is left refers to much else; without any roots there is room for sure.
            for left in [40, 0] {
                if object.is_none() {
                    collections += 1;
                    while roots.len() > left {
                        let victim = random.below(roots.len() as u32) as usize;
                        roots.swap_remove(victim);
                    }
                    check_collection(&mut machine, &mut model, &roots, &mut random);
                    object = machine.make(type_id, len, elsewhere);
                }
            }
            let object = object.expect("room in an empty heap");
            assert_eq!(object % 16, 8);
            assert!(
                machine.bytes(object).iter().all(|&byte| byte == 0),
                "not zero"
            );
            // What it refers to: any of the roots.
            let reference = |random: &mut Random| match roots.len() {
                0 => 0,
                count => match random.below(3) {
                    0 => random.below(1000) << 1 | 1,
                    _ => roots[random.below(count as u32) as usize],
                },
            };
            let words = match type_id {
                PAIR => vec![
                    reference(&mut random),
                    reference(&mut random),
                    random.below(1 << 20),
                ],
                REFS => (0..len).map(|_| reference(&mut random)).collect(),
                _ => Vec::new(),
            };
            for (place, &word) in words.iter().enumerate() {
                machine.set(object, place, word);
            }
            let bytes = match type_id {
                BYTES => (0..len).map(|_| random.below(256) as u8).collect(),
                _ => Vec::new(),
            };
            machine.bytes(object)[..bytes.len()].copy_from_slice(&bytes);
            let old = model.insert(
                object,
                Model {
                    type_id,
                    words,
                    bytes,
                },
            );
            assert!(old.is_none(), "the place of a living object was given out");
            roots.push(object);
            if roots.len() > 200 {
                let victim = random.below(roots.len() as u32) as usize;
                roots.swap_remove(victim);
            }
        }
        assert!(collections > 10, "{collections} collections");
    }
}

/// Collects and compares the heap with what is reachable in the model; forgets the rest of the model.
fn check_collection(
    machine: &mut Machine,
    model: &mut HashMap<u32, Model>,
    roots: &[u32],
    random: &mut Random,
) {
    let mut alive: HashMap<u32, Model> = HashMap::new();
    let mut todo = roots.to_vec();
    while let Some(object) = todo.pop() {
        if object == 0 || object % 2 == 1 || alive.contains_key(&object) {
            continue;
        }
        let found = model[&object].clone();
        let refs = if found.type_id == PAIR {
            2
        } else {
            found.words.len()
        };
        todo.extend(&found.words[..refs]);
        alive.insert(object, found);
    }
    // Each root is found in one of three ways.
    let (mut exact, mut inside, mut addresses) = (vec![], vec![], vec![]);
    let base = machine.code.base.addr() as u64;
    for &root in roots {
        let (type_id, len) = machine.heap.header(root);
        let size = machine.types.size(type_id, len);
        let somewhere = root - HEADER_SIZE + random.below(size);
        match random.below(3) {
            0 => exact.push(root),
            1 => inside.push(somewhere),
            _ => addresses.push(base + u64::from(somewhere)),
        }
    }
    let (live_bytes, foreign) = machine.collect(&exact, &inside, &addresses);
    assert!(foreign.is_empty());
    let expected: u64 = alive
        .values()
        .map(|object| u64::from(machine.types.size(object.type_id, len_of(object))))
        .sum();
    if machine.most_gray > 1000 {
        assert_eq!(live_bytes, expected);
    }
    for (&object, expected) in &alive {
        assert_eq!(
            machine.heap.header(object),
            (expected.type_id, len_of(expected))
        );
        for (place, &word) in expected.words.iter().enumerate() {
            assert_eq!(machine.get(object, place), word);
        }
        assert_eq!(
            machine.bytes(object)[..expected.bytes.len()],
            expected.bytes
        );
    }
    *model = alive;
}

fn len_of(object: &Model) -> u32 {
    match object.type_id {
        REFS => object.words.len() as u32,
        BYTES => object.bytes.len() as u32,
        _ => 0,
    }
}

#[test]
fn garbage_leaves_all_room_again_and_numbers_of_cycles_begin_anew() {
    let mut machine = Machine::new(1 << 20, 1 << 20);
    let kept = machine.make(PAIR, 0, false).unwrap();
    machine.set(kept, 2, 77);
    for cycle in 0..600 {
        let mut made = 0;
        while machine.make(PAIR, 0, false).is_some() {
            made += 1;
        }
        // All but the line of the one kept.
        let room = (1 << 20) / 32;
        assert!(made >= room - 17, "{made} objects in cycle {cycle}");
        let (live, _) = machine.collect(&[kept], &[], &[]);
        assert_eq!((live, machine.get(kept, 2)), (32, 77));
    }
}

#[test]
fn a_long_list_is_marked_with_little_memory_and_none_of_the_stack() {
    let mut machine = Machine::new(64 << 20, 64 << 20);
    let mut list = 0;
    let count = 1_000_000;
    for _ in 0..count {
        let cell = machine.make(PAIR, 0, false).unwrap();
        machine.set(cell, 1, list);
        list = cell;
    }
    machine.most_gray = 2;
    let (live, _) = machine.collect(&[list], &[], &[]);
    assert_eq!(live, u64::from(count * 32u32));
}

#[test]
fn what_is_given_to_others_is_reported_and_what_is_no_object_ignored() {
    let mut machine = Machine::new(1 << 20, 1 << 20);
    let array = machine.make(REFS, 4, false).unwrap();
    let host = 0x8000_0002;
    for (place, word) in [host, 77 << 1 | 1, 0, u32::MAX].into_iter().enumerate() {
        machine.set(array, place, word);
    }
    let base = machine.code.base.addr() as u64;
    let nothing = [0, 8, 64 << 10, (64 << 10) + 4096, 1 << 20, i32::MAX as u32];
    let addresses = nothing.map(|offset| base + u64::from(offset));
    let (live, _) = machine.collect(&[], &nothing[4..], &addresses[4..]);
    assert_eq!(live, 0);
    let array = machine.make(REFS, 4, false).unwrap();
    machine.set(array, 0, host);
    let (live, foreign) = machine.collect(&[array, host, 1, 0], &nothing, &addresses);
    assert_eq!((live, foreign), (32, vec![host]));
}

#[test]
fn a_heap_is_used_again_without_a_trace_of_its_objects() {
    let mut machine = Machine::new(8 << 20, 8 << 20);
    for len in [100, 100_000, 3_000_000] {
        let array = machine.make(BYTES, len, false).unwrap();
        machine.bytes(array).fill(0xaa);
    }
    for _ in 0..300 {
        machine.heap.recycle().unwrap();
        machine.code = machine.heap.for_code();
        assert_eq!(machine.make(EMPTY, 0, false), None);
        machine.heap.grow(8 << 20).unwrap();
        for len in [50, 200_000, 3_000_000] {
            let array = machine.make(BYTES, len, false).unwrap();
            assert!(machine.bytes(array).iter().all(|&byte| byte == 0));
            machine.bytes(array)[..50].fill(0xaa);
        }
        // Nothing is found that the last life has left.
        let everywhere: Vec<u32> = (0..8 << 20).step_by(256).collect();
        let (live, _) = machine.collect(&[], &everywhere, &[]);
        assert!(live < 3_300_000, "{live}");
    }
}
