//! Whose is an address? Ranges of addresses, each with the position of its owner in a list.
//!
//! ```text
//!   in order of where they start:   |--- a ---|   |---------- b ----------|         |-- a --|
//!                                                      |- c -|                      |-- d --|
//!   how far any of them goes so far:          ^                           ^                 ^
//! ```
//!
//! # Invariant
//!
//! No range is empty. They may overlap: one shared memory may be in several instances.

use std::ops::Range;

struct Span {
    range: Range<usize>,
    /// Where the last of this and of those before it ends.
    furthest: usize,
    owner: usize,
}

/// Ranges of addresses with their owners.
pub(super) struct Spans(Vec<Span>);

impl Spans {
    pub(super) fn new(ranges: impl IntoIterator<Item = (Range<usize>, usize)>) -> Spans {
        let mut all: Vec<_> = ranges
            .into_iter()
            .filter(|(range, _)| !range.is_empty())
            .map(|(range, owner)| Span {
                furthest: range.end,
                range,
                owner,
            })
            .collect();
        all.sort_unstable_by_key(|span| span.range.start);
        let mut furthest = 0;
        for span in &mut all {
            furthest = span.furthest.max(furthest);
            span.furthest = furthest;
        }
        Spans(all)
    }

    /// The owners of an address.
    pub(super) fn owners(&self, address: usize) -> impl Iterator<Item = usize> + '_ {
        let after = (self.0).partition_point(|span| span.range.start <= address);
        let near = self.0[..after].iter().rev();
        near.take_while(move |span| span.furthest > address)
            .filter(move |span| span.range.contains(&address))
            .map(|span| span.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_owners_of_an_address_are_found_whatever_overlaps_or_is_empty() {
        let ranges = [
            (10..20, 0),
            // Would hide the one before, and the next.
            (10..10, 9),
            (19..19, 9),
            (30..60, 1),
            (35..40, 2),
            (40..40, 9),
            (70..80, 0),
            (70..80, 3),
        ];
        // Whichever comes first among those that start at the same place.
        for ranges in [ranges.to_vec(), ranges.iter().rev().cloned().collect()] {
            let spans = Spans::new(ranges);
            for (address, expected) in [
                (0, &[][..]),
                (9, &[]),
                (10, &[0]),
                (19, &[0]),
                (20, &[]),
                (30, &[1]),
                (35, &[1, 2]),
                (39, &[1, 2]),
                (40, &[1]),
                (59, &[1]),
                (60, &[]),
                (75, &[0, 3]),
                (80, &[]),
                (usize::MAX, &[]),
            ] {
                let mut found: Vec<_> = spans.owners(address).collect();
                found.sort_unstable();
                assert_eq!(found, expected, "{address}");
            }
        }
    }
}
