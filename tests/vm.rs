//! Machines that really boot and really die.
//!
//! Needs QEMU and a kernel with virtio_console built in (6.12 on), named by LAB_TEST_VMLINUX. Without them each test
//! says why it is skipped; where CI is true that is a failure.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lab::guest::selftest;
use lab::host::qemu::{Qemu, VmSpec};
use lab::host::vm::{Next, Timeouts, Vm};

// Below a folder, or cargo would build each as a test program of its own.
#[path = "vm/deaths.rs"]
mod deaths;
#[path = "vm/warm.rs"]
mod warm;

/// The kernel, and an initramfs with nothing but the lab in it. The one place that knows where they come from.
fn kernel_and_initramfs() -> Result<(PathBuf, PathBuf), String> {
    static INITRAMFS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let vmlinux = std::env::var_os("LAB_TEST_VMLINUX").ok_or("LAB_TEST_VMLINUX names no kernel")?;
    let initramfs = INITRAMFS.get_or_init(|| match std::env::var_os("LAB_TEST_INITRAMFS") {
        Some(path) => Ok(path.into()),
        None => packed().map_err(|error| error.to_string()),
    });
    Ok((vmlinux.into(), initramfs.clone()?))
}

fn packed() -> std::io::Result<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let initramfs = dir.join("vm-test.cpio");
    let unfinished = tempfile::NamedTempFile::new_in(dir)?;
    pack(unfinished.as_file())?;
    unfinished.persist(&initramfs)?;
    Ok(initramfs)
}

fn pack(mut archive: &File) -> std::io::Result<()> {
    let lab = fs::read(env!("CARGO_BIN_EXE_lab"))?;
    let entry = cpio::newc::Builder::new("init").mode(0o100_755);
    let mut writer = entry.write(&mut archive, u32::try_from(lab.len()).expect("a binary is under 4 GiB"));
    writer.write_all(&lab)?;
    writer.finish()?;
    cpio::newc::trailer(archive)?;
    Ok(())
}

/// What a test needs, or a reason to skip it.
fn machine() -> Option<(Qemu, VmSpec)> {
    let found = Qemu::find().map_err(|error| error.to_string()).and_then(|qemu| {
        let (vmlinux, initramfs) = kernel_and_initramfs()?;
        let mut spec = VmSpec::new(vmlinux, initramfs);
        spec.cmdline_extra.push(selftest::WORD.to_owned());
        Ok((qemu, spec))
    });
    match found {
        Ok(machine) => Some(machine),
        Err(reason) => {
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!is_ci, "a skip in CI: {reason}");
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn booted(qemu: &Qemu, spec: &VmSpec, timeouts: Timeouts) -> Vm {
    let mut vm = Vm::boot(qemu, spec, timeouts).unwrap();
    let ready = vm.wait_ready().unwrap();
    assert!(ready.refused_modules.is_empty(), "{ready:?}");
    vm
}

/// One question to a guest that waits for work.
fn ask(vm: &mut Vm, question: &str) -> String {
    vm.send(question).unwrap();
    match vm.next_line() {
        Next::Line(line) => line,
        other => panic!("{question}: {other:?}"),
    }
}
