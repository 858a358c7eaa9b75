//! Each way for a machine to end has its own verdict.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bondlab_host::cache::Cache;
use bondlab_host::vm::death::{Cause, Exit, Phase};
use bondlab_host::vm::qemu::{Qemu, VmSpec};
use bondlab_host::vm::{Next, Timeouts, Vm, warm};
use bondlab_host::wait;

use crate::{Test, ask, booted, tests};

/// What is provoked, by name.
pub const TESTS: [(&str, Test); 15] = tests![
    a_guest_answers_and_finishes,
    a_crash_of_the_kernel_is_a_panic_with_a_fingerprint,
    silence_is_a_hang_at_work,
    a_frozen_kernel_is_a_hang_at_work,
    the_agents_own_faults_are_not_the_kernels,
    garbage_and_half_a_line_are_no_records,
    a_record_cut_short_by_a_crash_is_a_crash,
    a_record_after_the_last_one_spoils_the_run,
    a_guest_that_talks_for_ever_is_ended_at_the_total_timeout,
    a_flood_on_the_console_does_not_stop_the_guest,
    a_killed_qemu_is_said_to_be_killed,
    what_is_no_kernel_does_not_boot,
    an_initramfs_without_init_does_not_boot,
    a_device_qemu_does_not_know_is_qemus_to_say,
    qemu_dies_with_a_lab_that_is_killed,
];

/// A guest that waits for work. Restored, as most are: a cold boot for each death would take minutes.
fn waiting(qemu: &Qemu, spec: &VmSpec, timeouts: Timeouts) -> Vm {
    let cache = Cache::open().unwrap();
    warm::start(qemu, spec, timeouts, &cache).unwrap().vm
}

/// Makes one request, reads to the end.
fn cause_after(qemu: &Qemu, spec: &VmSpec, request: &str, timeouts: Timeouts) -> Cause {
    let mut vm = waiting(qemu, spec, timeouts);
    vm.send(request).unwrap();
    while let Next::Line(_) = vm.next_line() {}
    match vm.finish() {
        Exit::Died(death) => death.cause,
        Exit::Finished { .. } => panic!("{request}: finished"),
    }
}

fn impatient() -> Timeouts {
    Timeouts { idle: Duration::from_secs(3), ..Timeouts::default() }
}

fn a_guest_answers_and_finishes(qemu: Qemu, spec: VmSpec) {
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

fn a_crash_of_the_kernel_is_a_panic_with_a_fingerprint(qemu: Qemu, spec: VmSpec) {
    let cause = cause_after(&qemu, &spec, "kernel-panic", Timeouts::default());
    let Cause::Panic { line, fingerprint } = &cause else { panic!("{cause}") };
    assert!(line.contains("sysrq triggered crash"), "{line}");
    assert_eq!(fingerprint.0.first().map(String::as_str), Some("sysrq_handle_crash"), "{fingerprint}");
    assert_eq!(
        cause_after(&qemu, &spec, "kernel-panic", Timeouts::default()),
        cause,
        "the same crash compares equal"
    );
}

fn silence_is_a_hang_at_work(qemu: Qemu, spec: VmSpec) {
    let cause = cause_after(&qemu, &spec, "hang", impatient());
    let Cause::Hang { phase: Phase::Work, notice, .. } = &cause else { panic!("{cause}") };
    assert!(notice.contains("user space"), "{cause:?}");
}

fn a_frozen_kernel_is_a_hang_at_work(qemu: Qemu, spec: VmSpec) {
    let cause = cause_after(&qemu, &spec, "freeze", impatient());
    assert!(matches!(&cause, Cause::Hang { phase: Phase::Work, .. }), "{cause}");
}

fn the_agents_own_faults_are_not_the_kernels(qemu: Qemu, spec: VmSpec) {
    let cases = [
        ("agent-panic", "asked to panic"),
        ("fail", "asked to fail"),
        ("abort", "killed by SIGABRT"),
        ("exit", "status 3"),
        ("power-off", "powered off"),
    ];
    for (request, want) in cases {
        let cause = cause_after(&qemu, &spec, request, Timeouts::default());
        let Cause::AgentDied { reason } = &cause else { panic!("{request}: {cause}") };
        assert!(reason.contains(want), "{request}: {reason:?} lacks {want:?}");
    }
}

fn garbage_and_half_a_line_are_no_records(qemu: Qemu, spec: VmSpec) {
    for request in ["garbage", "truncate"] {
        let cause = cause_after(&qemu, &spec, request, Timeouts::default());
        assert!(matches!(&cause, Cause::Garbage { .. }), "{request}: {cause}");
    }
}

fn a_record_cut_short_by_a_crash_is_a_crash(qemu: Qemu, spec: VmSpec) {
    let cause = cause_after(&qemu, &spec, "truncate-and-panic", Timeouts::default());
    assert!(matches!(&cause, Cause::Panic { .. }), "{cause}");
}

fn a_record_after_the_last_one_spoils_the_run(qemu: Qemu, spec: VmSpec) {
    let mut vm = waiting(&qemu, &spec, Timeouts::default());
    assert_eq!(ask(&mut vm, "more"), "last");
    let Exit::Died(death) = vm.finish() else { panic!("finished") };
    assert!(matches!(&death.cause, Cause::Garbage { what } if what.contains("one more")), "{death}");
}

fn a_guest_that_talks_for_ever_is_ended_at_the_total_timeout(qemu: Qemu, spec: VmSpec) {
    let timeouts = Timeouts { total: Duration::from_secs(20), ..Timeouts::default() };
    let mut vm = waiting(&qemu, &spec, timeouts);
    vm.send("flood").unwrap();
    let mut bytes = 0;
    let last = loop {
        match vm.next_line() {
            Next::Line(line) => bytes += line.len(),
            other => break other,
        }
    };
    eprintln!("{} MB", bytes >> 20);
    assert_eq!(last, Next::TimedOut);
    let Exit::Died(death) = vm.finish() else { panic!("finished") };
    assert!(matches!(&death.cause, Cause::Hang { notice, .. } if notice.contains("not done")), "{death}");
}

fn a_flood_on_the_console_does_not_stop_the_guest(qemu: Qemu, spec: VmSpec) {
    let mut vm = waiting(&qemu, &spec, Timeouts::default());
    vm.send("console").unwrap();
    vm.send("still here").unwrap();
    assert_eq!(vm.next_line(), Next::Line("still here".to_owned()));
}

fn a_killed_qemu_is_said_to_be_killed(qemu: Qemu, spec: VmSpec) {
    for signal in [nix::sys::signal::SIGKILL, nix::sys::signal::SIGTERM] {
        let mut vm = waiting(&qemu, &spec, Timeouts::default());
        let id = nix::unistd::Pid::from_raw(vm.qemu_id().cast_signed());
        nix::sys::signal::kill(id, signal).unwrap();
        assert_eq!(vm.next_line(), Next::Closed);
        let Exit::Died(death) = vm.finish() else { panic!("finished") };
        assert_eq!(death.cause, Cause::QemuKilled { signal: signal as i32 });
    }
}

fn what_is_no_kernel_does_not_boot(qemu: Qemu, mut spec: VmSpec) {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(&spec.vmlinux).unwrap();
    let end = bytes.len().min(24 << 20);
    bytes[0x40_0000..end].fill(0xcc);
    spec.vmlinux = dir.path().join("vmlinux");
    fs::write(&spec.vmlinux, &bytes).unwrap();
    let timeouts = Timeouts { boot: Duration::from_secs(15), ..Timeouts::default() };
    let death = Vm::boot(&qemu, &spec, timeouts).unwrap().wait_ready().unwrap_err();
    assert!(
        matches!(death.cause, Cause::BootFail { .. } | Cause::Hang { phase: Phase::Boot, .. }),
        "{death}"
    );

    fs::write(&spec.vmlinux, b"not a kernel").unwrap();
    let death = Vm::boot(&qemu, &spec, timeouts).unwrap().wait_ready().unwrap_err();
    assert!(matches!(&death.cause, Cause::QemuExited { code: 1, stderr } if !stderr.is_empty()), "{death}");
}

fn an_initramfs_without_init_does_not_boot(qemu: Qemu, mut spec: VmSpec) {
    let dir = tempfile::tempdir().unwrap();
    spec.initramfs = dir.path().join("empty.cpio");
    cpio::newc::trailer(File::create(&spec.initramfs).unwrap()).unwrap();
    let death = Vm::boot(&qemu, &spec, Timeouts::default()).unwrap().wait_ready().unwrap_err();
    assert!(matches!(&death.cause, Cause::BootFail { .. }), "{death}");
}

fn a_device_qemu_does_not_know_is_qemus_to_say(qemu: Qemu, mut spec: VmSpec) {
    spec.devices.push("no-such-device".to_owned());
    let death = Vm::boot(&qemu, &spec, Timeouts::default()).unwrap().wait_ready().unwrap_err();
    assert!(
        matches!(&death.cause, Cause::QemuExited { stderr, .. } if stderr.contains("no-such-device")),
        "{death}"
    );
}

/// Names kernel and initramfs, separated by a colon, to the process that [`hold_a_machine`] is for.
pub const HOLD_VARIABLE: &str = "LAB_TEST_HOLD";

/// What the next test kills: a lab that holds a machine.
pub fn hold_a_machine() {
    let files = std::env::var(HOLD_VARIABLE).expect("main has looked");
    let (vmlinux, initramfs) = files.split_once(':').expect("two files");
    let spec = VmSpec::new(vmlinux.into(), initramfs.into());
    let vm = Vm::boot(&Qemu::find().unwrap(), &spec, Timeouts::default()).unwrap();
    println!("qemu={}", vm.qemu_id());
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn qemu_dies_with_a_lab_that_is_killed(_: Qemu, spec: VmSpec) {
    let files = format!("{}:{}", spec.vmlinux.display(), spec.initramfs.display());
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .env(HOLD_VARIABLE, files)
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
