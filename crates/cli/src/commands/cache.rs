//! `cache`: where compiled modules are kept, and how to get rid of them.

use super::print;
use crate::args::{CacheAction, CacheCommand, open_cache};
use crate::config_file::ConfigFile;
use crate::report::Failure;
use cowling::CacheUsage;

/// Shows or empties the cache.
pub(super) fn cache(args: CacheCommand) -> Result<(), Failure> {
    let file = ConfigFile::read(&args.config)?;
    let cache = open_cache(args.cache_dir.as_ref(), &file)?;
    print(match args.action {
        CacheAction::Dir => format!("{}\n", cache.directory().display()),
        CacheAction::Size => format!("{}\n", show(cache.usage()?)),
        CacheAction::Clean => format!("removed {}\n", show(cache.clear()?)),
    })
}

fn show(usage: CacheUsage) -> String {
    let files = match usage.files {
        1 => "file",
        _ => "files",
    };
    format!("{} {files}, {} bytes", usage.files, usage.bytes)
}
