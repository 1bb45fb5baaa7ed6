//! What to do when an exception passes a call: the table that a throw consults for each frame on its way out.
//!
//! ```text
//!   count                                    number of call sites that lie inside a try_table
//!   count x return offset                    sorted text offsets of their return addresses
//!   count x [frame size, context, first]     see CallSite; `first` is the position of its first catch
//!   end                                      position behind the last catch
//!   catches x [tag, handler]                 tag index or NONE for catch_all; text offset
//! ```
//!
//! The catches of a call site run up to the next one's first. Lookups read in place and find nothing in a table that is cut
//! short or altered.

use super::tables::{NONE, push_u32, read_u32, upper_bound};
use crate::index::TagIndex;
use serde::{Deserialize, Serialize};

/// A call inside a `try_table`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSite {
    /// Text offset of the instruction behind the call.
    pub return_offset: u32,
    /// Distance in bytes from the frame's stack pointer, as it is during the call, up to its frame pointer.
    pub frame_size: u32,
    /// Distance in bytes from that stack pointer up to the spilled address of the frame's VMContext.
    pub context: u32,
    /// What catches, in the order to try.
    pub catches: Vec<Catch>,
}

/// One catch clause of a call site.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catch {
    /// The tag it catches, an index in the frame's module; `None` catches everything.
    pub tag: Option<TagIndex>,
    /// Text offset of the code that handles it.
    pub handler: u32,
}

/// The table itself.
#[derive(Copy, Clone, Debug)]
pub struct ExceptionTable<'a>(pub &'a [u8]);

impl<'a> ExceptionTable<'a> {
    /// Encodes the table from call sites sorted by return offset.
    pub fn encode(sites: &[CallSite]) -> Vec<u8> {
        debug_assert!(sites.is_sorted_by_key(|s| s.return_offset));
        let mut out = Vec::new();
        push_u32(&mut out, sites.len() as u32);
        for site in sites {
            push_u32(&mut out, site.return_offset);
        }
        let mut first = 0;
        for site in sites {
            push_u32(&mut out, site.frame_size);
            push_u32(&mut out, site.context);
            push_u32(&mut out, first);
            first += site.catches.len() as u32;
        }
        push_u32(&mut out, first);
        for catch in sites.iter().flat_map(|s| &s.catches) {
            push_u32(&mut out, catch.tag.map_or(NONE, TagIndex::as_u32));
            push_u32(&mut out, catch.handler);
        }
        out
    }

    /// The call site that returns to a text offset: its frame size, its context's place, and its catches in order.
    pub fn lookup(
        &self,
        return_offset: u32,
    ) -> Option<(u32, u32, impl Iterator<Item = Catch> + use<'a>)> {
        let bytes = self.0;
        let count = read_u32(bytes, 0)? as usize;
        let after = upper_bound(count, return_offset, |i| read_u32(bytes, i + 1));
        let position = after.checked_sub(1)?;
        if read_u32(bytes, position + 1)? != return_offset {
            return None;
        }
        let site = count
            .checked_add(position.checked_mul(3)?)?
            .checked_add(1)?;
        let catches = count.checked_mul(4)?.checked_add(2)?;
        let first = read_u32(bytes, site + 2)?;
        // The last site's catches end at `end`, which stands where the next site would be.
        let end = if position + 1 == count {
            read_u32(bytes, site + 3)?
        } else {
            read_u32(bytes, site + 5)?
        };
        let list = (first..end).map_while(move |i| {
            let at = catches.checked_add(2 * i as usize)?;
            let tag = read_u32(bytes, at)?;
            Some(Catch {
                tag: (tag != NONE).then(|| TagIndex::from_u32(tag)),
                handler: read_u32(bytes, at + 1)?,
            })
        });
        Some((read_u32(bytes, site)?, read_u32(bytes, site + 1)?, list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_sites_are_found_with_their_own_catches() {
        let catch = |tag: Option<u32>, handler| Catch {
            tag: tag.map(TagIndex::from_u32),
            handler,
        };
        let site = |return_offset, catches| CallSite {
            return_offset,
            frame_size: return_offset * 2,
            context: return_offset * 3,
            catches,
        };
        let sites = [
            site(8, vec![catch(Some(1), 100), catch(None, 108)]),
            site(16, vec![]),
            site(24, vec![catch(Some(0), 116)]),
        ];
        let bytes = ExceptionTable::encode(&sites);
        let table = ExceptionTable(&bytes);
        for site in &sites {
            let (frame_size, context, catches) = table.lookup(site.return_offset).unwrap();
            assert_eq!((frame_size, context), (site.frame_size, site.context));
            assert_eq!(catches.collect::<Vec<_>>(), site.catches);
        }
        assert!(table.lookup(9).is_none());
        for len in 0..bytes.len() {
            for site in &sites {
                if let Some((_, _, catches)) =
                    ExceptionTable(&bytes[..len]).lookup(site.return_offset)
                {
                    assert!(catches.count() <= site.catches.len());
                }
            }
        }
    }
}
