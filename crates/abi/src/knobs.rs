//! Knobs: every setting of the engine, declared once.
//!
//! From the one declaration in `for_each_knob!` follow the field in [`Knobs`] and its default, the setter of the public
//! `Config`, the getter of the public `Engine` if it is to have one, the command line's `-C name=value` with its help text, and the
//! knob's part in an artifact's fingerprint. A fuzzer draws settings from [`Knob::samples`].

use crate::operator_costs::OperatorCosts;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Calls a macro with the list of knobs: `/// doc`, `name: type = default, scope, getter, [values worth trying];`
///
/// `scope` is `code` when the knob changes generated code or what it relies on (so that an artifact only runs under the same
/// value) and `runtime` when it does not. `getter` is the name of the engine's getter, with `if compiler` behind it when an engine
/// that does not compile has nothing to say; it may be left out.
#[macro_export]
macro_rules! for_each_knob {
    ($mac:ident) => {
        $mac! {
            /// How hard the code generator optimises.
            cranelift_opt_level: OptLevel = OptLevel::Speed, code, get_cranelift_opt_level if compiler, ["none", "speed", "speed_and_size"];
            /// Checks the intermediate code after each step. Slow; finds bugs of the engine itself.
            cranelift_debug_verifier: bool = false, runtime, get_cranelift_debug_verifier if compiler, ["true", "false"];
            /// Makes every NaN that arithmetic produces the canonical one, so that results do not depend on the processor.
            cranelift_nan_canonicalization: bool = false, code, get_cranelift_nan_canonicalization if compiler, ["true", "false"];
            /// How variables are given registers.
            cranelift_regalloc_algorithm: RegallocAlgorithm = RegallocAlgorithm::Backtracking, code,
                get_cranelift_regalloc_algorithm if compiler, ["backtracking", "single_pass"];
            /// Whether the bodies of small functions take the place of calls of them. Backtraces show such functions all the same.
            compiler_inlining: Inlining = Inlining::Yes, code, get_compiler_inlining, ["yes", "no"];
            /// Compiles the functions of a module on all cores.
            parallel_compilation: bool = true, runtime, get_parallel_compilation, ["true", "false"];
            /// Keeps the map from machine code to positions in the binary, for backtraces.
            generate_address_map: bool = true, code, get_generate_address_map, ["true", "false"];
            /// Keeps the debug information of binaries that have any, so that backtraces say which file and line a guest was at.
            wasm_backtrace_details: WasmBacktraceDetails = WasmBacktraceDetails::Environment, runtime,
                ["enable", "disable", "environment"];
            /// How many frames a backtrace has at most; without a number, errors have no backtraces. Of a guest that is stopped, at most the
            /// innermost 64 frames are noted in any case, and those of guests that have called it by way of the host.
            wasm_backtrace_max_frames: Option<NonZeroUsize> = NonZeroUsize::new(128), runtime, ["none", "1", "128"];
            /// Attaches a core dump to the error of a guest that traps.
            coredump_on_trap: bool = false, runtime, ["true", "false"];
            /// Bytes of address space reserved for each linear memory. From 4294967296 on, 32-bit memories need no bounds checks.
            memory_reservation: u64 = 4 << 30, code, get_memory_reservation, ["0", "65536", "4294967296"];
            /// Bytes of inaccessible address space behind each reservation.
            memory_guard_size: u64 = 32 << 20, code, get_memory_guard_size, ["0", "65536", "33554432"];
            /// Lets memories move that outgrow what is reserved for them. Those that may not can be at most that large, and code keeps
            /// their address in a register across calls.
            memory_may_move: bool = true, code, get_memory_may_move, ["true", "false"];
            /// Bytes of address space for the further growth of a memory that begins with more than `memory_reservation`, or moves
            /// because it outgrows it.
            memory_reservation_for_growth: u64 = 2 << 30, runtime, get_memory_reservation_for_growth,
                ["0", "65536", "2147483648"];
            /// Lets guests and hosts make shared memories.
            shared_memory: bool = true, runtime, get_shared_memory, ["true", "false"];
            /// Places the first memory of an instance behind it, where code knows its address. Off, code loads the address, and the memory
            /// may be one that the embedder makes: `Config::with_host_memory` turns it off.
            memory_in_slot: bool = true, code, ["true", "false"];
            /// Bytes of stack for guest code.
            max_wasm_stack: usize = 1 << 20, runtime, get_max_wasm_stack, ["65536", "1048576"];
            /// Bytes of stack that must be left when a host function is called; they come on top of `max_wasm_stack`.
            host_stack_reserve: usize = 256 << 10, runtime, ["65536", "262144"];
            /// Makes bounds checks hold in speculative execution, too, where the processor has not yet decided them.
            spectre_mitigation: bool = true, code, ["true", "false"];
            /// Lays out data segments ahead of time and maps them copy-on-write.
            memory_init_cow: bool = true, code, get_memory_init_cow, ["true", "false"];
            /// Bytes of images that may always be laid out for the memories of a module, however far apart its data segments are. Beyond
            /// that an image may be twice as large as what is in it.
            memory_guaranteed_dense_image_size: u64 = 16 << 20, code, get_memory_guaranteed_dense_image_size,
                ["0", "65536", "16777216"];
            /// Copies artifacts into memory when they are loaded from files, so that nothing of a memory's image is ever read from disk
            /// later.
            force_memory_init_memfd: bool = false, runtime, ["true", "false"];
            /// Reads artifacts whole before they run for the first time, to see whether they were damaged. Off, only their header and length
            /// are checked, as those of programs are: loading takes no longer for large ones, and damage to the code goes unnoticed.
            artifact_checksums: bool = true, runtime, ["true", "false"];
            /// Puts information for the system's debuggers and profilers into artifacts: how to unwind the stack. Backtraces do without.
            native_unwind_info: bool = true, code, ["true", "false"];
            /// Lets epochs interrupt guests whose store has an epoch deadline. Guest code is the same either way.
            epoch_interruption: bool = true, runtime, get_epoch_interruption, ["true", "false"];
            /// Counts what guest code executes, so that stores can give it fuel. Code gets slower: tight loops by up to a third.
            consume_fuel: bool = false, code, get_consume_fuel, ["true", "false"];
            /// What operators cost in fuel, where that is not what they cost by default, by their names in upper camel case.
            operator_cost: OperatorCosts = OperatorCosts::default(), code,
                ["default", "Call=3", "MemoryGrow=100,memory_fill_per_byte=1"];
            /// Bytes of address space for the garbage-collected heap of a store, the most that it may have: up to 2 GiB. A store without
            /// structs and arrays has none.
            gc_heap_reservation: u64 = 2 << 30, runtime, get_gc_heap_reservation, ["0", "1048576", "2147483648"];
            /// Bytes that the garbage-collected heap of a store begins with.
            gc_heap_initial_size: u64 = 1 << 20, runtime, get_gc_heap_initial_size, ["0", "65536", "1048576"];
            /// Collects garbage whenever a struct or array is made. Very slow; finds bugs of the engine itself.
            gc_stress: bool = false, runtime, ["true", "false"];
            /// Allows functions, blocks and branches with several results.
            wasm_multi_value: bool = true, code, ["true", "false"];
            /// Allows bulk memory and table operations.
            wasm_bulk_memory: bool = true, code, ["true", "false"];
            /// Allows reference types.
            wasm_reference_types: bool = true, code, ["true", "false"];
            /// Allows 128-bit vectors.
            wasm_simd: bool = true, code, ["true", "false"];
            /// Allows arithmetic in constant expressions.
            wasm_extended_const: bool = true, code, ["true", "false"];
            /// Allows more than one memory in a module.
            wasm_multi_memory: bool = true, code, ["true", "false"];
            /// Allows exceptions: tags, `throw`, `throw_ref`, `try_table`, `exnref`.
            wasm_exceptions: bool = true, code, ["true", "false"];
            /// Allows memories and tables that are indexed by `i64`.
            wasm_memory64: bool = true, code, ["true", "false"];
            /// Allows relaxed vector operators, whose results depend on the processor where that makes them faster.
            wasm_relaxed_simd: bool = true, code, ["true", "false"];
            /// Gives relaxed vector operators the results that the standard prescribes for a deterministic engine, on every processor.
            relaxed_simd_deterministic: bool = false, code, get_relaxed_simd_deterministic, ["true", "false"];
            /// Allows 128-bit integer addition, subtraction and multiplication.
            wasm_wide_arithmetic: bool = true, code, ["true", "false"];
            /// Allows memories with pages of one byte.
            wasm_custom_page_sizes: bool = true, code, ["true", "false"];
            /// Allows shared memories, atomic operators, waiting and waking.
            wasm_threads: bool = true, code, ["true", "false"];
            /// Allows import sections that give a module's name once for several imports.
            wasm_compact_imports: bool = true, code, ["true", "false"];
            /// Lets hints in the binary say which branches are rarely taken; their code then lies out of the way.
            wasm_branch_hinting: bool = true, code, get_wasm_branch_hinting, ["true", "false"];
            /// Allows calls in tail position that leave nothing of their caller on the stack.
            wasm_tail_call: bool = true, code, ["true", "false"];
            /// Allows references of defined function types, and calls by them.
            wasm_function_references: bool = true, code, ["true", "false"];
            /// Allows garbage-collected structs and arrays, and types below others. Needs `wasm_function_references`.
            wasm_gc: bool = true, code, ["true", "false"];
        }
    };
}

/// How hard the code generator optimises.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OptLevel {
    /// Compile as fast as possible.
    None,
    /// Make the code fast.
    Speed,
    /// Make the code fast, then small.
    SpeedAndSize,
}

impl FromStr for OptLevel {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "none" => Ok(OptLevel::None),
            "speed" => Ok(OptLevel::Speed),
            "speed_and_size" => Ok(OptLevel::SpeedAndSize),
            _ => Err(()),
        }
    }
}

impl fmt::Display for OptLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptLevel::None => "none",
            OptLevel::Speed => "speed",
            OptLevel::SpeedAndSize => "speed_and_size",
        })
    }
}

/// Whether functions are inlined: their bodies put in place of calls of them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Inlining {
    /// Where it makes code faster and hardly larger, inside of a module.
    Yes,
    /// Never.
    No,
}

impl FromStr for Inlining {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "yes" => Ok(Inlining::Yes),
            "no" => Ok(Inlining::No),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Inlining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Inlining::Yes => "yes",
            Inlining::No => "no",
        })
    }
}

/// When backtraces say which file and line a guest was at. The debug information for that is kept when a module is compiled, and read
/// when a backtrace is looked at.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum WasmBacktraceDetails {
    /// Always.
    Enable,
    /// Never.
    Disable,
    /// When the environment variable `COWLING_BACKTRACE_DETAILS` is set to something other than `0`.
    Environment,
}

impl WasmBacktraceDetails {
    /// The environment variable that decides.
    pub const VARIABLE: &str = "COWLING_BACKTRACE_DETAILS";

    /// Are they wanted?
    pub fn are_wanted(self) -> bool {
        match self {
            Self::Enable => true,
            Self::Disable => false,
            Self::Environment => std::env::var_os(Self::VARIABLE).is_some_and(|value| value != "0"),
        }
    }
}

impl FromStr for WasmBacktraceDetails {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "enable" => Ok(Self::Enable),
            "disable" => Ok(Self::Disable),
            "environment" => Ok(Self::Environment),
            _ => Err(()),
        }
    }
}

impl fmt::Display for WasmBacktraceDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Environment => "environment",
        })
    }
}

/// How variables are given registers.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RegallocAlgorithm {
    /// The code is fast; to get there, decisions are undone and made anew.
    Backtracking,
    /// One pass over the code: compiles fast, moves values to and fro more often.
    SinglePass,
}

impl FromStr for RegallocAlgorithm {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "backtracking" => Ok(RegallocAlgorithm::Backtracking),
            "single_pass" => Ok(RegallocAlgorithm::SinglePass),
            _ => Err(()),
        }
    }
}

impl fmt::Display for RegallocAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RegallocAlgorithm::Backtracking => "backtracking",
            RegallocAlgorithm::SinglePass => "single_pass",
        })
    }
}

/// How a knob's value is written as text.
trait KnobValue: Sized {
    /// What values look like: [`Knob::kind`].
    const KIND: &'static str;

    fn parse(text: &str) -> Option<Self>;
    fn print(&self) -> String;
}

macro_rules! knob_values {
    ($($ty:ty: $kind:literal),* $(,)?) => {$(
        impl KnobValue for $ty {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn print(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

knob_values!(
    bool: "true or false",
    u64: "number",
    usize: "number",
    OptLevel: "none, speed or speed_and_size",
    Inlining: "yes or no",
    OperatorCosts: "NAME=COST,... or default",
    RegallocAlgorithm: "backtracking or single_pass",
    WasmBacktraceDetails: "enable, disable or environment",
);

/// A limit: `none` or a number.
impl KnobValue for Option<NonZeroUsize> {
    const KIND: &'static str = "number or none";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(None),
            number => number.parse().ok().map(Some),
        }
    }

    fn print(&self) -> String {
        self.map_or_else(|| "none".into(), |number| number.to_string())
    }
}

/// What a knob changes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KnobScope {
    /// Generated code, or what generated code relies on.
    Code,
    /// Only how the engine works.
    Runtime,
}

/// Description of one knob.
#[derive(Copy, Clone, Debug)]
pub struct Knob {
    /// Its name, as in `-C name=value`.
    pub name: &'static str,
    /// What it does, for people. Has a leading space on each line, as doc comments do.
    pub help: &'static str,
    /// What its values look like, in words.
    pub kind: &'static str,
    /// What it changes.
    pub scope: KnobScope,
    /// Values worth trying: what a fuzzer draws from and `--help` shows.
    pub samples: &'static [&'static str],
}

/// A setting that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnobError {
    /// There is no such knob.
    #[error("unknown setting `{0}`; known settings: {known}", known = Knob::names())]
    Unknown(String),
    /// The value does not fit the knob.
    #[error("setting `{name}` does not take `{value}`; examples: {samples}")]
    BadValue {
        /// The knob.
        name: &'static str,
        /// What was given.
        value: String,
        /// Values it does take.
        samples: String,
    },
    /// The value cannot be had, here or together with the other settings.
    #[error("setting `{name}` cannot be {value}: {reason}")]
    Refused {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
}

macro_rules! declare {
    ($(
        $(#[doc = $doc:literal])* $name:ident: $ty:ty = $default:expr, $scope:ident
        $(, $getter:ident $(if $compiler:ident)?)?, [$($sample:literal),*];
    )*) => {
        /// The value of every knob.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct Knobs {
            $($(#[doc = $doc])* pub $name: $ty,)*
        }

        impl Default for Knobs {
            fn default() -> Self {
                Knobs { $($name: $default,)* }
            }
        }

        impl Knob {
            /// Every knob, in order of declaration.
            pub const ALL: &'static [Knob] = &[$(Knob {
                name: stringify!($name),
                help: concat!($($doc),*),
                kind: <$ty as KnobValue>::KIND,
                scope: declare!(@scope $scope),
                samples: &[$($sample),*],
            }),*];
        }

        impl Knobs {
            /// Sets a knob by name from text.
            ///
            /// # Errors
            /// When there is no such knob or the value does not parse; nothing is changed then.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), KnobError> {
                match name {
                    $(stringify!($name) => {
                        self.$name = KnobValue::parse(value).ok_or_else(|| KnobError::BadValue {
                            name: stringify!($name),
                            value: value.to_string(),
                            samples: [$($sample),*].join(", "),
                        })?;
                    })*
                    _ => return Err(KnobError::Unknown(name.to_string())),
                }
                Ok(())
            }

            /// Every knob with its value as text, in order of declaration.
            pub fn values(&self) -> Vec<(&'static Knob, String)> {
                let values = [$(KnobValue::print(&self.$name)),*];
                Knob::ALL.iter().zip(values).collect()
            }
        }
    };
    (@scope code) => { KnobScope::Code };
    (@scope runtime) => { KnobScope::Runtime };
}

for_each_knob!(declare);

impl Knob {
    fn names() -> String {
        let names: Vec<_> = Knob::ALL.iter().map(|k| k.name).collect();
        names.join(", ")
    }
}

impl Knobs {
    /// The knobs that change code, as `name=value` words: what an artifact must match.
    pub fn code_fingerprint(&self) -> String {
        let words: Vec<_> = self
            .values()
            .into_iter()
            .filter(|(knob, _)| knob.scope == KnobScope::Code)
            .map(|(knob, value)| format!("{}={value}", knob.name))
            .collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_are_set_by_name_and_wrong_ones_are_named() {
        let mut knobs = Knobs::default();
        knobs.set("cranelift_opt_level", "none").unwrap();
        assert_eq!(knobs.cranelift_opt_level, OptLevel::None);
        let unknown = knobs.set("no_such", "1").unwrap_err();
        assert!(unknown.to_string().contains("wasm_simd"), "{unknown}");
        let bad = knobs.set("wasm_simd", "maybe").unwrap_err();
        assert!(bad.to_string().contains("wasm_simd"), "{bad}");
    }

    #[test]
    fn every_sample_parses() {
        for knob in Knob::ALL {
            for sample in knob.samples {
                Knobs::default().set(knob.name, sample).unwrap();
            }
        }
    }

    #[test]
    fn what_values_look_like_is_told_from_their_type() {
        let kind = |name| Knob::ALL.iter().find(|k| k.name == name).unwrap().kind;
        assert_eq!(kind("wasm_simd"), "true or false");
        assert_eq!(kind("max_wasm_stack"), "number");
        // Every value that a kind lists is one.
        let knob = Knob::ALL
            .iter()
            .find(|k| k.name == "cranelift_opt_level")
            .unwrap();
        for sample in knob.samples {
            assert!(knob.kind.contains(sample), "{sample}");
        }
    }

    #[test]
    fn limits_are_numbers_or_none() {
        let mut knobs = Knobs::default();
        for (text, limit) in [("none", None), ("7", NonZeroUsize::new(7))] {
            knobs.set("wasm_backtrace_max_frames", text).unwrap();
            assert_eq!(knobs.wasm_backtrace_max_frames, limit);
            let knob = |(knob, _): &(&Knob, String)| knob.name == "wasm_backtrace_max_frames";
            let shown = knobs.values().into_iter().find(knob).unwrap();
            assert_eq!(shown.1, text);
        }
        for text in ["0", "", "-1", "None"] {
            assert!(knobs.set("wasm_backtrace_max_frames", text).is_err());
        }
    }

    #[test]
    fn only_code_knobs_are_in_the_fingerprint() {
        let fingerprint = Knobs::default().code_fingerprint();
        assert!(fingerprint.contains("memory_guard_size=33554432"));
        assert!(!fingerprint.contains("parallel_compilation"));
    }
}
