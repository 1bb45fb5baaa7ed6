//! Which function, and which of its operators, code comes from.
//!
//! A function's code also has that of the bodies inlined into it. One number, a *location*, says where an operator is:
//!
//! ```text
//!   0            len          start of site 0      start of site 1
//!   | own body   |            | its body           | its body ...
//! ```
//!
//! A body that is inlined several times takes a range of locations each time. Everything here is relative to bodies, so it stays the same
//! when the function lies elsewhere in the binary.

use cowling_abi::DefinedFuncIndex;

/// Stands for "from no operator" among locations.
pub(crate) const NO_LOCATION: u32 = u32::MAX;

/// A call that was replaced by the body of what it calls.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Which function's body.
    pub callee: DefinedFuncIndex,
    /// The first location in it.
    pub start: u32,
    /// Location of the call.
    pub call: u32,
    /// The site that the call is in, if it is not in the function's own body. One before this.
    pub parent: Option<u32>,
}

/// Which of the sites, in the order of their starts, a location is in; `None` if it is in the function's own body.
pub(crate) fn site_of(sites: &[Site], location: u32) -> Option<u32> {
    let after = sites.partition_point(|site| site.start <= location);
    after.checked_sub(1).map(|site| site as u32)
}
