//! What is checked of the pages and of the book that was built of them.

use anyhow::{Context, Result};
use mdbook_driver::{MDBook, book::BookItem};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The file whose documentation tests compile the code of pages.
const COMPILED: &str = "examples/book.rs";

/// The pages that are in the summary, relative to the folder of pages.
pub(crate) fn chapters(book: &MDBook) -> BTreeSet<PathBuf> {
    book.iter()
        .filter_map(|item| match item {
            BookItem::Chapter(chapter) => chapter.path.clone(),
            _ => None,
        })
        .collect()
}

/// What is wrong with the pages themselves: one that is not in the summary, code that nothing compiles.
pub(crate) fn pages(root: &Path, chapters: &BTreeSet<PathBuf>) -> Result<Vec<String>> {
    let docs = root.join("docs");
    let compiled = fs::read_to_string(root.join(COMPILED)).context(COMPILED)?;
    let mut problems = Vec::new();
    for file in files(&docs, "md")? {
        let page = file.strip_prefix(&docs)?;
        if page == Path::new("SUMMARY.md") {
            continue;
        }
        let name = page.display();
        if !chapters.contains(page) {
            problems.push(format!("docs/{name} is not in docs/SUMMARY.md"));
        }
        let text = fs::read_to_string(&file)?;
        let tested = compiled.contains(&format!("include_str!(\"../docs/{name}\")"));
        problems.extend(
            code(&text, tested)
                .into_iter()
                .map(|problem| format!("docs/{name}: {problem}")),
        );
    }
    Ok(problems)
}

/// What is wrong with the code of a page, which is tested as documentation of a crate or is not.
fn code(text: &str, tested: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut language = None;
    let mut block = String::new();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                language = Some(info.to_string())
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                problems
                    .push("a block of code that does not say in what language it is".to_string());
            }
            Event::Text(text) if language.is_some() => block += &text,
            Event::End(TagEnd::CodeBlock) => {
                let Some(language) = language.take() else {
                    continue;
                };
                let code = std::mem::take(&mut block);
                let first = code.lines().next().unwrap_or_default();
                let included = code.lines().all(|line| line.starts_with("{{#include "));
                let problem = match language.as_str() {
                    "" => "does not say in what language it is",
                    "rust,ignore" if !included => {
                        "is ignored by tests, so it has to be nothing but includes"
                    }
                    "rust" if included => "has includes, so it has to be `rust,ignore`",
                    "rust" if !tested => {
                        "is not compiled: include it from an example, or add the page to examples/book.rs"
                    }
                    "rust" | "rust,ignore" => continue,
                    other if other.starts_with("rust") && !tested => "is not compiled",
                    _ => continue,
                };
                problems.push(format!("the block that begins with {first:?} {problem}"));
            }
            _ => {}
        }
    }
    problems
}

/// Links of the built book that lead nowhere, within it or into the API's documentation beside it.
pub(crate) fn links(output: &Path) -> Result<Vec<String>> {
    let mut ids = Ids::default();
    let mut problems = Vec::new();
    let link = Regex::new(r#"\s(?:href|src)="([^"]*)""#)?;
    for file in files(output, "html")? {
        let text = fs::read_to_string(&file)?;
        let broken: BTreeSet<&str> = link
            .captures_iter(&text)
            .filter_map(|found| found.get(1).map(|target| target.as_str()))
            .filter(|target| !ids.leads_somewhere(&file, target))
            .collect();
        let name = file.strip_prefix(output)?.display();
        problems.extend(
            broken
                .into_iter()
                .map(|target| format!("{name}: a link to {target}, which is not there")),
        );
    }
    Ok(problems)
}

/// Links in a file of the repository to others of its files that are not there.
pub(crate) fn repository_links(root: &Path, file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(file)).with_context(|| file.display().to_string())?;
    let folder = root.join(file);
    let folder = folder.parent().unwrap_or(root);
    let links = Parser::new_ext(&text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url),
        _ => None,
    });
    let broken = links.filter(|link| {
        let path = link.split('#').next().unwrap_or_default();
        !is_elsewhere(link) && !path.is_empty() && !folder.join(path).exists()
    });
    Ok(broken
        .map(|link| format!("{}: a link to {link}, which is not there", file.display()))
        .collect())
}

/// Whether a link leads to another site.
fn is_elsewhere(link: &str) -> bool {
    ["https://", "http://", "mailto:", "data:"]
        .iter()
        .any(|scheme| link.starts_with(scheme))
}

/// The identifiers in files, read once.
#[derive(Default)]
struct Ids(BTreeMap<PathBuf, Option<BTreeSet<String>>>);

impl Ids {
    fn leads_somewhere(&mut self, from: &Path, link: &str) -> bool {
        if is_elsewhere(link) || link.starts_with("javascript:") {
            return true;
        }
        let (path, id) = link.split_once('#').unwrap_or((link, ""));
        let path = path.split('?').next().unwrap_or_default();
        let file = match path {
            "" => from.to_path_buf(),
            path => normal(&from.parent().unwrap_or(Path::new("")).join(path)),
        };
        let ids = self.0.entry(file).or_insert_with_key(|file| {
            let text = match file.extension().is_some_and(|end| end == "html") {
                true => fs::read_to_string(file).ok()?,
                false => file.is_file().then(String::new)?,
            };
            let id = Regex::new(r#"\sid="([^"]*)""#).ok()?;
            Some(
                id.captures_iter(&text)
                    .map(|found| found[1].to_string())
                    .collect(),
            )
        });
        ids.as_ref()
            .is_some_and(|ids| id.is_empty() || ids.contains(id))
    }
}

/// A path without `..` in it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// The files below a folder whose names end so, in order.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_nothing_compiles_is_noticed() {
        for (text, tested, expected) in [
            ("```rust,ignore\n{{#include a.rs:b}}\n```", false, None),
            ("```text\nanything\n```", false, None),
            ("```rust\nlet x = 1;\n```", true, None),
            ("```rust\nlet x = 1;\n```", false, Some("is not compiled")),
            (
                "```rust,no_run\nlet x = 1;\n```",
                false,
                Some("is not compiled"),
            ),
            (
                "```rust,ignore\nlet x = 1;\n```",
                true,
                Some("nothing but includes"),
            ),
            (
                "```rust\n{{#include a.rs:b}}\n```",
                true,
                Some("has to be `rust,ignore`"),
            ),
            ("```\nanything\n```", true, Some("in what language")),
            ("text\n\n    indented\n", true, Some("in what language")),
        ] {
            let problems = code(text, tested);
            assert_eq!(
                problems.len(),
                usize::from(expected.is_some()),
                "{text}: {problems:?}"
            );
            if let Some(expected) = expected {
                assert!(problems[0].contains(expected), "{text}: {problems:?}");
            }
        }
    }

    #[test]
    fn a_page_that_is_not_in_the_summary_is_noticed() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("docs/more"))?;
        fs::create_dir_all(root.path().join("examples"))?;
        fs::write(
            root.path().join(COMPILED),
            "#[doc = include_str!(\"../docs/a.md\")]",
        )?;
        for (page, text) in [
            ("SUMMARY.md", ""),
            ("a.md", "```rust\nlet x = 1;\n```"),
            ("more/b.md", "```rust\nlet x = 1;\n```"),
        ] {
            fs::write(root.path().join("docs").join(page), text)?;
        }
        let problems = pages(root.path(), &[PathBuf::from("a.md")].into())?;
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!(problems[0], "docs/more/b.md is not in docs/SUMMARY.md");
        assert!(problems[1].starts_with("docs/more/b.md: "), "{problems:?}");
        Ok(())
    }

    #[test]
    fn links_that_lead_nowhere_are_noticed() -> Result<()> {
        let root = tempfile::tempdir()?;
        let book = root.path().join("book");
        fs::create_dir_all(book.join("inner"))?;
        fs::create_dir_all(root.path().join("doc"))?;
        fs::write(root.path().join("doc/item.html"), r#"<p id="method.new">"#)?;
        fs::write(book.join("style.css"), "")?;
        fs::write(
            book.join("a.html"),
            r##"<p id="here"> <a href="#here"> <a href="inner/b.html#there"> <a href="https://example.com/x">"##,
        )?;
        fs::write(
            book.join("inner/b.html"),
            r##"<p id="there"> <img src="../style.css"> <a href="../../doc/item.html#method.new">
                <a href="#gone"> <a href="../c.html"> <a href="../a.html#gone"> <a href="../../doc/item.html#method.old">"##,
        )?;
        let problems = links(&book)?;
        assert_eq!(problems.len(), 4, "{problems:?}");
        for (problem, target) in problems.iter().zip([
            "#gone",
            "../../doc/item.html#method.old",
            "../a.html#gone",
            "../c.html",
        ]) {
            assert!(
                problem.contains(&format!("inner/b.html: a link to {target},")),
                "{problem}"
            );
        }
        Ok(())
    }

    #[test]
    fn links_between_files_of_the_repository_are_checked() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("docs"))?;
        fs::write(
            root.path().join("README.md"),
            "[a](docs) [b](docs/gone.md#x) [c](https://example.com) [d](#here)",
        )?;
        let problems = repository_links(root.path(), Path::new("README.md"))?;
        assert_eq!(
            problems,
            ["README.md: a link to docs/gone.md#x, which is not there"]
        );
        Ok(())
    }
}
