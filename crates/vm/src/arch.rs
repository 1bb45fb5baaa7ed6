//! What has to be written in assembly, one set of files per architecture. Each has the same functions.

#[cfg(target_arch = "x86_64")]
mod racing;
#[cfg(target_arch = "x86_64")]
mod switch;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use {racing::*, switch::*, x86_64::*};
