//! Machines that really boot and really die: each way to end has its own verdict.
//!
//! Needs QEMU and a kernel with virtio_console built in (6.12 on), named by LAB_TEST_VMLINUX. Without them each test
//! says why it is skipped; where CI is true that is a failure.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::guest::selftest;
use lab::host::death::{Cause, Exit, Phase};
use lab::host::qemu::{Qemu, VmSpec};
use lab::host::vm::{Next, Timeouts, Vm};

/// The kernel, and an initramfs with nothing but the lab in it.
fn kernel_and_initramfs() -> Result<(PathBuf, PathBuf), String> {
    let vmlinux = std::env::var_os("LAB_TEST_VMLINUX").ok_or("LAB_TEST_VMLINUX names no kernel")?;
    if let Some(initramfs) = std::env::var_os("LAB_TEST_INITRAMFS") {
        return Ok((vmlinux.into(), initramfs.into()));
    }
    let initramfs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm-test.cpio");
    let unfinished =
        tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).map_err(|e| e.to_string())?;
    pack(unfinished.as_file()).map_err(|error| error.to_string())?;
    unfinished
        .persist(&initramfs)
        .map_err(|error| error.to_string())?;
    Ok((vmlinux.into(), initramfs))
}

fn pack(mut archive: &File) -> std::io::Result<()> {
    let lab = fs::read(env!("CARGO_BIN_EXE_lab"))?;
    let entry = cpio::newc::Builder::new("init").mode(0o100_755);
    let mut writer = entry.write(
        &mut archive,
        u32::try_from(lab.len()).expect("a binary is under 4 GiB"),
    );
    writer.write_all(&lab)?;
    writer.finish()?;
    cpio::newc::trailer(archive)?;
    Ok(())
}

/// What a test needs, or a reason to skip it.
fn machine() -> Option<(Qemu, VmSpec)> {
    let found = Qemu::find()
        .map_err(|error| error.to_string())
        .and_then(|qemu| {
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

/// Boots, makes one request, reads to the end.
fn verdict_after(request: &str, timeouts: Timeouts) -> Option<(Vec<String>, Exit)> {
    let (qemu, spec) = machine()?;
    let mut vm = booted(&qemu, &spec, timeouts);
    vm.send(request).unwrap();
    let mut lines = Vec::new();
    while let Next::Line(line) = vm.next_line() {
        lines.push(line);
    }
    Some((lines, vm.finish()))
}

fn cause_after(request: &str, timeouts: Timeouts) -> Option<Cause> {
    match verdict_after(request, timeouts)?.1 {
        Exit::Died(death) => {
            eprintln!("{death}");
            Some(death.cause)
        }
        Exit::Finished { .. } => panic!("{request}: finished"),
    }
}

fn impatient() -> Timeouts {
    Timeouts {
        idle: Duration::from_secs(3),
        ..Timeouts::default()
    }
}

#[test]
fn a_guest_answers_and_finishes() {
    let Some((qemu, spec)) = machine() else {
        return;
    };
    let start = Instant::now();
    let mut vm = booted(&qemu, &spec, Timeouts::default());
    eprintln!("ready after {:?}", start.elapsed());
    vm.send("hello").unwrap();
    assert_eq!(vm.next_line(), Next::Line("hello".to_owned()));
    // More than any buffer on the way holds.
    let long = "x".repeat(1_000_000);
    vm.send(&long).unwrap();
    assert_eq!(vm.next_line(), Next::Line(long));
    vm.send("finish").unwrap();
    assert_eq!(vm.next_line(), Next::Closed);
    match vm.finish() {
        Exit::Finished { warnings } => assert!(warnings.is_empty(), "{warnings:?}"),
        Exit::Died(death) => panic!("{death}"),
    }
    eprintln!("finished after {:?}", start.elapsed());
}

#[test]
fn a_crash_of_the_kernel_is_a_panic_with_a_fingerprint() {
    let Some(cause) = cause_after("kernel-panic", Timeouts::default()) else {
        return;
    };
    let Cause::Panic { line, fingerprint } = &cause else {
        panic!("{cause}")
    };
    assert!(line.contains("sysrq triggered crash"), "{line}");
    assert_eq!(
        fingerprint.0.first().map(String::as_str),
        Some("sysrq_handle_crash"),
        "{fingerprint}"
    );
    assert_eq!(
        cause_after("kernel-panic", Timeouts::default()),
        Some(cause),
        "the same crash compares equal"
    );
}

#[test]
fn silence_is_a_hang_at_work() {
    let Some(cause) = cause_after("hang", impatient()) else {
        return;
    };
    assert!(
        matches!(
            &cause,
            Cause::Hang {
                phase: Phase::Work,
                ..
            }
        ),
        "{cause}"
    );
}

#[test]
fn a_frozen_kernel_is_a_hang_at_work() {
    let Some(cause) = cause_after("freeze", impatient()) else {
        return;
    };
    assert!(
        matches!(
            &cause,
            Cause::Hang {
                phase: Phase::Work,
                ..
            }
        ),
        "{cause}"
    );
}

#[test]
fn the_agents_own_faults_are_not_the_kernels() {
    let cases = [
        ("agent-panic", "asked to panic"),
        ("fail", "asked to fail"),
        ("abort", "killed by SIGABRT"),
        ("exit", "status 3"),
        ("power-off", "powered off"),
    ];
    for (request, want) in cases {
        let Some(cause) = cause_after(request, Timeouts::default()) else {
            return;
        };
        let Cause::AgentDied { reason } = &cause else {
            panic!("{request}: {cause}")
        };
        assert!(
            reason.contains(want),
            "{request}: {reason:?} lacks {want:?}"
        );
    }
}

#[test]
fn garbage_and_half_a_line_are_no_records() {
    for request in ["garbage", "truncate"] {
        let Some(cause) = cause_after(request, Timeouts::default()) else {
            return;
        };
        assert!(
            matches!(&cause, Cause::Garbage { .. }),
            "{request}: {cause}"
        );
    }
}

#[test]
fn a_flood_on_the_console_does_not_stop_the_guest() {
    let Some((qemu, spec)) = machine() else {
        return;
    };
    let mut vm = booted(&qemu, &spec, Timeouts::default());
    vm.send("console").unwrap();
    vm.send("still here").unwrap();
    assert_eq!(vm.next_line(), Next::Line("still here".to_owned()));
}

#[test]
fn a_killed_qemu_is_said_to_be_killed() {
    let Some((qemu, spec)) = machine() else {
        return;
    };
    for signal in [nix::sys::signal::SIGKILL, nix::sys::signal::SIGTERM] {
        let mut vm = booted(&qemu, &spec, Timeouts::default());
        let id = nix::unistd::Pid::from_raw(vm.qemu_id().cast_signed());
        nix::sys::signal::kill(id, signal).unwrap();
        assert_eq!(vm.next_line(), Next::Closed);
        let Exit::Died(death) = vm.finish() else {
            panic!("finished")
        };
        assert_eq!(
            death.cause,
            Cause::QemuKilled {
                signal: signal as i32
            }
        );
    }
}

#[test]
fn what_is_no_kernel_does_not_boot() {
    let Some((qemu, mut spec)) = machine() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(&spec.vmlinux).unwrap();
    let end = bytes.len().min(24 << 20);
    bytes[0x40_0000..end].fill(0xcc);
    spec.vmlinux = dir.path().join("vmlinux");
    fs::write(&spec.vmlinux, &bytes).unwrap();
    let timeouts = Timeouts {
        boot: Duration::from_secs(15),
        ..Timeouts::default()
    };
    let death = Vm::boot(&qemu, &spec, timeouts)
        .unwrap()
        .wait_ready()
        .unwrap_err();
    eprintln!("{death}");
    assert!(
        matches!(
            death.cause,
            Cause::BootFail { .. }
                | Cause::Hang {
                    phase: Phase::Boot,
                    ..
                }
        ),
        "{death}"
    );

    fs::write(&spec.vmlinux, b"not a kernel").unwrap();
    let death = Vm::boot(&qemu, &spec, timeouts)
        .unwrap()
        .wait_ready()
        .unwrap_err();
    eprintln!("{death}");
    assert!(
        matches!(&death.cause, Cause::QemuExited { code: 1, stderr } if !stderr.is_empty()),
        "{death}"
    );
}

#[test]
fn an_initramfs_without_init_does_not_boot() {
    let Some((qemu, mut spec)) = machine() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    spec.initramfs = dir.path().join("empty.cpio");
    cpio::newc::trailer(File::create(&spec.initramfs).unwrap()).unwrap();
    let death = Vm::boot(&qemu, &spec, Timeouts::default())
        .unwrap()
        .wait_ready()
        .unwrap_err();
    eprintln!("{death}");
    assert!(matches!(&death.cause, Cause::BootFail { .. }), "{death}");
}

#[test]
fn a_device_qemu_does_not_know_is_qemus_to_say() {
    let Some((qemu, mut spec)) = machine() else {
        return;
    };
    spec.devices.push("no-such-device".to_owned());
    let death = Vm::boot(&qemu, &spec, Timeouts::default())
        .unwrap()
        .wait_ready()
        .unwrap_err();
    assert!(
        matches!(&death.cause, Cause::QemuExited { stderr, .. } if stderr.contains("no-such-device")),
        "{death}"
    );
}
