//! Saved machines, the choice of an accelerator, and many starts in a row.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bondlab_host::cache::Cache;
use bondlab_host::vm::accel::{AccelError, Choice, Decision};
use bondlab_host::vm::death::{Cause, Exit};
use bondlab_host::vm::qemu::{Accelerator, Qemu, Version, VmSpec};
use bondlab_host::vm::warm::{Note, StartError, Started};
use bondlab_host::vm::{Next, Timeouts, Vm, accel, warm};

use tempfile::TempDir;

use crate::{Test, ask, booted, tests};

/// What is provoked, by name.
pub const TESTS: [(&str, Test); 9] = tests![
    a_warm_start_is_a_copy_of_the_first_boot,
    a_damaged_saved_machine_is_deleted_and_a_cold_one_runs_instead,
    a_guest_that_could_not_unpack_its_initramfs_is_an_error_and_not_saved,
    a_machine_of_another_name_is_not_restored,
    a_crash_after_a_warm_start_is_the_same_crash,
    an_accelerator_is_used_only_where_a_guest_boots_with_it,
    no_boot_and_no_restore_in_a_row_hangs,
    where_nothing_can_be_saved_runs_are_cold_and_say_so,
    a_machine_with_emulated_nics_is_saved_and_restored,
];

fn empty_cache() -> (TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path()).unwrap();
    (dir, cache)
}

fn started(qemu: &Qemu, spec: &VmSpec, cache: &Cache) -> Started {
    warm::start(qemu, spec, Timeouts::default(), cache).unwrap()
}

fn a_warm_start_is_a_copy_of_the_first_boot(qemu: Qemu, spec: VmSpec) {
    let (_dir, cache) = empty_cache();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let Started { mut vm, ready, is_warm, note } = started(&qemu, &spec, &cache);
        let waits = start.elapsed();
        assert!(is_warm || !qemu.has_mapped_ram(), "{note:?}");
        assert_eq!(ready.protocol, bondlab_core::plan::handshake::PROTOCOL);
        let answer = ask(&mut vm, "random");
        eprintln!("waits for work after {waits:?}, answered after {:?}: {answer}", start.elapsed());
        answers.push(answer);
        vm.send("finish").unwrap();
        assert_eq!(vm.next_line(), Next::Closed);
        assert!(matches!(vm.finish(), Exit::Finished { .. }));
    }
    if qemu.has_mapped_ram() {
        let left = ["machines", "scratch"].map(|part| fs::read_dir(cache.path(part)).unwrap().count());
        assert_eq!(left, [1, 0], "one saved machine and nothing half made");
    }
}

fn a_damaged_saved_machine_is_deleted_and_a_cold_one_runs_instead(qemu: Qemu, spec: VmSpec) {
    if !qemu.has_mapped_ram() {
        return;
    }
    let (_dir, cache) = empty_cache();
    let path = warm::state_path(&qemu, &spec, &cache).unwrap();
    type Damage = fn(&File);
    let damages: [(&str, Damage); 5] = [
        ("one bit of the guest's memory", |file| {
            let at = file.metadata().unwrap().len() / 16;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }),
        ("its end", |file| file.set_len(file.metadata().unwrap().len() / 2).unwrap()),
        ("its device state", |file| file.write_all_at(&[0xff; 64], 1024 * 1024).unwrap()),
        ("its header", |file| file.write_all_at(b"#", 0).unwrap()),
        ("all of it", |file| file.set_len(0).unwrap()),
    ];
    for (what, damage) in damages {
        drop(started(&qemu, &spec, &cache));
        damage(&File::options().read(true).write(true).open(&path).unwrap());
        let mut cold = started(&qemu, &spec, &cache);
        assert!(matches!(&cold.note, Some(Note::Discarded { .. })), "{what}: {:?}", cold.note);
        eprintln!("{what}: {}", cold.note.unwrap());
        assert!(!cold.is_warm && !path.exists(), "{what}");
        assert_eq!(ask(&mut cold.vm, "hello"), "hello");
    }
}

/// Of an entry in the format `newc` (cpio(5)), before its name.
const CPIO_HEADER_BYTES: usize = 110;

/// The kernel would run, and lack whatever was not unpacked.
fn a_guest_that_could_not_unpack_its_initramfs_is_an_error_and_not_saved(qemu: Qemu, mut spec: VmSpec) {
    let (dir, cache) = empty_cache();
    // The kernel stops at what is no entry, and boots with what it has.
    let mut bytes = fs::read(&spec.initramfs).unwrap();
    let name = bytes.windows(7).rposition(|window| window == b"lab/end").unwrap();
    bytes[name - CPIO_HEADER_BYTES..][..6].copy_from_slice(b"070700");
    spec.initramfs = dir.path().join("cut.cpio");
    fs::write(&spec.initramfs, bytes).unwrap();

    let error = warm::start(&qemu, &spec, Timeouts::default(), &cache).unwrap_err();
    let StartError::Death(death) = error else { panic!("{error}") };
    assert_eq!(death.cause, Cause::NotUnpacked, "{death}");
    assert_eq!(fs::read_dir(cache.path("machines")).unwrap().count(), 0);
}

fn a_machine_of_another_name_is_not_restored(qemu: Qemu, spec: VmSpec) {
    if !qemu.has_mapped_ram() {
        return;
    }
    let (_dir, cache) = empty_cache();
    drop(started(&qemu, &spec, &cache));
    let path = warm::state_path(&qemu, &spec, &cache).unwrap();
    let other = VmSpec { memory_mib: spec.memory_mib + 16, ..spec };
    fs::rename(path, warm::state_path(&qemu, &other, &cache).unwrap()).unwrap();
    let cold = started(&qemu, &other, &cache);
    let note = cold.note.expect("it is not used").to_string();
    assert!(!cold.is_warm && note.contains("it was saved as another machine"), "{note}");
}

fn a_crash_after_a_warm_start_is_the_same_crash(qemu: Qemu, spec: VmSpec) {
    let (_dir, cache) = empty_cache();
    let mut vm = started(&qemu, &spec, &cache).vm;
    vm.send("kernel-panic").unwrap();
    assert_eq!(vm.next_line(), Next::Closed);
    let Exit::Died(death) = vm.finish() else { panic!("finished") };
    assert!(
        matches!(&death.cause, Cause::Panic { fingerprint, .. } if fingerprint.0[0] == "sysrq_handle_crash")
    );
}

fn an_accelerator_is_used_only_where_a_guest_boots_with_it(qemu: Qemu, mut spec: VmSpec) {
    let (_dir, cache) = empty_cache();
    let probed = Cell::new(0);
    let decide = |choice| -> Result<Decision, AccelError> {
        accel::decide(choice, &qemu, &cache.path(""), || {
            probed.set(probed.get() + 1);
            Ok(spec.clone())
        })
    };
    let decision = decide(Choice::Auto).unwrap();
    let probes = probed.get();
    assert_eq!(
        (decide(Choice::Auto).unwrap(), probed.get()),
        (decision.clone(), probes),
        "the answer is remembered"
    );
    eprintln!("{decision:?}");
    assert_eq!(decision.note.is_some(), decision.accelerator == Accelerator::Tcg, "{decision:?}");
    if decision.accelerator == Accelerator::Tcg {
        let error = decide(Choice::Kvm).unwrap_err().to_string();
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

fn no_boot_and_no_restore_in_a_row_hangs(qemu: Qemu, spec: VmSpec) {
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

    let (_dir, cache) = empty_cache();
    drop(started(&qemu, &spec, &cache));
    let (mut restored, mut answered, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..restores {
        let start = Instant::now();
        let mut copy = started(&qemu, &spec, &cache);
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

fn where_nothing_can_be_saved_runs_are_cold_and_say_so(qemu: Qemu, spec: VmSpec) {
    let (_dir, cache) = empty_cache();
    let old = Qemu { version: Version { major: 7, minor: 2 }, ..qemu.clone() };
    let mut cold = started(&old, &spec, &cache);
    assert!(matches!(cold.note, Some(Note::NoMappedRam { .. })), "{:?}", cold.note);
    assert_eq!(ask(&mut cold.vm, "hello"), "hello");

    fs::remove_dir(cache.path("scratch")).unwrap();
    let mut cold = started(&qemu, &spec, &cache);
    assert!(matches!(cold.note, Some(Note::NotSaved { .. })), "{:?}", cold.note);
    assert_eq!(ask(&mut cold.vm, "hello"), "hello");
}

fn a_machine_with_emulated_nics_is_saved_and_restored(qemu: Qemu, mut spec: VmSpec) {
    if qemu.version < (Version { major: 8, minor: 0 }) {
        eprintln!("skipped: qemu {} has no igb", qemu.release);
        return;
    }
    for n in 0..2 {
        spec.devices.push(format!("pcie-root-port,id=rp{n},slot={n}"));
        spec.devices.push(format!("igb,bus=rp{n}"));
    }
    let (_dir, cache) = empty_cache();
    for _ in 0..2 {
        let start = Instant::now();
        let mut copy = started(&qemu, &spec, &cache);
        assert!(copy.is_warm || !qemu.has_mapped_ram(), "{:?}", copy.note);
        assert_eq!(ask(&mut copy.vm, "hello"), "hello");
        eprintln!("first line after {:?}", start.elapsed());
    }
}
