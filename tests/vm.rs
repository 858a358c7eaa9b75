//! Machines that really boot and really die: each way to end has its own verdict.
//!
//! Needs QEMU and a kernel with virtio_console built in (6.12 on), named by LAB_TEST_VMLINUX. Without them each test
//! says why it is skipped; where CI is true that is a failure.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::guest::selftest;
use lab::host::accel::{self, Choice};
use lab::host::death::{Cause, Exit, Phase};
use lab::host::qemu::{Accelerator, Qemu, VmSpec};
use lab::host::vm::{Next, Timeouts, Vm};
use lab::host::wait;
use lab::host::warm::{self, Note, Started};

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
    unfinished.persist(&initramfs).map_err(|error| error.to_string())?;
    Ok((vmlinux.into(), initramfs))
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
    Timeouts { idle: Duration::from_secs(3), ..Timeouts::default() }
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
    let Cause::Panic { line, fingerprint } = &cause else { panic!("{cause}") };
    assert!(line.contains("sysrq triggered crash"), "{line}");
    assert_eq!(fingerprint.0.first().map(String::as_str), Some("sysrq_handle_crash"), "{fingerprint}");
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
    let Cause::Hang { phase: Phase::Work, notice, .. } = &cause else { panic!("{cause}") };
    assert!(notice.contains("user space"), "{notice}");
}

#[test]
fn a_frozen_kernel_is_a_hang_at_work() {
    let Some(cause) = cause_after("freeze", impatient()) else {
        return;
    };
    assert!(matches!(&cause, Cause::Hang { phase: Phase::Work, .. }), "{cause}");
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
        let Cause::AgentDied { reason } = &cause else { panic!("{request}: {cause}") };
        assert!(reason.contains(want), "{request}: {reason:?} lacks {want:?}");
    }
}

#[test]
fn garbage_and_half_a_line_are_no_records() {
    for request in ["garbage", "truncate"] {
        let Some(cause) = cause_after(request, Timeouts::default()) else {
            return;
        };
        assert!(matches!(&cause, Cause::Garbage { .. }), "{request}: {cause}");
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
        let Exit::Died(death) = vm.finish() else { panic!("finished") };
        assert_eq!(death.cause, Cause::QemuKilled { signal: signal as i32 });
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
    let timeouts = Timeouts { boot: Duration::from_secs(15), ..Timeouts::default() };
    let death = Vm::boot(&qemu, &spec, timeouts).unwrap().wait_ready().unwrap_err();
    eprintln!("{death}");
    assert!(
        matches!(death.cause, Cause::BootFail { .. } | Cause::Hang { phase: Phase::Boot, .. }),
        "{death}"
    );

    fs::write(&spec.vmlinux, b"not a kernel").unwrap();
    let death = Vm::boot(&qemu, &spec, timeouts).unwrap().wait_ready().unwrap_err();
    eprintln!("{death}");
    assert!(matches!(&death.cause, Cause::QemuExited { code: 1, stderr } if !stderr.is_empty()), "{death}");
}

#[test]
fn an_initramfs_without_init_does_not_boot() {
    let Some((qemu, mut spec)) = machine() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    spec.initramfs = dir.path().join("empty.cpio");
    cpio::newc::trailer(File::create(&spec.initramfs).unwrap()).unwrap();
    let death = Vm::boot(&qemu, &spec, Timeouts::default()).unwrap().wait_ready().unwrap_err();
    eprintln!("{death}");
    assert!(matches!(&death.cause, Cause::BootFail { .. }), "{death}");
}

#[test]
fn a_device_qemu_does_not_know_is_qemus_to_say() {
    let Some((qemu, mut spec)) = machine() else {
        return;
    };
    spec.devices.push("no-such-device".to_owned());
    let death = Vm::boot(&qemu, &spec, Timeouts::default()).unwrap().wait_ready().unwrap_err();
    assert!(
        matches!(&death.cause, Cause::QemuExited { stderr, .. } if stderr.contains("no-such-device")),
        "{death}"
    );
}

fn started(qemu: &Qemu, spec: &VmSpec, cache: &Path) -> Started {
    warm::start(qemu, spec, Timeouts::default(), cache).unwrap()
}

/// One question to a guest that waits for work.
fn ask(vm: &mut Vm, question: &str) -> String {
    vm.send(question).unwrap();
    match vm.next_line() {
        Next::Line(line) => line,
        other => panic!("{question}: {other:?}"),
    }
}

#[test]
fn a_warm_start_is_a_copy_of_the_first_boot() {
    let Some((qemu, spec)) = machine() else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let Started { mut vm, ready, is_warm, note } = started(&qemu, &spec, cache.path());
        let waits = start.elapsed();
        assert!(is_warm || !qemu.has_mapped_ram(), "{note:?}");
        assert_eq!(ready.protocol, lab::handshake::PROTOCOL);
        let answer = ask(&mut vm, "random");
        eprintln!("waits for work after {waits:?}, answered after {:?}: {answer}", start.elapsed());
        answers.push(answer);
        vm.send("finish").unwrap();
        assert_eq!(vm.next_line(), Next::Closed);
        assert!(matches!(vm.finish(), Exit::Finished { .. }));
    }
    if qemu.has_mapped_ram() {
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1, "one saved machine and nothing else");
    }
}

#[test]
fn a_damaged_saved_machine_is_deleted_and_a_cold_one_runs_instead() {
    let Some((qemu, spec)) = machine() else {
        return;
    };
    if !qemu.has_mapped_ram() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let path = warm::state_path(&qemu, &spec, cache.path()).unwrap();
    type Damage = fn(&File);
    let damages: [(&str, Damage); 4] = [
        ("one bit of the guest's memory", |file| {
            let at = file.metadata().unwrap().len() / 16;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }),
        ("its end", |file| file.set_len(file.metadata().unwrap().len() / 2).unwrap()),
        ("its device state", |file| file.write_all_at(&[0xff; 64], 1024 * 1024).unwrap()),
        ("its header", |file| file.write_all_at(b"#", 0).unwrap()),
    ];
    for (what, damage) in damages {
        drop(started(&qemu, &spec, cache.path()));
        damage(&File::options().read(true).write(true).open(&path).unwrap());
        let mut cold = started(&qemu, &spec, cache.path());
        assert!(matches!(&cold.note, Some(Note::Discarded { .. })), "{what}: {:?}", cold.note);
        eprintln!("{what}: {}", cold.note.unwrap());
        assert!(!cold.is_warm && !path.exists(), "{what}");
        assert_eq!(ask(&mut cold.vm, "hello"), "hello");
    }
}

#[test]
fn a_crash_after_a_warm_start_is_the_same_crash() {
    let Some((qemu, spec)) = machine() else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let mut vm = started(&qemu, &spec, cache.path()).vm;
    vm.send("kernel-panic").unwrap();
    assert_eq!(vm.next_line(), Next::Closed);
    let Exit::Died(death) = vm.finish() else { panic!("finished") };
    assert!(
        matches!(&death.cause, Cause::Panic { fingerprint, .. } if fingerprint.0[0] == "sysrq_handle_crash")
    );
}

#[test]
fn an_accelerator_is_used_only_where_a_guest_boots_with_it() {
    let Some((qemu, mut spec)) = machine() else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let decision = accel::decide(Choice::Auto, &qemu, &spec, cache.path()).unwrap();
    eprintln!("{decision:?}");
    let start = Instant::now();
    assert_eq!(accel::decide(Choice::Auto, &qemu, &spec, cache.path()).unwrap(), decision);
    assert!(start.elapsed() < Duration::from_millis(100), "the answer is remembered");
    assert_eq!(decision.note.is_some(), decision.accelerator == Accelerator::Tcg, "{decision:?}");
    if decision.accelerator == Accelerator::Tcg {
        let error = accel::decide(Choice::Kvm, &qemu, &spec, cache.path()).unwrap_err().to_string();
        assert!(error.contains("--accel tcg"), "{error}");
    }
    spec.accelerator = decision.accelerator;
    drop(booted(&qemu, &spec, Timeouts::default()));
}

/// `LAB_TEST_SOAK=30,100` for as many cold boots and restores in a row.
fn soak_counts() -> (usize, usize) {
    let counts = std::env::var("LAB_TEST_SOAK").unwrap_or_else(|_| "2,5".to_owned());
    let (cold, warm) = counts.split_once(',').expect("two numbers and a comma");
    (cold.parse().expect("a number"), warm.parse().expect("a number"))
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    eprintln!(
        "{what}: {} times, median {:?}, max {:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

#[test]
fn no_boot_and_no_restore_in_a_row_hangs() {
    let Some((qemu, spec)) = machine() else {
        return;
    };
    let (cold, restores) = soak_counts();
    let finish = |mut vm: Vm| {
        vm.send("finish").unwrap();
        assert_eq!(vm.next_line(), Next::Closed);
        assert!(matches!(vm.finish(), Exit::Finished { .. }));
    };
    let mut ready = Vec::new();
    let mut ended = Vec::new();
    for _ in 0..cold {
        let start = Instant::now();
        let vm = booted(&qemu, &spec, Timeouts::default());
        ready.push(start.elapsed());
        finish(vm);
        ended.push(start.elapsed());
    }
    report("cold boot to ready", ready);
    report("cold boot to the end", ended);

    let cache = tempfile::tempdir().unwrap();
    drop(started(&qemu, &spec, cache.path()));
    let (mut restored, mut answered, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..restores {
        let start = Instant::now();
        let mut copy = started(&qemu, &spec, cache.path());
        assert!(copy.is_warm || !qemu.has_mapped_ram(), "{:?}", copy.note);
        restored.push(start.elapsed());
        assert_eq!(ask(&mut copy.vm, "hello"), "hello");
        answered.push(start.elapsed());
        finish(copy.vm);
        ended.push(start.elapsed());
    }
    report("restore to cont", restored);
    report("restore to the first line", answered);
    report("restore to the end", ended);
}

/// Not a test: the process that the next one kills. It holds a machine until then.
#[test]
fn held_machine() {
    if std::env::var_os("LAB_TEST_HOLD").is_none() {
        return;
    }
    let (qemu, spec) = machine().expect("the caller has looked");
    let vm = Vm::boot(&qemu, &spec, Timeouts::default()).unwrap();
    println!("qemu={}", vm.qemu_id());
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn qemu_dies_with_a_lab_that_is_killed() {
    if machine().is_none() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["held_machine", "--exact", "--nocapture"])
        .env("LAB_TEST_HOLD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    let id = lines.find_map(|line| line.split_once("qemu=").map(|(_, id)| id.to_owned())).expect("a machine");
    let process = PathBuf::from("/proc").join(id);
    assert!(process.exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    // Gone, or dead and waiting for whoever adopted it.
    let is_dead = || {
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    };
    assert!(
        wait::until(deadline, Duration::from_millis(5), is_dead).is_some(),
        "{} lives",
        process.display()
    );
}
