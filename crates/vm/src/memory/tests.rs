//! Tests of memories outside slots.

use super::*;
use cowling_abi::knobs::Knobs;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

const PAGE: usize = 64 << 10;

fn movable(reservation: u64) -> MemoryPlan {
    let knobs = Knobs {
        memory_reservation: reservation,
        memory_guard_size: 4096,
        memory_reservation_for_growth: 8 * PAGE as u64,
        ..Knobs::default()
    };
    let plan = MemoryPlan::for_type(&memory_type(0), false, &knobs);
    assert!(plan.movable);
    plan
}

fn memory_type(minimum: u64) -> MemoryType {
    MemoryType {
        minimum,
        maximum: None,
        memory64: true,
        shared: false,
        page_size_log2: 16,
    }
}

fn contents(memory: &LinearMemory) -> Vec<u8> {
    // SAFETY: all of the memory is readable, and nobody writes to it during the copy.
    unsafe { std::slice::from_raw_parts(memory.base().as_ptr(), memory.byte_len()) }.to_vec()
}

fn write(memory: &LinearMemory, at: usize, value: u8) {
    assert!(at < memory.byte_len());
    // SAFETY: inside the memory, which nobody else uses.
    unsafe { memory.base().add(at).write(value) };
}

#[test]
fn contents_survive_moves_whatever_they_consist_of() {
    let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(&[0xab; 32 << 10]).unwrap();
    let copied = ImageSource {
        file: file.as_fd(),
        file_offset: 0,
        bytes: &[0xab; 8192],
        memory_offset: 4096,
    };
    let mapped = ImageSource {
        bytes: &[0xab; 32 << 10],
        ..copied
    };
    for reservation in [0, 1 << 16, 1 << 20] {
        for image in [None, Some(copied), Some(mapped)] {
            let mut memory =
                LinearMemory::new(&movable(reservation), &memory_type(1), image).unwrap();
            let mut expected = vec![0; PAGE];
            if let Some(image) = image {
                expected[4096..4096 + image.bytes.len()].fill(0xab);
            }
            let mut bases = std::collections::HashSet::new();
            for round in 1..40usize {
                assert_eq!(
                    contents(&memory),
                    expected,
                    "reservation {reservation}, round {round}"
                );
                for at in [round, 4096 + round, expected.len() - round] {
                    write(&memory, at, round as u8);
                    expected[at] = round as u8;
                }
                bases.insert(memory.base());
                memory.grow((round + 1) * PAGE).unwrap();
                expected.resize((round + 1) * PAGE, 0);
            }
            // Moving makes room for eight more pages, so it is rare; but it did happen.
            assert!((2..9).contains(&bases.len()), "{} places", bases.len());
        }
    }
}

#[test]
fn an_image_can_be_undone_after_a_move() {
    let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(&[0xab; 4096]).unwrap();
    let image = ImageSource {
        file: file.as_fd(),
        file_offset: 0,
        bytes: &[0xab; 4096],
        memory_offset: 0,
    };
    let mut memory = LinearMemory::new(&movable(0), &memory_type(1), Some(image)).unwrap();
    memory.grow(5 * PAGE).unwrap();
    assert_eq!(
        contents(&memory)[..4097],
        [&[0xab; 4096][..], &[0]].concat()
    );
    memory.undo_image().unwrap();
    assert_eq!(contents(&memory), vec![0; 5 * PAGE]);
}

#[test]
fn sizes_that_no_machine_has_are_errors_and_change_nothing() {
    for pages in [1 << 40, 1 << 47, 1 << 48, u64::MAX] {
        assert!(
            LinearMemory::new(&movable(0), &memory_type(pages), None).is_err(),
            "{pages} pages"
        );
    }
    let mut memory = LinearMemory::new(&movable(1 << 20), &memory_type(1), None).unwrap();
    write(&memory, 7, 7);
    let base = memory.base();
    for bytes in [
        1 << 46,
        1 << 50,
        isize::MAX as usize,
        usize::MAX - 5,
        usize::MAX,
    ] {
        assert!(memory.grow(bytes).is_err(), "{bytes} bytes");
        assert_eq!(
            (memory.base(), memory.byte_len(), contents(&memory)[7]),
            (base, PAGE, 7)
        );
    }
}

#[test]
fn a_memory_with_small_pages_grows_byte_by_byte() {
    let ty = MemoryType {
        page_size_log2: 0,
        maximum: Some(10_000),
        ..memory_type(100)
    };
    let mut memory = LinearMemory::new(&movable(0), &ty, None).unwrap();
    assert_eq!(memory.byte_len(), 100);
    memory.grow(101).unwrap();
    write(&memory, 100, 1);
    memory.grow(9_000).unwrap();
    assert_eq!(contents(&memory)[100], 1);
    assert!(memory.grow(10_001).is_err());
}
