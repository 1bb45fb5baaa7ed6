//! Where, when and with which versions something was measured. Times compare only with those of the same run.

use crate::measure::Measured;
use crate::native;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::time::SystemTime;

/// What decides the figures besides the programs that are measured.
#[derive(Serialize)]
pub struct Origin {
    processor: String,
    cores: usize,
    system: String,
    /// As RFC 3339 has it.
    time: String,
    /// Of the engines that were measured.
    versions: BTreeMap<&'static str, String>,
}

impl Origin {
    pub fn here(tables: &[Measured]) -> Origin {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
        let kernel = read("/proc/sys/kernel/osrelease");
        let cases = tables.iter().flat_map(|table| &table.cases);
        Origin {
            processor: processor.unwrap_or("an unknown processor").to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("Linux {}", kernel.trim()),
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            versions: cases
                .filter_map(|case| Some((case.engine, version(case.engine)?)))
                .collect(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = self.versions.iter();
        let versions: Vec<_> = versions
            .map(|(engine, version)| format!("{engine} {version}"))
            .collect();
        write!(
            f,
            "Measured on {} cores of {}, {}, at {}, with {}",
            self.cores,
            self.processor,
            self.system,
            self.time,
            versions.join(", ")
        )
    }
}

/// The version of an engine, by the name it has in the tables, which is its crate's. `None` for what is no engine.
fn version(engine: &str) -> Option<String> {
    if engine == "native" {
        return native::versions();
    }
    let locked = [
        include_str!("../../Cargo.lock"),
        include_str!("../../wasmer/Cargo.lock"),
    ];
    let version = locked.iter().find_map(|lock| {
        let package = lock.split_once(&format!("name = \"{engine}\"\nversion = \""))?;
        Some(package.1.split_once('"')?.0.to_string())
    })?;
    let revision = if engine == "cowling" {
        revision()
    } else {
        None
    };
    Some(match revision {
        Some(revision) => format!("{version} ({revision})"),
        None => version,
    })
}

/// The commit that this was built from, and whether anything but results has changed since.
fn revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let run = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output();
        let output = run.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    let all_but_results = [":(top)", ":(top,exclude)bench/results"];
    let changes = git(&[&["status", "--porcelain", "--"][..], &all_but_results].concat())?;
    Some(match changes.is_empty() {
        true => commit,
        false => commit + ", changed",
    })
}
