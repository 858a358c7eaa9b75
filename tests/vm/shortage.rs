//! Whole runs on a machine that has too little: an error of the lab's, and no verdict on the kernel.

use std::fs::File;
use std::process::{Command, Stdio};

use bondlab_host::vm::qemu::{Qemu, VmSpec};

use crate::machine::LAB;
use crate::{KERNEL, Test, tests};

/// What is provoked, by name.
pub const TESTS: [(&str, Test); 2] =
    tests![too_few_descriptors_or_too_little_memory_is_no_verdict, a_full_standard_output_is_no_verdict];

const TOPOLOGY: &str = "topologies/vlan-over-bond-tx-drop.toml";
/// `EX_IOERR`.
const IO_ERROR: i32 = 74;

fn too_few_descriptors_or_too_little_memory_is_no_verdict(_: Qemu, _: VmSpec) {
    // KiB, for the lab and for QEMU.
    for limit in ["-n 12", "-v 300000"] {
        let script = format!("ulimit {limit}; exec \"$@\"");
        let run = [LAB, "run", TOPOLOGY, "--kernel", KERNEL];
        let output = Command::new("sh").args(["-c", &script, "sh"]).args(run).output().unwrap();
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
        // The lab's own shortage, or QEMU's.
        let is_error = output.status.code() == Some(IO_ERROR) || said.contains(": ERROR in ");
        assert!(is_error && !output.status.success(), "{limit}: {output:?}");
        for word in ["FAIL", "PASS", "panicked"] {
            assert!(!said.contains(word), "{limit}: {said}");
        }
    }
}

fn a_full_standard_output_is_no_verdict(_: Qemu, _: VmSpec) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let run = ["run", TOPOLOGY, "--kernel", KERNEL];
    let output = Command::new(LAB).args(run).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(IO_ERROR), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
}
