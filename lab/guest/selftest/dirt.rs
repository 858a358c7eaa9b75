//! Leaves in a guest whatever a run could leave behind, so that a test can look for it in the next copy of the machine.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};

/// Settings of the initial namespace and of the whole kernel, and a bond that is in no topology. As far as they are there:
/// what matters is that some are, which the answer says.
const WRITES: [(&str, &str); 8] = [
    // Every later root queueing discipline would be another one.
    ("/proc/sys/net/core/default_qdisc", "pfifo_fast"),
    ("/proc/sys/net/core/rmem_max", "2304"),
    ("/proc/sys/net/ipv4/conf/default/arp_ignore", "8"),
    ("/proc/sys/net/ipv4/conf/default/forwarding", "1"),
    ("/proc/sys/kernel/hostname", "dirty"),
    ("/proc/sys/kernel/panic_on_warn", "1"),
    ("/proc/sys/vm/overcommit_memory", "2"),
    ("/sys/class/net/bonding_masters", "+dirty0"),
];

/// A program that is not there any more is as dirty as one too many.
const DELETED: &str = "/init";

/// Of the guest's memory.
const FILE_BYTES: usize = 32 * 1024 * 1024;

/// Makes everything dirty; returns what was done.
///
/// # Errors
/// When a file or a mount is refused.
pub fn spread() -> io::Result<Vec<String>> {
    let mut done = vec!["/tmp/dirt".to_owned(), "/tmp/dirty-mount".to_owned()];
    fs::write("/tmp/dirt", vec![0xd1; FILE_BYTES])?;
    fs::create_dir("/tmp/dirty-mount")?;
    mount(Some("none"), "/tmp/dirty-mount", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    for (path, value) in WRITES {
        if fs::write(path, value).is_ok() {
            done.push(path.to_owned());
        }
    }
    if Path::new(DELETED).exists() {
        fs::remove_file(DELETED)?;
        done.push(DELETED.to_owned());
    }
    Ok(done)
}
