//! Initial contents laid out ahead of time, so that instantiation copies nothing.
//!
//! Leading active segments whose place is known are *folded*: element segments into the table's list of functions, data
//! segments into an image of the memory.
//!
//! ```text
//!   data segments   | 0 active, constant | 1 active, constant | 2 at global.get | 3 active, constant | 4 passive |
//!                   '---------- folded into images ----------' '------- bytes kept in SECTION_DATA ------------'
//! ```
//!
//! Segments take effect in order and the first one that does not fit traps with the ones before it done. So folding stops at
//! the first segment that cannot be folded: what is left runs as the specification says, on top of what was folded.
//!
//! What is folded is bounded by what the module contains, not by what it declares: a one-byte segment at offset 4 GiB stays a
//! segment.

use crate::parse::Parsed;
use cowling_abi::artifact::IMAGE_ALIGN;
use cowling_abi::entity::PrimaryMap;
use cowling_abi::knobs::Knobs;
use cowling_abi::module::{ConstOp, ElementItems, MemoryImage, SegmentMode};
use cowling_abi::{DataIndex, DefinedMemoryIndex, FuncIndex, ModuleInfo};
use std::ops::Range;

/// Table elements that may always be laid out, over all tables of a module.
const FREE_TABLE_ELEMENTS: u64 = 1 << 20;

/// Contents of the artifact's data sections.
pub(crate) struct InitialData<'wasm> {
    /// What makes up [`cowling_abi::artifact::SECTION_DATA`], one after the other.
    pub data: Vec<&'wasm [u8]>,
    /// [`cowling_abi::artifact::SECTION_IMAGE`]
    pub image: Vec<u8>,
}

/// Folds what can be folded, and says in the module's facts where everything is.
pub(crate) fn lay_out<'wasm>(parsed: &mut Parsed<'wasm>, knobs: &Knobs) -> InitialData<'wasm> {
    fold_elements(&mut parsed.info);
    let image = if knobs.memory_init_cow {
        fold_data(
            &mut parsed.info,
            &parsed.data,
            knobs.memory_guaranteed_dense_image_size,
        )
    } else {
        Vec::new()
    };
    let mut data = Vec::new();
    let mut end = 0;
    for (index, segment) in parsed.info.data.iter_mut() {
        if !matches!(segment.mode, SegmentMode::Folded) {
            let bytes = parsed.data[index];
            segment.bytes = end..end + bytes.len() as u64;
            end = segment.bytes.end;
            data.push(bytes);
        }
    }
    InitialData { data, image }
}

/// The functions of a segment, if every element is a function or null.
fn functions(items: &ElementItems) -> Option<Vec<Option<FuncIndex>>> {
    match items {
        ElementItems::Functions(functions) => Some(functions.iter().copied().map(Some).collect()),
        ElementItems::Expressions(exprs) => exprs
            .iter()
            .map(|expr| match expr.ops[..] {
                [ConstOp::RefFunc(function)] => Some(Some(function)),
                [ConstOp::RefNull(heap)] if heap.is_func() => Some(None),
                _ => None,
            })
            .collect(),
    }
}

fn fold_elements(info: &mut ModuleInfo) {
    let contained: u64 = info.elements.values().map(|e| e.items.len() as u64).sum();
    let mut budget = FREE_TABLE_ELEMENTS.max(contained.saturating_mul(2));
    for index in info.elements.keys() {
        let segment = &info.elements[index];
        let SegmentMode::Active { target, offset } = &segment.mode else {
            continue;
        };
        let table = &info.tables[*target];
        let (Some(defined), Some(offset), true) = (
            info.defined_table(*target),
            offset.constant_offset(),
            table.element.heap.is_func(),
        ) else {
            return;
        };
        let init = &mut info.table_inits[defined];
        // Where a table starts as something else than null, "null" and "untouched" would be told apart no more.
        if init.fill.is_some() {
            return;
        }
        let Some(end) = offset
            .checked_add(segment.items.len() as u64)
            .filter(|end| *end <= table.minimum)
        else {
            return;
        };
        let longer = end.saturating_sub(init.functions.len() as u64);
        let (Some(left), Some(functions)) = (budget.checked_sub(longer), functions(&segment.items))
        else {
            return;
        };
        budget = left;
        // An empty segment far out changes nothing and needs no list.
        if !functions.is_empty() {
            let (start, end) = (offset as usize, end as usize);
            if init.functions.len() < end {
                init.functions.resize(end, None);
            }
            init.functions[start..end].copy_from_slice(&functions);
        }
        let segment = &mut info.elements[index];
        segment.mode = SegmentMode::Folded;
        segment.items = ElementItems::Functions(Vec::new());
    }
}

/// A data segment whose place in a memory is known.
#[derive(Clone)]
struct Placed {
    index: DataIndex,
    /// Bytes of the memory. Not empty.
    range: Range<u64>,
}

/// Where an active data segment goes, if that is known ahead of time and inside a memory that can have an image.
fn place(
    info: &ModuleInfo,
    index: DataIndex,
    len: u64,
) -> Option<(DefinedMemoryIndex, Range<u64>)> {
    let SegmentMode::Active { target, offset } = &info.data[index].mode else {
        return None;
    };
    let memory = &info.memories[*target];
    let defined = info.defined_memory(*target)?;
    let start = offset.constant_offset()?;
    let end = start.checked_add(len)?;
    // The image is rounded up to whole pages, which must not overflow either.
    end.checked_next_multiple_of(IMAGE_ALIGN)?;
    (end <= memory.minimum_bytes()? && !memory.shared).then_some((defined, start..end))
}

/// Folds data segments; returns the images, one after the other. `free` bytes of them may be laid out in any case.
fn fold_data(info: &mut ModuleInfo, data: &PrimaryMap<DataIndex, &[u8]>, free: u64) -> Vec<u8> {
    let contained: u64 = data.values().map(|bytes| bytes.len() as u64).sum();
    let limit = free.max(contained.saturating_mul(2));
    let memories = info.memory_images.keys();
    let mut placed: PrimaryMap<DefinedMemoryIndex, Vec<Placed>> =
        memories.clone().map(|_| Vec::new()).collect();
    let mut spans: PrimaryMap<DefinedMemoryIndex, Range<u64>> = memories.map(|_| 0..0).collect();
    let mut total = 0;
    for index in info.data.keys() {
        if matches!(info.data[index].mode, SegmentMode::Passive) {
            continue;
        }
        let Some((memory, range)) = place(info, index, data[index].len() as u64) else {
            break;
        };
        if !range.is_empty() {
            let span = &mut spans[memory];
            let pages = pages_around(&range);
            let larger = if span.is_empty() {
                pages
            } else {
                span.start.min(pages.start)..span.end.max(pages.end)
            };
            let size = |span: &Range<u64>| span.end - span.start;
            let Some(new_total) = (total - size(span))
                .checked_add(size(&larger))
                .filter(|total| *total <= limit)
            else {
                break;
            };
            (total, *span) = (new_total, larger);
            placed[memory].push(Placed { index, range });
        }
        info.data[index].mode = SegmentMode::Folded;
    }

    let mut image = vec![0; total as usize];
    let mut end = 0;
    for (memory, slot) in info.memory_images.iter_mut() {
        let span = &spans[memory];
        if span.is_empty() {
            continue;
        }
        let start = end;
        end += span.end - span.start;
        for Placed { index, range } in &placed[memory] {
            let to = |address: u64| (start + (address - span.start)) as usize;
            image[to(range.start)..to(range.end)].copy_from_slice(data[*index]);
        }
        *slot = Some(MemoryImage {
            memory_offset: span.start,
            bytes: start..end,
        });
    }
    image
}

/// Whole pages of the machine around a range that is not empty.
fn pages_around(range: &Range<u64>) -> Range<u64> {
    range.start / IMAGE_ALIGN * IMAGE_ALIGN..range.end.next_multiple_of(IMAGE_ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    /// What was folded: `F` for each folded segment, `-` for the others; then table lists and images.
    fn folded(wat: &str, knobs: &Knobs) -> (String, Vec<String>, Vec<u8>) {
        let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{wat}: {e}"));
        let mut parsed = parse(&wasm, knobs).unwrap_or_else(|e| panic!("{wat}: {e}"));
        let initial = lay_out(&mut parsed, knobs);
        let info = &parsed.info;
        fn letter<T>(mode: &SegmentMode<T>) -> char {
            if matches!(mode, SegmentMode::Folded) {
                'F'
            } else {
                '-'
            }
        }
        let elements = info.elements.values().map(|e| letter(&e.mode));
        let letters = elements.chain(info.data.values().map(|d| letter(&d.mode)));
        let tables = info.table_inits.values().map(|init| {
            let functions = init.functions.iter();
            let text = functions.map(|f| f.map_or("_".into(), |f| f.as_u32().to_string()));
            text.collect::<Vec<_>>().join(" ")
        });
        let images = info.memory_images.values().map(|image| match image {
            Some(image) => format!(
                "{}@{}",
                image.bytes.end - image.bytes.start,
                image.memory_offset
            ),
            None => "none".into(),
        });
        let kept: Vec<_> = info.data.values().map(|d| d.bytes.clone()).collect();
        let total: u64 = initial.data.iter().map(|d| d.len() as u64).sum();
        assert!(
            kept.iter()
                .all(|range| range.start <= range.end && range.end <= total)
        );
        (
            letters.collect(),
            tables.chain(images).collect(),
            initial.image,
        )
    }

    #[test]
    fn leading_segments_with_known_places_are_folded() {
        let table: &[(&str, &str, &[&str])] = &[
            (
                "(module (table 4 funcref) (func) (func) (elem (i32.const 1) func 1 0))",
                "F",
                &["_ 1 0"],
            ),
            // Later segments overwrite earlier ones; null counts as an element.
            (
                "(module (table 4 funcref) (func) (func) (elem (i32.const 0) func 1 1)
                    (elem (i32.const 1) funcref (ref.func 0) (ref.null func)))",
                "FF",
                &["1 0 _"],
            ),
            // Out of bounds: this one and all that follow run at instantiation.
            (
                "(module (table 2 funcref) (func) (elem (i32.const 0) func 0)
                    (elem (i32.const 2) func 0) (elem (i32.const 1) func 0))",
                "F--",
                &["0"],
            ),
            (
                "(module (table 2 funcref) (func) (elem (i32.const -1) func 0))",
                "-",
                &[""],
            ),
            // An empty segment still has to be in bounds.
            (
                "(module (table 2 funcref) (elem (i32.const 2) func))",
                "F",
                &[""],
            ),
            (
                "(module (table 2 funcref) (elem (i32.const 3) func))",
                "-",
                &[""],
            ),
            // The place is not known.
            (
                r#"(module (import "m" "g" (global i32)) (table 2 funcref) (func)
                    (elem (global.get 0) func 0) (elem (i32.const 0) func 0))"#,
                "--",
                &[""],
            ),
            // Somebody else's table.
            (
                r#"(module (import "m" "t" (table 2 funcref)) (func) (elem (i32.const 0) func 0))"#,
                "-",
                &[],
            ),
            // Passive segments do not stop folding.
            (
                "(module (table 2 funcref) (func) (elem func 0) (elem (i32.const 0) func 0))",
                "-F",
                &["0"],
            ),
            // Not a table of functions.
            (
                "(module (table 2 externref) (elem (i32.const 0) externref (ref.null extern)))",
                "-",
                &[""],
            ),
            (
                r#"(module (memory 1) (data (i32.const 5000) "abc") (data (i32.const 9000) "d"))"#,
                "FF",
                &["8192@4096"],
            ),
            (
                r#"(module (memory 1) (data (i32.const 65535) "a") (data (i32.const 65536) "b")
                    (data (i32.const 0) "c"))"#,
                "F--",
                &["4096@61440"],
            ),
            (
                r#"(module (memory 1) (data (i32.const 65536) ""))"#,
                "F",
                &["none"],
            ),
            (
                r#"(module (memory 1) (data (i32.const 65537) ""))"#,
                "-",
                &["none"],
            ),
            (
                r#"(module (memory 1) (data "p") (data (i32.const 0) "a"))"#,
                "-F",
                &["4096@0"],
            ),
            (
                r#"(module (import "m" "m" (memory 1)) (memory 1) (data (memory 1) (i32.const 0) "a")
                    (data (memory 0) (i32.const 0) "a"))"#,
                "F-",
                &["4096@0"],
            ),
            (
                r#"(module (memory 1) (memory 1) (data (memory 1) (i32.const 4096) "a")
                    (data (memory 0) (i32.const 0) "b"))"#,
                "FF",
                &["4096@0", "4096@4096"],
            ),
        ];
        for (wat, letters, contents) in table {
            let (found_letters, found, _) = folded(wat, &Knobs::default());
            assert_eq!(
                (&*found_letters, &found[..]),
                (
                    *letters,
                    &contents.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]
                ),
                "{wat}"
            );
        }
    }

    #[test]
    fn images_hold_what_the_segments_write_in_order() {
        let wat = r#"(module (memory 1) (data (i32.const 10) "aaaa") (data (i32.const 12) "bb"))"#;
        let (_, _, image) = folded(wat, &Knobs::default());
        let mut expected = vec![0; 4096];
        expected[10..14].copy_from_slice(b"aabb");
        assert!(image == expected);
    }

    #[test]
    fn without_copy_on_write_all_bytes_are_kept_as_segments() {
        let knobs = Knobs {
            memory_init_cow: false,
            ..Knobs::default()
        };
        let wat = r#"(module (memory 1) (data (i32.const 0) "ab") (data "cd"))"#;
        let (letters, contents, image) = folded(wat, &knobs);
        assert_eq!((&*letters, &*contents[0]), ("--", "none"));
        assert!(image.is_empty());
    }

    #[test]
    fn what_is_laid_out_is_bounded_by_what_the_module_contains() {
        // Declared far out: stays a segment, and so does everything behind it.
        let wat = r#"(module (table 0xffffffff funcref) (memory 65536) (func)
            (elem (i32.const 0) func 0) (elem (i32.const 0xfffffffe) func 0)
            (data (i32.const 0) "a") (data (i32.const 0xfffffffe) "b"))"#;
        let (letters, contents, image) = folded(wat, &Knobs::default());
        assert_eq!(letters, "F-F-");
        assert_eq!(contents, ["0", "4096@0"]);
        assert_eq!(image.len(), 4096);

        // The bound holds for all memories and tables of a module together.
        let mut wat = String::from("(module (func)");
        for index in 0..100 {
            wat += &format!(
                r#"(memory 256) (data (memory {index}) (i32.const 0) "a") (data (memory {index}) (i32.const 0xffffff) "b")
                (table 1000000 funcref) (elem (table {index}) (i32.const 999999) func 0)"#
            );
        }
        wat.push(')');
        let (letters, contents, image) = folded(&wat, &Knobs::default());
        assert!(image.len() as u64 <= Knobs::default().memory_guaranteed_dense_image_size);
        assert_eq!(letters.matches('F').count(), 3);
        assert_eq!(contents.iter().filter(|c| c.starts_with('_')).count(), 1);
    }
}
