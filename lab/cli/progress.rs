//! What a download shows: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use lab::host::download::DownloadEvent;

/// Shows downloads on standard error.
pub struct Downloads {
    why: &'static str,
    bar: Option<ProgressBar>,
}

impl Downloads {
    /// `why` says what the packages are for.
    pub fn new(why: &'static str) -> Self {
        Self { why, bar: None }
    }

    /// Shows one event.
    pub fn show(&mut self, event: DownloadEvent<'_>) {
        match event {
            DownloadEvent::Waiting { kernel } => eprintln!("waiting for another lab that fetches {kernel}"),
            DownloadEvent::Started { package, size } => {
                eprintln!("fetching {package} ({} MB): {}", size / 1_000_000, self.why);
                self.bar = std::io::stderr().is_terminal().then(|| bar(size));
            }
            DownloadEvent::Progress { received, .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(received);
                }
            }
            DownloadEvent::Verified { package } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                eprintln!("verified {package}: its SHA-256 is the pinned one");
            }
            DownloadEvent::Unpacking { kernel } => eprintln!("unpacking kernel {kernel}"),
        }
    }
}

fn bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .expect("the template is constant and valid");
    ProgressBar::new(size).with_style(style)
}
