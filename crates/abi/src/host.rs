//! What this machine is: the other half of an artifact's compatibility check.
//!
//! The compiler enables exactly the features listed here and the runtime checks an artifact against the same list, so the two
//! cannot disagree, and a runtime without a compiler can still check.

use crate::artifact::Header;
use crate::knobs::Knobs;

/// Version of Cowling and of the code generator whose conventions artifacts follow, and a hash of this crate's sources: builds of one
/// version between which the layout of something changed do not run each other's artifacts.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "+cranelift-0.135.",
    env!("COWLING_CONTRACT")
);

macro_rules! x86_features {
    ($($flag:literal $feature:tt,)*) => {
        /// Processor features of this machine that the code generator can use, by its names for them, sorted.
        #[cfg(target_arch = "x86_64")]
        pub fn cpu_features() -> Vec<String> {
            let mut found = Vec::new();
            $(if std::arch::is_x86_feature_detected!($feature) {
                found.push($flag.to_string());
            })*
            found.sort();
            found
        }
    };
}

x86_features! {
    "has_cmpxchg16b" "cmpxchg16b",
    "has_sse3" "sse3",
    "has_ssse3" "ssse3",
    "has_sse41" "sse4.1",
    "has_sse42" "sse4.2",
    "has_popcnt" "popcnt",
    "has_avx" "avx",
    "has_avx2" "avx2",
    "has_fma" "fma",
    "has_bmi1" "bmi1",
    "has_bmi2" "bmi2",
    "has_lzcnt" "lzcnt",
    "has_avx512bitalg" "avx512bitalg",
    "has_avx512dq" "avx512dq",
    "has_avx512f" "avx512f",
    "has_avx512vbmi" "avx512vbmi",
    "has_avx512vl" "avx512vl",
}

/// Processor features without which the code generator would call library functions for rounding and vector shuffles, which
/// compiled code has no way to reach. Every x86-64 processor since 2008 has them.
pub const BASELINE: [&str; 3] = ["has_sse3", "has_sse41", "has_ssse3"];

/// Target triple of this machine.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("Cowling runs on x86-64 Linux; other machines come later");

impl Header {
    /// The header of an artifact made here and now under these settings, without its length and checksum.
    pub fn for_this_machine(knobs: &Knobs) -> Header {
        Header {
            version: VERSION.to_string(),
            target: TARGET.to_string(),
            cpu_features: cpu_features(),
            settings: knobs.code_fingerprint(),
            file_len: 0,
            content_hash: [0; 32],
        }
    }

    /// The same for code that only uses [`BASELINE`] features, so that it runs on other machines, too.
    pub fn for_baseline(&self) -> Header {
        Header {
            cpu_features: BASELINE.map(str::to_string).to_vec(),
            ..self.clone()
        }
    }
}
