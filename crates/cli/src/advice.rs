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
        return proposal(message, error);
    }
    if let Some(LoadError::Header(header)) = error.downcast_ref() {
        return artifact(header);
    }
    None
}

/// A proposal that the binary uses and that is switched off.
fn proposal(message: &str, error: &Error) -> Option<String> {
    if !message.contains("not enabled") && !message.contains("disabled") {
        return None;
    }
    let said = format!("{error:#}").to_lowercase();
    let (name, _) = args::proposals().find(|(name, _)| {
        let words = name.replace('_', " ");
        said.contains(&words) || said.contains(&name.replace('_', "-")) || said.contains(name)
    })?;
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
