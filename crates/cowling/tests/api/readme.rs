//! The example that people see first.

const README: &str = include_str!("../../../../README.md");
const CRATE_DOCS: &str = include_str!("../../src/lib.rs");

/// The first block of Rust in some lines of Markdown, without lines that rustdoc hides.
fn example<'a>(lines: impl Iterator<Item = &'a str>, fence: &str) -> Vec<&'a str> {
    lines
        .skip_while(|line| *line != fence)
        .skip(1)
        .take_while(|line| *line != "```")
        .filter(|line| !line.starts_with("# "))
        .collect()
}

#[test]
fn the_readme_shows_the_example_that_the_crate_documentation_runs() {
    let docs = CRATE_DOCS
        .lines()
        .map_while(|line| line.strip_prefix("//!"));
    let docs = docs.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let shown = example(README.lines(), "```rust");
    assert_eq!(shown, example(docs, "```"));
    assert!(shown.len() > 10, "{shown:?}");
}
