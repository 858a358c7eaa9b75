//! How much memory there is, and how much the guests hold.

use std::fs;

/// A guest of 256 MB, as measured, and what QEMU needs beside it.
pub const GUEST_BYTES: u64 = 300 * 1024 * 1024;

/// What new processes may take without swapping, as /proc/meminfo has it; `None` where it cannot be read.
pub fn available_bytes() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// The memory of all child processes, pages that several hold counted by share (Documentation/filesystems/proc.rst,
/// Pss).
pub fn children_bytes() -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let children =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<String> = children.collect();
    let pids = children.iter().flat_map(|pids| pids.split_whitespace());
    let bytes = |pid: &str| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        field(&rollup, "Pss:")
    };
    pids.filter_map(bytes).sum()
}

/// `Name:   123 kB` in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kilobytes() {
        let text = "MemTotal:   100 kB\nMemAvailable:    64 kB\nHuge: 3\n";
        assert_eq!(field(text, "MemAvailable:"), Some(65536));
        assert_eq!((field(text, "Huge:"), field(text, "Pss:")), (None, None));
    }
}
