//! What a download or a matrix shows while it runs: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use bondlab_host::kernel::download::DownloadEvent;
use indicatif::{ProgressBar, ProgressStyle};

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
            DownloadEvent::Building { module } => eprintln!("building {module}"),
            DownloadEvent::Unpacking { kernel } => eprintln!("unpacking kernel {kernel}"),
        }
    }
}

fn bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .expect("the template is constant and valid");
    ProgressBar::new(size).with_style(style)
}

/// Shows the items of a matrix on standard error.
pub struct Items {
    names: Vec<String>,
    running: Vec<usize>,
    bad: usize,
    bar: Option<ProgressBar>,
}

impl Items {
    /// `what` is done to each of these.
    pub fn new(what: &str, names: Vec<String>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = format!("{what} {{bar:20}} {{pos}}/{{len}} {{elapsed}} {{wide_msg}}");
            let style = ProgressStyle::with_template(&template).expect("the template is constant and valid");
            let bar = ProgressBar::new(names.len() as u64).with_style(style);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { names, running: Vec::new(), bad: 0, bar }
    }

    /// One is taken up.
    pub fn started(&mut self, index: usize) {
        self.running.push(index);
        self.show();
    }

    /// One is done; the line is kept where there is no terminal, or where it is not as expected.
    pub fn finished(&mut self, index: usize, word: &str, seconds: f64, is_good: bool) {
        self.running.retain(|running| *running != index);
        self.bad += usize::from(!is_good);
        let line = format!("{}  {word}  {seconds:.2} s", self.names[index]);
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                if !is_good {
                    bar.println(line);
                }
                self.show();
            }
            None => eprintln!("{line}"),
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            let running: Vec<&str> = self.running.iter().map(|index| self.names[*index].trim_end()).collect();
            let bad = if self.bad > 0 { format!("{} not as expected; ", self.bad) } else { String::new() };
            bar.set_message(format!("{bad}{}", running.join(", ")));
        }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
