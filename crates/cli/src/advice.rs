//! What somebody can do about an error.

use crate::args;
use crate::source::NotFound;
use crate::suggest;
use cowling::{
    CompileError, Error, HeaderError, LoadError, Terminated, Trap, UnknownImportError,
    WasmBacktrace,
};

/// About a guest that was stopped.
pub(crate) fn stopped(error: &Error) -> Option<String> {
    if error.downcast_ref::<Terminated>().is_some() {
        return None;
    }
    let advice = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            Some("`--max-stack` gives it more; recursion without end takes any amount".to_string())
        }
        Some(Trap::OutOfFuel) => Some("`--fuel` says how much it has".to_string()),
        _ => None,
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    advice.or_else(|| {
        backtrace.is_some_and(lacks_debug_info).then(|| {
            "there is no debug information to show files and lines with; most compilers add it with `-g`".to_string()
        })
    })
}

/// Are files and lines wanted, but there are none?
fn lacks_debug_info(backtrace: &WasmBacktrace) -> bool {
    let mut frames = backtrace.frames().iter();
    !backtrace.frames().is_empty()
        && frames.all(|frame| {
            let knobs = frame.module().engine().config().knobs();
            knobs.wasm_backtrace_details.are_wanted() && frame.symbols().is_empty()
        })
}

/// About a file that is not what it should be.
pub(crate) fn bad(error: &Error) -> Option<String> {
    if let Some(NotFound { path }) = error.downcast_ref() {
        if path.to_str().is_some_and(args::is_subcommand) {
            return Some(format!("`{}` comes before its options", path.display()));
        }
        let similar = suggest::similar_file(path)?;
        return Some(format!("did you mean `{similar}`?"));
    }
    if let Some(import) = error.downcast_ref::<UnknownImportError>() {
        let module = import.module();
        return Some(format!(
            "`--preload {module}=FILE` provides the exports of another module as `{module}`; \
             `--unknown-imports-trap` lets it run until it calls what is missing"
        ));
    }
    if let Some(CompileError::Invalid { message, .. }) = error.downcast_ref() {
        return proposal(message);
    }
    if let Some(LoadError::Header(header)) = error.downcast_ref() {
        return artifact(header);
    }
    None
}

/// The proposal that a message of the validator says is switched off.
fn proposal(message: &str) -> Option<String> {
    const SAY_SO: [&str; 4] = ["enabled", "disabled", "feature", "required for"];
    let message = message
        .to_lowercase()
        .replace("multiple memories", "multi memory not enabled");
    if !SAY_SO.iter().any(|words| message.contains(words)) {
        return None;
    }
    let words = message.replace(['-', '_'], " ");
    let named = args::proposals().filter(|(name, _)| words.contains(&name.replace('_', " ")));
    // One name may be part of another.
    let (name, _) = named.max_by_key(|(name, _)| name.len())?;
    Some(format!("`-W {name}` switches the proposal on"))
}

fn artifact(header: &HeaderError) -> Option<String> {
    match header {
        HeaderError::Settings { found, .. } => {
            let options: Vec<_> = found.split(' ').map(|setting| format!("-C {setting}")).collect();
            Some(format!(
                "run it with the settings that it was compiled with: `{}`",
                options.join(" ")
            ))
        }
        HeaderError::CpuFeature(_) => Some(
            "compile it on this machine, or with `--target x86_64-unknown-linux-gnu`, which makes code for every machine of the kind"
                .to_string(),
        ),
        HeaderError::HeaderAltered
        | HeaderError::WrongLength { .. }
        | HeaderError::ContentAltered => Some("compile it again with `cowling compile`".to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cowling::{Config, Engine, Module};

    #[test]
    fn a_proposal_that_is_off_is_named_by_what_switches_it_on() {
        let cases = [
            ("threads", "(module (memory 1 1 shared))"),
            ("memory64", "(module (memory i64 1))"),
            ("tail_call", "(module (func $f (return_call $f)))"),
            ("exceptions", "(module (tag $e))"),
            ("gc", "(module (type (struct)))"),
            ("multi_memory", "(module (memory 1) (memory 1))"),
            (
                "multi_value",
                "(module (func (result i32 i32) unreachable))",
            ),
            (
                "function_references",
                "(module (type $f (func)) (func (param (ref $f))))",
            ),
            (
                "relaxed_simd",
                "(module (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))",
            ),
            ("simd", "(module (func (drop (i32x4.splat (i32.const 0)))))"),
            ("custom_page_sizes", "(module (memory 1 (pagesize 1)))"),
        ];
        for (name, text) in cases {
            let mut config = Config::new();
            config.set_knob(&format!("wasm_{name}"), "false").unwrap();
            if name == "function_references" {
                config.wasm_gc(false);
            }
            let engine = Engine::new(&config).unwrap();
            let error = Module::validate(&engine, &wat::parse_str(text).unwrap()).unwrap_err();
            let advice = bad(&error).unwrap_or_default();
            assert_eq!(
                advice,
                format!("`-W {name}` switches the proposal on"),
                "{error:#}"
            );
        }
        let engine = Engine::default();
        let invalid = wat::parse_str("(module (func (result i32)))").unwrap();
        assert_eq!(bad(&Module::validate(&engine, &invalid).unwrap_err()), None);
    }
}
