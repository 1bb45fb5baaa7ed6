//! The README says what is so.

use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(path),
    )
    .expect("a file of the repository")
}

/// The lines between the first fence that starts with `opening` and the one that closes it.
fn fenced<'a>(lines: impl Iterator<Item = &'a str>, opening: &str) -> Vec<&'a str> {
    lines
        .skip_while(|line| *line != opening)
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .collect()
}

#[test]
fn its_example_is_the_one_that_the_library_documents_and_tests() {
    let (readme, library) = (read("README.md"), read("crates/cowling/src/lib.rs"));
    let documentation = library
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    let tested: Vec<_> = fenced(documentation, "```")
        .into_iter()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let shown = fenced(readme.lines(), "```rust");
    assert!(shown.len() > 10, "{shown:?}");
    assert_eq!(shown, tested);
}
