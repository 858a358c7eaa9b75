//! Counts lines of the kernel's log, of any level, that hold a pattern.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use crate::init;
use bondlab_core::net::pattern::found_in;

const KMSG: &str = "/dev/kmsg";
/// A record is not longer (PRINTK_MESSAGE_MAX and its properties).
const RECORD_BYTES_MAX: usize = 8192;
/// Records that are read at one look; far more than a trial has.
const RECORDS_MAX: usize = 100_000;

/// The log from one moment on, and how many of its lines hold each pattern.
pub struct LogLines {
    file: File,
    counts: BTreeMap<String, u64>,
    /// Records were overwritten before they were read: the number of lines is unknown.
    is_cut: bool,
}

impl LogLines {
    /// Counts from here on. None without patterns, on a kernel that others use as well, and on one that does not show its log.
    pub fn start(patterns: impl Iterator<Item = String>) -> Option<Self> {
        let counts: BTreeMap<String, u64> = patterns.map(|pattern| (pattern, 0)).collect();
        if counts.is_empty() || !init::is_machine() {
            return None;
        }
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(KMSG).ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self { file, counts, is_cut: false })
    }

    /// Lines that hold this, up to now; none where some were lost.
    pub fn count(&mut self, pattern: &str) -> Option<u64> {
        self.catch_up();
        self.counts.get(pattern).copied().filter(|_| !self.is_cut)
    }

    fn catch_up(&mut self) {
        let mut record = vec![0; RECORD_BYTES_MAX];
        for _ in 0..RECORDS_MAX {
            match self.file.read(&mut record) {
                Ok(0) => return,
                Ok(bytes) => take(&String::from_utf8_lossy(&record[..bytes]), &mut self.counts),
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => self.is_cut = true,
                Err(_) => {
                    self.is_cut = true;
                    return;
                }
            }
        }
    }
}

/// Takes in a record, `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`; lines below it are its properties. Priorities from 8 on are of others
/// that have written to the log.
fn take(record: &str, counts: &mut BTreeMap<String, u64>) {
    let Some((head, text)) = record.split_once(';') else { return };
    let priority: Option<u32> = head.split(',').next().and_then(|priority| priority.parse().ok());
    if priority.is_none_or(|priority| priority >= 8) {
        return;
    }
    let line = text.lines().next().unwrap_or_default();
    for (pattern, count) in counts {
        if found_in(pattern, line) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_counted_by_pattern() {
        let mut counts: BTreeMap<String, u64> = [("link * down".to_owned(), 0), ("p1".into(), 0)].into();
        for record in [
            "6,1,2,-;bond0: (slave p0): link status definitely down\n SUBSYSTEM=p1",
            "4,2,3,-;bond0: (slave p1): link status definitely down",
            "14,3,4,-;a program says p1 link is down",
            "no record of p1",
        ] {
            take(record, &mut counts);
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [2, 1]);
    }
}
