//! Tests of slots. What must leave no mapping behind runs in a process of its own.

use super::*;
use crate::memory::MemoryGrowError;
use crate::testing::in_child;
use cowling_abi::knobs::Knobs;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

const PAGE: usize = 64 << 10;

/// An image of so many bytes is mapped, a smaller one may be copied.
const LARGE: usize = 32 << 10;

fn memory_type(minimum: u64, maximum: Option<u64>) -> MemoryType {
    MemoryType {
        minimum,
        maximum,
        memory64: false,
        shared: false,
        page_size_log2: 16,
    }
}

fn image_file(len: usize) -> OwnedFd {
    let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(&vec![0xab; len]).unwrap();
    file.into()
}

fn spec<'a>(ty: &MemoryType, image: Option<ImageSource<'a>>) -> SlotSpec<'a> {
    SlotSpec {
        stack: Some(StackSpec { bytes: 100_000 }),
        instance_bytes: 5 * 64,
        memory: Some(SlotMemory {
            ty: *ty,
            plan: MemoryPlan::for_type(ty, true, &Knobs::default()),
            image,
        }),
    }
}

fn read(memory: &LinearMemory, at: usize) -> u8 {
    assert!(at < memory.byte_len());
    // SAFETY: inside the memory, which nobody else uses.
    unsafe { memory.base().add(at).read() }
}

fn write(memory: &LinearMemory, at: usize, value: u8) {
    assert!(at < memory.byte_len());
    // SAFETY: inside the memory, which nobody else uses.
    unsafe { memory.base().add(at).write(value) };
}

/// The mappings of this process.
fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// Is this address mapped with this protection?
fn protection(address: usize) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let parse = |n| usize::from_str_radix(n, 16).unwrap();
        (parse(start)..parse(end))
            .contains(&address)
            .then(|| rest[..3].to_string())
    })
}

#[test]
fn parts_lie_where_the_diagram_says_and_nothing_else_is_accessible() {
    let file = image_file(8192);
    let image = ImageSource {
        file: file.as_fd(),
        file_offset: 4096,
        bytes: &[0xab; 4096],
        memory_offset: 4096,
    };
    let slot = Slot::map(&spec(&memory_type(1, None), Some(image)), |_| None).unwrap();
    let (stack, memory) = (slot.stack.unwrap().bounds(), slot.memory.unwrap());
    let instance = slot.instance.start().addr().get();
    let memory0 = memory.base().addr().get();
    assert_eq!(instance + slot.instance.len(), memory0);
    assert_eq!((memory0 % 4096, instance % 64), (0, 0));
    assert!(stack.base() <= instance && stack.base() - stack.limit() >= 100_000);
    for (address, expected) in [
        (stack.limit() - crate::stack::STACK_GUARD, "---"),
        (stack.limit() - 1, "---"),
        (stack.limit(), "rw-"),
        (stack.base() - 1, "rw-"),
        (instance, "rw-"),
        (memory0, "rw-"),
        (memory0 + 4096, "rw-"),
        (memory0 + PAGE - 1, "rw-"),
        (memory0 + PAGE, "---"),
        (memory0 + (4 << 30) - 1, "---"),
        (memory0 + (4 << 30) + (32 << 20) - 1, "---"),
    ] {
        assert_eq!(
            protection(address).as_deref(),
            Some(expected),
            "{address:#x}"
        );
    }
    let bytes = [0, 4095, 4096, 8191, 8192].map(|at| read(&memory, at));
    assert_eq!(bytes, [0, 0, 0xab, 0xab, 0]);
}

#[test]
fn writes_to_an_image_stay_in_the_slot_and_the_image_can_be_undone() {
    let file = image_file(LARGE);
    let image = ImageSource {
        file: file.as_fd(),
        file_offset: 0,
        bytes: &[0xab; LARGE],
        memory_offset: 0,
    };
    let ty = memory_type(1, None);
    let mut one = Slot::map(&spec(&ty, Some(image)), |_| None)
        .unwrap()
        .memory
        .unwrap();
    let two = Slot::map(&spec(&ty, Some(image)), |_| None)
        .unwrap()
        .memory
        .unwrap();
    write(&one, 10, 1);
    assert_eq!((read(&one, 10), read(&two, 10)), (1, 0xab));
    one.undo_image().unwrap();
    assert_eq!(
        (read(&one, 10), read(&one, 11), read(&two, 10)),
        (0, 0, 0xab)
    );
}

#[test]
fn a_memory_in_a_slot_grows_in_place_up_to_its_maximum() {
    let mut memory = Slot::map(&spec(&memory_type(0, Some(3)), None), |_| None)
        .unwrap()
        .memory
        .unwrap();
    let base = memory.base();
    assert_eq!(memory.byte_len(), 0);
    memory.grow(PAGE).unwrap();
    write(&memory, PAGE - 1, 5);
    memory.grow(3 * PAGE).unwrap();
    assert_eq!(
        (read(&memory, PAGE - 1), read(&memory, 3 * PAGE - 1)),
        (5, 0)
    );
    let refused = memory.grow(4 * PAGE).unwrap_err();
    assert!(
        matches!(refused, MemoryGrowError::BeyondMaximum { maximum, .. } if maximum == 3 * PAGE)
    );
    assert_eq!((memory.base(), memory.byte_len()), (base, 3 * PAGE));
}

#[test]
fn parts_keep_their_memory_when_the_others_are_gone() {
    let slot = Slot::map(&spec(&memory_type(1, None), None), |_| None).unwrap();
    let memory = slot.memory.unwrap();
    drop((slot.stack, slot.instance));
    write(&memory, 0, 1);
    assert_eq!(read(&memory, 0), 1);
}

#[test]
fn space_is_left_to_another_slot_when_all_of_the_first_is_gone() {
    let map = |pages, spare| Slot::map(&spec(&memory_type(pages, Some(9)), None), |_| spare);
    // SAFETY: no instance was made in the areas, and the memories are not written to.
    let spare = |area: InstanceArea| unsafe { area.into_spare() };
    let slot = map(2, None).unwrap();
    drop(slot.stack);
    assert!(spare(slot.instance).is_none(), "its memory is there");
    let slot = map(2, None).unwrap();
    drop(slot.memory);
    assert!(spare(slot.instance).is_none(), "its stack is there");

    // What one slot wrote beside its memory the next does not find; and it can use as much memory as it should.
    let mut left = None;
    let mut place = None;
    for pages in [2, 3, 1, 0, 2] {
        let slot = map(pages, left.take()).unwrap();
        let memory = slot.memory.unwrap();
        let memory0 = memory.base().addr().get();
        assert_eq!(*place.get_or_insert(memory0), memory0);
        let open = |at| protection(memory0 + at).as_deref() == Some("rw-");
        let len = pages as usize * PAGE;
        assert_eq!(
            (open(len), open(len + PAGE)),
            (false, false),
            "{pages} pages"
        );
        assert!(len == 0 || open(len - 1), "{pages} pages");
        let room = slot.stack.as_ref().unwrap().room();
        for (start, len) in [
            (slot.instance.start(), slot.instance.len()),
            (room, crate::stack::ROOM),
        ] {
            // SAFETY: the area and the room are accessible, and nobody else uses them.
            let bytes = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(0xab);
        }
        drop((memory, slot.stack));
        left = spare(slot.instance);
        assert!(left.is_some());
    }
}

#[test]
fn nothing_stays_mapped_after_drop_or_failure() {
    const NAME: &str = "slot::tests::nothing_stays_mapped_after_drop_or_failure";
    let status = in_child(NAME, "", |_| {
        let ty = memory_type(1, None);
        let write_only = {
            let file = image_file(4096);
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            File::options().write(true).open(path).unwrap()
        };
        let unreadable = ImageSource {
            file: write_only.as_fd(),
            file_offset: 0,
            bytes: &[0xab; LARGE],
            memory_offset: 0,
        };
        let too_long = ImageSource {
            bytes: &[0xab; 1 << 20],
            ..unreadable
        };
        let attempt = |kind: usize| match kind {
            0 => {
                let mut slot = Slot::map(&spec(&ty, None), |_| None).unwrap();
                slot.memory.as_mut().unwrap().grow(10 * PAGE).unwrap();
            }
            1 => assert!(Slot::map(&spec(&ty, Some(unreadable)), |_| None).is_err()),
            2 => assert!(Slot::map(&spec(&ty, Some(too_long)), |_| None).is_err()),
            _ => {
                let mut spec = spec(&ty, None);
                spec.stack = Some(StackSpec { bytes: usize::MAX });
                assert!(matches!(
                    Slot::map(&spec, |_| None),
                    Err(MapError::TooLarge { .. })
                ));
                spec.stack = Some(StackSpec { bytes: 1 << 60 });
                assert!(matches!(
                    Slot::map(&spec, |_| None),
                    Err(MapError::System { .. })
                ));
            }
        };
        // The first round warms up whatever the allocator and this test map.
        (0..4).for_each(attempt);
        let before = maps();
        for _ in 0..50 {
            (0..4).for_each(attempt);
            assert_eq!(maps(), before);
        }
    });
    assert!(status.is_none_or(|status| status.success()));
}
