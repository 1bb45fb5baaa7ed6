//! Builds the book in `docs/` and checks it.
//!
//! ```sh
//! cargo doc --workspace --no-deps                    # once: the book links to the API's documentation
//! cargo run --manifest-path book/Cargo.toml          # writes target/book/index.html
//! ```
//!
//! The renderer is mdBook, as a library. What is added to it: code is included without the indentation that it has in its example,
//! and names of API items become links ([`pages`], [`api`]). What is checked: that nothing warns, that every page is in the
//! summary, that what pages include is there, that every link leads somewhere, and that code in pages is compiled ([`check`]).

mod api;
mod check;
mod pages;

use anyhow::{Context, Result, ensure};
use mdbook_driver::{MDBook, config::Config};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing_subscriber::layer::SubscriberExt;

/// How many warnings and errors the renderer has reported.
static WARNINGS: AtomicUsize = AtomicUsize::new(0);

/// Counts warnings and errors.
struct Count;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Count {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if *event.metadata().level() <= tracing::Level::WARN {
            WARNINGS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn main() -> Result<()> {
    let printer = tracing_subscriber::fmt::layer()
        .without_time()
        .with_writer(std::io::stderr);
    let quiet = tracing_subscriber::filter::LevelFilter::WARN;
    tracing::subscriber::set_global_default(
        tracing_subscriber::registry()
            .with(quiet)
            .with(printer)
            .with(Count),
    )?;

    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the book lies in a repository")?;
    let target = target_directory(root)?;
    let output = target.join("book");
    let api = api::Api::read(&target.join("doc"))?;

    let mut config = Config::from_disk(root.join("book/book.toml"))?;
    config.build.build_dir = output.clone();
    // Ours includes files; an include that is not there is an error.
    config.build.use_default_preprocessors = false;
    let mut book = MDBook::load_with_config(root.join("book"), config)?;
    let chapters = check::chapters(&book);
    book.with_preprocessor(pages::Pages::new(root.join("docs"), api));
    book.build()?;

    let mut problems = check::pages(root, &chapters)?;
    problems.extend(check::links(&output)?);
    for file in [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "examples/README.md",
        "guests/README.md",
        "bench/README.md",
    ] {
        problems.extend(check::repository_links(root, Path::new(file))?);
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    let warnings = WARNINGS.load(Ordering::Relaxed);
    ensure!(
        problems.is_empty(),
        "the book has {} problems",
        problems.len()
    );
    ensure!(
        warnings == 0,
        "the renderer has reported {warnings} warnings"
    );
    println!(
        "{} pages: {}",
        chapters.len(),
        output.join("index.html").display()
    );
    Ok(())
}

/// Where Cargo puts what it builds from this repository.
fn target_directory(root: &Path) -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let directory = metadata["target_directory"]
        .as_str()
        .context("cargo metadata has no target_directory")?;
    Ok(directory.into())
}
