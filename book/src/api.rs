//! What the documentation of the API has a page for, as rustdoc wrote it.

use anyhow::{Context, Result};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The crates whose items are named in the book. What comes first is meant if a name is in several.
const CRATES: [&str; 2] = ["cowling", "cowling_wasi"];

/// One type, trait, function or macro.
#[derive(Default)]
struct Item {
    /// Its page, relative to the folder of the documentation.
    page: String,
    /// The identifiers of parts of its page: `method.call`, `variant.Yielded`.
    ids: BTreeSet<String>,
}

/// What a name stands for.
#[derive(Debug, PartialEq)]
pub(crate) enum Meaning {
    /// An item, or a part of one, described there, relative to the folder of the documentation.
    Page(String),
    /// A part that a type of the API does not have.
    Missing,
    /// Nothing of the API.
    Foreign,
}

/// The public items of the API.
#[derive(Default)]
pub(crate) struct Api {
    items: BTreeMap<String, Item>,
}

impl Api {
    /// Reads what rustdoc wrote into a folder.
    pub(crate) fn read(folder: &Path) -> Result<Api> {
        let page = Regex::new(r"^(struct|enum|trait|type|union|macro|fn|constant)\.(\w+)\.html$")?;
        let elsewhere = Regex::new(
            r#"href="\.\./(cowling_\w+/(?:[\w/]+/)?(?:struct|enum|trait|type|fn|constant)\.(\w+)\.html)""#,
        )?;
        let mut api = Api::default();
        for name in CRATES {
            let root = folder.join(name);
            let index = fs::read_to_string(root.join("index.html")).with_context(|| {
                format!(
                    "{} is not there: `cargo doc --workspace --no-deps` writes it",
                    root.display()
                )
            })?;
            let mut folders = vec![name.to_string()];
            while let Some(inside) = folders.pop() {
                let mut entries: Vec<_> =
                    fs::read_dir(folder.join(&inside))?.collect::<Result<_, _>>()?;
                entries.sort_by_key(fs::DirEntry::file_name);
                for entry in entries {
                    let file = entry.file_name().to_string_lossy().into_owned();
                    if entry.file_type()?.is_dir() {
                        folders.push(format!("{inside}/{file}"));
                    } else if let Some(found) = page.captures(&file) {
                        api.add(folder, &found[2], format!("{inside}/{file}"))?;
                    }
                }
            }
            // Items of our other crates that this one re-exports.
            for found in elsewhere.captures_iter(&index) {
                api.add(folder, &found[2], found[1].to_string())?;
            }
        }
        Ok(api)
    }

    fn add(&mut self, folder: &Path, name: &str, page: String) -> Result<()> {
        if self.items.contains_key(name) {
            return Ok(());
        }
        let ids = Regex::new(
            r#"id="((?:method|tymethod|variant|structfield|associatedconstant|associatedtype)\.\w+)""#,
        )?;
        let text = fs::read_to_string(folder.join(&page))?;
        let ids = ids
            .captures_iter(&text)
            .map(|found| found[1].to_string())
            .collect();
        self.items.insert(name.to_string(), Item { page, ids });
        Ok(())
    }

    /// What some inline code stands for: `Store`, `Store::set_fuel`, `State::Yielded`, `Store::set_fuel(100)`, `Val::I32(1)`.
    pub(crate) fn meaning(&self, code: &str) -> Meaning {
        let path = code.split(['(', '<']).next().unwrap_or_default();
        let generic = code.len() > path.len() && !code.ends_with([')', '>']);
        if generic || !path.starts_with(|first: char| first.is_ascii_uppercase()) {
            return Meaning::Foreign;
        }
        let (item, part) = match path.split_once("::") {
            Some((item, part)) => (item, Some(part)),
            None => (path, None),
        };
        let Some(item) = self.items.get(item) else {
            return Meaning::Foreign;
        };
        let Some(part) = part.filter(|part| !part.is_empty()) else {
            return Meaning::Page(item.page.clone());
        };
        let kinds = [
            "method",
            "tymethod",
            "variant",
            "structfield",
            "associatedconstant",
            "associatedtype",
        ];
        let id = kinds
            .iter()
            .map(|kind| format!("{kind}.{part}"))
            .find(|id| item.ids.contains(id));
        match id {
            Some(id) => Meaning::Page(format!("{}#{id}", item.page)),
            None => Meaning::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_api_are_found_and_parts_that_are_not_there_noticed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        for name in ["cowling/guest", "cowling_wasi", "cowling_vm"] {
            fs::create_dir_all(folder.path().join(name))?;
        }
        for (page, text) in [
            (
                "cowling/index.html",
                r#"<a href="../cowling_vm/struct.FrameInfo.html">"#,
            ),
            ("cowling/struct.Store.html", r#"<section id="method.new">"#),
            (
                "cowling/guest/enum.State.html",
                r#"<section id="variant.Ready">"#,
            ),
            (
                "cowling_vm/struct.FrameInfo.html",
                r#"<section id="method.module">"#,
            ),
            ("cowling_vm/struct.Hidden.html", ""),
            ("cowling_wasi/index.html", ""),
            ("cowling_wasi/struct.Store.html", ""),
        ] {
            fs::write(folder.path().join(page), text)?;
        }
        let api = Api::read(folder.path())?;
        let page = |page: &str| Meaning::Page(page.to_string());
        for (code, meaning) in [
            ("Store", page("cowling/struct.Store.html")),
            ("Store<T>", page("cowling/struct.Store.html")),
            ("Store::new", page("cowling/struct.Store.html#method.new")),
            (
                "Store::new(&engine, 1)",
                page("cowling/struct.Store.html#method.new"),
            ),
            (
                "State::Ready",
                page("cowling/guest/enum.State.html#variant.Ready"),
            ),
            (
                "FrameInfo::module",
                page("cowling_vm/struct.FrameInfo.html#method.module"),
            ),
            ("Store::old", Meaning::Missing),
            ("Hidden", Meaning::Foreign),
            ("Option::Some", Meaning::Foreign),
            ("Store::new(1).call()?", Meaning::Foreign),
            ("store", Meaning::Foreign),
            ("", Meaning::Foreign),
        ] {
            assert_eq!(api.meaning(code), meaning, "{code}");
        }
        Ok(())
    }
}
