//! The code generator's target: a machine with exactly the processor features that the artifact's header will name.

use crate::error::CompileError;
use cowling_abi::host;
use cowling_abi::knobs::Knobs;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable, SetError};
use std::str::FromStr;
use target_lexicon::{Architecture, OperatingSystem, Triple};

/// Frames from this size on (as a power of two) touch each such step of themselves on entry, so that none can jump over the
/// guard below the guest stack. The guard has twice the size: what a frame may reach below itself before it is touched.
const PROBE_STEP_LOG2: u8 = 15;

/// Functions begin at multiples of this many bytes (as a power of two).
const FUNCTION_ALIGN_LOG2: u8 = 5;

/// Checks that there is code for machines of this kind.
///
/// # Errors
/// When it is no target triple, or of another architecture or system.
pub fn check_target(triple: &str) -> Result<(), CompileError> {
    let refused = |reason: String| CompileError::Target {
        triple: triple.to_string(),
        reason,
    };
    let parsed = Triple::from_str(triple).map_err(|e| refused(e.to_string()))?;
    match (parsed.architecture, parsed.operating_system) {
        (Architecture::X86_64, OperatingSystem::Linux) => Ok(()),
        _ => Err(refused("code can be generated for x86-64 Linux".into())),
    }
}

/// The target for code under these settings that uses these processor features.
///
/// # Errors
/// When a processor feature is missing that is needed, or the code generator does not know a setting.
pub(crate) fn target(knobs: &Knobs, features: &[String]) -> Result<OwnedTargetIsa, CompileError> {
    if let Some(missing) = host::BASELINE
        .iter()
        .find(|n| !features.iter().any(|f| f == *n))
    {
        return Err(CompileError::Machine(format!(
            "the processor lacks a feature that is needed: `{missing}`"
        )));
    }
    let triple = Triple::from_str(host::TARGET)
        .map_err(|e| CompileError::Machine(format!("target `{}`: {e}", host::TARGET)))?;
    let mut isa = cranelift_codegen::isa::lookup(triple)
        .map_err(|e| CompileError::Machine(format!("target `{}`: {e}", host::TARGET)))?;
    for feature in features {
        isa.enable(feature)
            .map_err(|e| refused(feature, "true", &e))?;
    }
    isa.finish(settings::Flags::new(shared_flags(knobs)?))
        .map_err(|e| CompileError::Machine(e.to_string()))
}

fn refused(name: &str, value: &str, error: &SetError) -> CompileError {
    CompileError::Machine(format!("code generator setting `{name}={value}`: {error}"))
}

fn shared_flags(knobs: &Knobs) -> Result<settings::Builder, CompileError> {
    let mut flags = settings::builder();
    let on_off = |on: bool| if on { "true" } else { "false" };
    let opt_level = knobs.cranelift_opt_level.to_string();
    let regalloc_algorithm = knobs.cranelift_regalloc_algorithm.to_string();
    let probe_step = PROBE_STEP_LOG2.to_string();
    let function_align = FUNCTION_ALIGN_LOG2.to_string();
    for (name, value) in [
        // These knobs have the code generator's own names for their values.
        ("opt_level", opt_level.as_str()),
        ("regalloc_algorithm", regalloc_algorithm.as_str()),
        // Code that counts fuel keeps the count there.
        ("enable_pinned_reg", on_off(knobs.consume_fuel)),
        ("enable_verifier", on_off(knobs.cranelift_debug_verifier)),
        (
            "enable_nan_canonicalization",
            on_off(knobs.cranelift_nan_canonicalization),
        ),
        // Code refers to nothing but places in its own `.text`, always by their distance. With this on it would look for a table of
        // addresses.
        ("is_pic", "false"),
        // Backtraces walk frame pointers.
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "true"),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("probestack_size_log2", &probe_step),
        // Functions with more results than registers return them through memory.
        ("enable_multi_ret_implicit_sret", "true"),
        ("enable_heap_access_spectre_mitigation", "true"),
        ("enable_table_access_spectre_mitigation", "true"),
        ("enable_alias_analysis", "true"),
        ("log2_min_function_alignment", &function_align),
    ] {
        flags
            .set(name, value)
            .map_err(|e| refused(name, value, &e))?;
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cowling_abi::knobs::Knob;

    #[test]
    fn every_value_of_every_knob_has_a_target() {
        for knob in Knob::ALL {
            for sample in knob.samples {
                let mut knobs = Knobs::default();
                knobs.set(knob.name, sample).unwrap();
                assert!(
                    target(&knobs, &host::cpu_features()).is_ok(),
                    "{}={sample}",
                    knob.name
                );
            }
        }
    }

    #[test]
    fn exactly_the_features_of_the_header_are_on() {
        for features in [
            host::cpu_features(),
            host::BASELINE.map(str::to_string).to_vec(),
        ] {
            let isa = target(&Knobs::default(), &features).unwrap();
            for flag in isa.isa_flags() {
                if let Some(on) = flag.as_bool() {
                    assert_eq!(on, features.iter().any(|f| f == flag.name), "{}", flag.name);
                }
            }
        }
    }
}
