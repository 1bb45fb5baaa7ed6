//! Memory and mappings of this process, as the operating system counts them.

use anyhow::{Context, Result};
use std::fs;

/// What is in use now.
#[derive(Copy, Clone, Debug)]
pub struct Usage {
    /// Bytes in memory.
    pub resident: u64,
    /// Bytes of page tables.
    pub page_tables: u64,
    /// Mappings, of which `vm.max_map_count` limits the number.
    pub mappings: u64,
}

impl Usage {
    pub fn now() -> Result<Usage> {
        // The counts in `status` are not exact; those made by looking at each page are.
        let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
        let status = fs::read_to_string("/proc/self/status")?;
        let maps = fs::read("/proc/self/maps")?;
        Ok(Usage {
            resident: kilobytes(&rollup, "Rss")?,
            page_tables: kilobytes(&status, "VmPTE")?,
            mappings: maps.iter().filter(|&&byte| byte == b'\n').count() as u64,
        })
    }
}

/// How much more memory there was at some time than there is now, for one piece of work.
pub struct Peak {
    before: u64,
}

impl Peak {
    /// Begins to watch.
    pub fn watch() -> Result<Peak> {
        // Forgets the highest so far. Not every system lets it: then what came before counts too.
        fs::write("/proc/self/clear_refs", "5").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(Peak {
            before: kilobytes(&status, "VmRSS")?,
        })
    }

    /// By how many bytes the memory in use has grown at most.
    pub fn growth(&self) -> Result<u64> {
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(kilobytes(&status, "VmHWM")?.saturating_sub(self.before))
    }
}

/// The bytes that a line such as `VmRSS:   123 kB` names.
fn kilobytes(text: &str, name: &str) -> Result<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.with_context(|| format!("the system does not say {name}"))?;
    Ok(number.parse::<u64>()? * 1024)
}
