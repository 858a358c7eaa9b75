//! One text of what a machine's network shows: sections that are a command and its output, in Markdown's fences, so that `import` reads
//! the outputs, and no heading is taken for one.

pub(crate) mod addresses;
pub mod mask;

use std::fmt::Write;

use crate::net::clean;

/// The same as a POSIX shell script that needs `ip` and `cat`.
pub const SCRIPT: &str = include_str!("capture/script.sh");

/// What one section has at the most, in bytes; `ethtool -S` of a NIC with many queues has 100 KB.
pub const SECTION_BYTES_MAX: usize = 512 * 1024;
/// What all have together, in bytes: as much as `import` reads of one source.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

const FENCE: &str = "```";

/// Commands whose outputs are taken, the ones without which there is nothing first.
pub const COMMANDS: &[&[&str]] = &[
    &["ip", "-s", "-s", "-d", "link"],
    &["ip", "-d", "address"],
    &["ip", "route"],
    &["ip", "-6", "route"],
    &["ip", "rule"],
    &["ip", "-6", "rule"],
    &["ip", "neigh"],
    &["tc", "-s", "qdisc"],
    &["bridge", "-d", "link"],
    &["bridge", "vlan"],
    &["nft", "list", "ruleset"],
    &["bpftool", "net"],
];

/// Commands for each NIC.
pub const OF_NIC: &[&[&str]] = &[&["ethtool", "-i"], &["ethtool", "-k"], &["ethtool", "-S"]];

/// Files that are taken, and folders with all their files; with what it means if one is not there.
pub const FILES: &[(&str, &str)] = &[
    ("/proc/sys/kernel/osrelease", "this is not Linux's procfs"),
    ("/proc/net/bonding", "the kernel has no bonding driver, or it is not loaded"),
    ("/proc/net/vlan", "the kernel has no 8021q driver, or it is not loaded"),
];

/// A text while it is written.
#[derive(Debug, Default)]
pub struct Capture {
    text: String,
    not_seen: Vec<String>,
}

impl Capture {
    /// Begins with the kernel's release, as `uname -r` prints it.
    pub fn new(release: &str) -> Self {
        let text = format!("### lab capture on kernel release {}\n", clean::line(release.trim()));
        Self { text, not_seen: Vec::new() }
    }

    /// Adds a command's or a file's text. What is too long is cut at a line, and said.
    pub fn section(&mut self, heading: &str, output: &str) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len() + SECTION_BYTES_MAX / 8);
        let shown = cut(output, SECTION_BYTES_MAX.min(room));
        if shown.len() < output.len() {
            self.not_seen(
                heading,
                &format!("{} of {} bytes are left out", output.len() - shown.len(), output.len()),
            );
        }
        // A fence inside would end the section.
        let shown = clean::lines(shown).replace(FENCE, "'''");
        let _ = writeln!(self.text, "\n### {}\n{FENCE}\n{}\n{FENCE}", clean::line(heading), shown.trim_end());
    }

    /// Says what could not be seen, and why.
    pub fn not_seen(&mut self, what: &str, why: &str) {
        self.not_seen.push(clean::line(&format!("{what}: {why}")).into_owned());
    }

    /// What could not be seen so far.
    pub fn missing(&self) -> &[String] {
        &self.not_seen
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        let not_seen = if self.not_seen.is_empty() { vec!["nothing".to_owned()] } else { self.not_seen };
        let _ = writeln!(self.text, "\n### not seen\n{FENCE}");
        for line in not_seen.iter().take(200) {
            let _ = writeln!(self.text, "{line}");
        }
        let _ = writeln!(self.text, "{FENCE}");
        self.text
    }
}

/// The lines of a text that fit.
fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].rfind('\n').map_or("", |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_cut_at_a_line_and_that_is_said() {
        let mut capture = Capture::new("6.12.57");
        capture.section("ethtool -S eth0", &"rx_queue_0_packets: 1\n".repeat(40_000));
        assert_eq!(capture.missing().len(), 1);
        let text = capture.finish();
        assert!(text.len() < SECTION_BYTES_MAX + 1000);
        assert!(text.contains("ethtool -S eth0: "), "{}", &text[text.len() - 200..]);
        assert!(text.lines().all(|line| !line.starts_with("rx_") || line == "rx_queue_0_packets: 1"));
    }

    #[test]
    fn an_output_does_not_leave_its_section() {
        let mut capture = Capture::new("6.12.57\n### x");
        capture.section("ip link", "a\n```\n### ip link\n\u{1b}[2J");
        let text = capture.finish();
        assert_eq!(text.matches(FENCE).count(), 4, "{text}");
        assert!(!text.contains('\u{1b}'));
        assert_eq!(
            text.lines().filter(|line| line.starts_with("### ")).count(),
            4,
            "one is inside a fence: {text}"
        );
    }
}
