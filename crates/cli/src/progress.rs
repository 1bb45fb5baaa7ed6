//! A bar on the terminal while a large module compiles.

use cowling::Config;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A compilation shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// Shows the progress of compilations of `config`'s engine on the standard error, if that is a terminal.
pub(crate) fn show(config: &mut Config) {
    if !stderr().is_terminal() {
        return;
    }
    let progress = Arc::new(Progress::default());
    config.compile_progress(move |done, total| progress.update(done, total));
}

#[derive(Default)]
struct Progress {
    started: OnceLock<Instant>,
    bar: OnceLock<ProgressBar>,
    /// Reports come from several threads and may overtake each other.
    furthest: AtomicU64,
}

impl Progress {
    fn update(&self, done: u64, total: u64) {
        let started = self.started.get_or_init(Instant::now);
        if started.elapsed() < PATIENCE {
            return;
        }
        let furthest = self.furthest.fetch_max(done, Ordering::Relaxed).max(done);
        let bar = self.bar.get_or_init(|| {
            let style = ProgressStyle::with_template("compiling [{bar:40}] {pos}/{len} functions");
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar
        });
        bar.set_position(furthest);
        if furthest >= total {
            bar.finish_and_clear();
        }
    }
}
