//! What somebody who misspelt a name may have meant.

use std::path::Path;

/// `; did you mean ...?`, if there is something that resembles `name`.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match closest(name, known) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => String::new(),
    }
}

/// The name that takes the fewest changes, if these are few for its length.
fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    let distances = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, closest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= allowed).then_some(closest)
}

/// A file in the same directory that `path`, which is not there, resembles in its name, or has but for the extension.
pub(crate) fn similar_file(path: &Path) -> Option<String> {
    /// Who has more files than this in a directory does not want to wait for a suggestion.
    const LOOKED_AT: usize = 10_000;
    let wanted = path.file_name()?.to_str()?;
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = dir.read_dir().ok()?.take(LOOKED_AT).flatten();
    let names: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let runnable = |name: &&str| {
        let path = Path::new(name);
        let extension = path.extension().and_then(|e| e.to_str());
        path.file_stem() == Path::new(wanted).file_stem()
            && matches!(extension, Some("wasm" | "wat" | "cowling"))
    };
    let names = || names.iter().map(String::as_str);
    let found = closest(wanted, names()).or_else(|| names().find(runnable))?;
    Some(path.with_file_name(found).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_few_changes_is_suggested() {
        let known = ["compile", "validate", "run"];
        let cases = [
            ("compil", Some("compile")),
            ("compiel", Some("compile")),
            ("rnu", Some("run")),
            ("xyz", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(closest(name, known), expected, "{name}");
        }
        assert_eq!(did_you_mean("runn", known), "; did you mean `run`?");
    }

    #[test]
    fn files_next_to_the_missing_one_are_suggested() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["queens.wasm", "torus.wat"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let similar = |name: &str| {
            let found = similar_file(&dir.path().join(name))?;
            Some(Path::new(&found).file_name()?.to_str()?.to_string())
        };
        assert_eq!(similar("quens.wasm").as_deref(), Some("queens.wasm"));
        assert_eq!(similar("torus").as_deref(), Some("torus.wat"));
        assert_eq!(similar("something else"), None);
    }
}
