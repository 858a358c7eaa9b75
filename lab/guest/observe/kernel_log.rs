//! Reads what the machine's kernel logs while a trial runs.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use crate::init;
use bondlab_core::net::kernel_log::KernelLog;

const KMSG: &str = "/dev/kmsg";
/// Lets what the kernel prints only once be printed once again (`clear_warn_once_set()`, kernel/panic.c): a trial says the
/// same whatever ran before it. What modules print only once is not covered.
const CLEAR_ONCE: &str = "/sys/kernel/debug/clear_warn_once";
/// A record is not longer (PRINTK_MESSAGE_MAX and its properties).
const RECORD_BYTES_MAX: usize = 8192;

/// Why the log of this kernel is not read, if it is not: other processes of a machine write to it, and make the kernel write.
pub fn obstacle() -> Option<String> {
    (!init::is_machine()).then(|| "other processes have a part in this one's".into())
}

/// The kernel's log from one moment on.
pub struct Reader {
    file: File,
}

impl Reader {
    /// What is logged from here on. None on a kernel that others use as well, or that does not show its log.
    pub fn start() -> Option<Self> {
        if obstacle().is_some() {
            return None;
        }
        // Kernels without debugfs print such lines in the first trial only.
        let _ = fs::write(CLEAR_ONCE, "1");
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(KMSG).ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self { file })
    }

    /// Everything up to now.
    pub fn finish(mut self) -> KernelLog {
        let mut log = KernelLog::default();
        let mut record = vec![0; RECORD_BYTES_MAX];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return log,
                Ok(bytes) => log.take(&String::from_utf8_lossy(&record[..bytes])),
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return log,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // Records were overwritten before they were read; reading goes on with those that are there.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => log.is_cut = true,
                Err(_) => {
                    log.is_cut = true;
                    return log;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topology that asks for the log is skipped there, and not judged by a log that was not read.
    #[test]
    fn the_log_of_a_machine_that_others_use_is_not_read() {
        assert!(obstacle().is_some() && Reader::start().is_none());
    }
}
