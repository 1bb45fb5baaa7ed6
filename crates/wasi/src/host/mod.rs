//! The host core: what a guest can reach, in terms of plain Rust values.
//!
//! Nothing here knows about guest memory, descriptor layouts or error numbers of a WASI version; the front ends
//! ([`p1`](crate::p1), later others) translate.
//!
//! | file | what it is for |
//! |---|---|
//! | `clocks` | time of day, monotonic time; real or virtual |
//! | `random` | random bytes; the system's or seeded |
//! | `stdio` | byte streams: the process's, memory's, an embedder's |
//! | `dir` | granted directories: everything that takes a path |
//! | `file` | open files: everything that takes a position |
//! | `listing` | reading a directory from any place |
//! | `stat` | kinds of objects, their facts and times |
//! | `socket` | granted sockets and those accepted from them |
//! | `waiting` | the same as a future |
//! | `patience` | waiting for descriptors and time, interruptibly |
//! | `table` | objects under small numbers |
//! | `error` | what goes wrong |

pub(crate) mod clocks;
pub(crate) mod dir;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod listing;
pub(crate) mod patience;
pub(crate) mod random;
pub(crate) mod socket;
pub(crate) mod stat;
pub(crate) mod stdio;
pub(crate) mod table;
pub(crate) mod waiting;
