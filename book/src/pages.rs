//! What is done to the pages before they are rendered.

use crate::api::{Api, Meaning};
use anyhow::{Context, Result, bail, ensure};
use mdbook_driver::book::{Book, BookItem};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;
use std::fs;
use std::path::{Path, PathBuf};

/// Includes code, and makes links of the names of API items.
pub(crate) struct Pages {
    source: PathBuf,
    api: Api,
}

impl Pages {
    /// For pages in this folder, which are about that API.
    pub(crate) fn new(source: PathBuf, api: Api) -> Pages {
        Pages { source, api }
    }
}

impl Preprocessor for Pages {
    fn name(&self) -> &str {
        "pages"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        let mut problems = Vec::new();
        book.for_each_mut(|item| {
            let BookItem::Chapter(chapter) = item else {
                return;
            };
            let Some(path) = &chapter.path else {
                return;
            };
            let content = include(&self.source.join(path), &chapter.content)
                .and_then(|content| link(path, &content, &self.api));
            match content {
                Ok(content) => chapter.content = content,
                Err(error) => problems.push(format!("{}: {error:#}", path.display())),
            }
        });
        if !problems.is_empty() {
            bail!("{}", problems.join("\n"));
        }
        Ok(book)
    }
}

/// Puts the code where a page says `{{#include file}}` or `{{#include file:anchor}}`.
pub(crate) fn include(page: &Path, content: &str) -> Result<String> {
    let directive = Regex::new(r"\{\{#include ([^:}]+?)(?::([\w-]+))?\}\}")?;
    let mut result = String::new();
    let mut end = 0;
    for found in directive.captures_iter(content) {
        let whole = found.get(0).context("a match has a text")?;
        let file = page.parent().unwrap_or(Path::new("")).join(&found[1]);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{}: {}", &whole.as_str(), file.display()))?;
        let anchor = found.get(2).map(|anchor| anchor.as_str());
        result += &content[end..whole.start()];
        result += &lines(&text, anchor).with_context(|| whole.as_str().to_string())?;
        end = whole.end();
    }
    result += &content[end..];
    ensure!(
        !result.contains("{{#"),
        "there is a directive that is no include"
    );
    Ok(result)
}

/// The lines of an anchor, or all, without the lines that name anchors and without the indentation that they share.
fn lines(text: &str, anchor: Option<&str>) -> Result<String> {
    let is = |line: &str, mark: &str, name: &str| {
        line.trim().strip_prefix("//").map(str::trim) == Some(format!("{mark}: {name}").as_str())
    };
    let mut inside = anchor.is_none();
    let (mut begun, mut ended) = (inside, inside);
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(anchor) = anchor {
            if is(line, "ANCHOR", anchor) {
                ensure!(!inside, "the anchor {anchor:?} begins twice");
                (inside, begun) = (true, true);
                continue;
            }
            if is(line, "ANCHOR_END", anchor) {
                ensure!(inside, "the anchor {anchor:?} ends before it begins");
                (inside, ended) = (false, true);
                continue;
            }
        }
        if inside && !line.trim().starts_with("// ANCHOR") {
            lines.push(line);
        }
    }
    if let Some(anchor) = anchor {
        ensure!(begun, "there is no anchor {anchor:?}");
        ensure!(ended && !inside, "the anchor {anchor:?} has no end");
        ensure!(!lines.is_empty(), "the anchor {anchor:?} has no lines");
    }
    let indentation = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min();
    let indentation = indentation.unwrap_or_default();
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.get(indentation..).unwrap_or(""))
        .collect();
    Ok(lines.join("\n"))
}

/// Makes links of inline code that names an item of the API, unless it is in a heading or a link.
fn link(page: &Path, content: &str, api: &Api) -> Result<String> {
    let up = "../".repeat(page.components().count());
    let mut result = String::new();
    let mut missing = Vec::new();
    let mut end = 0;
    let mut closed: usize = 0;
    for (event, range) in Parser::new_ext(content, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. } | Tag::Link { .. }) => closed += 1,
            Event::End(TagEnd::Heading(_) | TagEnd::Link) => closed -= 1,
            Event::Code(code) => match api.meaning(&code) {
                Meaning::Page(target) if closed == 0 => {
                    result += &content[end..range.start];
                    result += &format!("[{}]({up}doc/{target})", &content[range.clone()]);
                    end = range.end;
                }
                Meaning::Missing => missing.push(code.into_string()),
                Meaning::Page(_) | Meaning::Foreign => {}
            },
            _ => {}
        }
    }
    ensure!(missing.is_empty(), "not in the API: {}", missing.join(", "));
    result += &content[end..];
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "use a;\nfn main() {\n    // ANCHOR: all\n    one();\n    // ANCHOR: two\n    if two() {\n        three();\n    }\n    // ANCHOR_END: two\n    // ANCHOR_END: all\n}\n// ANCHOR: open\n";

    #[test]
    fn an_anchor_is_included_without_its_indentation_and_without_other_anchors() -> Result<()> {
        for (anchor, expected) in [
            (Some("two"), "if two() {\n    three();\n}"),
            (Some("all"), "one();\nif two() {\n    three();\n}"),
            (
                None,
                "use a;\nfn main() {\n    one();\n    if two() {\n        three();\n    }\n}",
            ),
        ] {
            assert_eq!(lines(EXAMPLE, anchor)?, expected);
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_included_is_an_error_that_names_it() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("example.rs"), EXAMPLE)?;
        let page = folder.path().join("page.md");
        assert_eq!(
            include(&page, "a {{#include example.rs:all}} b")?
                .lines()
                .count(),
            4
        );
        for (content, named) in [
            ("{{#include example.rs:three}}", "no anchor \"three\""),
            ("{{#include example.rs:open}}", "\"open\" has no end"),
            ("{{#include other.rs}}", "other.rs"),
            ("{{#playground example.rs}}", "no include"),
        ] {
            let error = format!("{:#}", include(&page, content).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
        Ok(())
    }
}
