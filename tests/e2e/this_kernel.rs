//! `--kernel host`, inside a guest: a kernel that has everything, on a machine that may be harmed.

use std::path::Path;
use std::time::Duration;

use bondlab_guest::selftest;
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::runner;
use bondlab_host::vm::qemu::VmSpec;
use bondlab_host::vm::warm::Started;
use bondlab_host::vm::{Next, Timeouts, initramfs, warm};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::machine::{self, Bench, LAB};
use crate::{KERNEL, flagship, gallery, gallery_folder, lab_run, pin};

/// The user nobody, who may make user namespaces and nothing else.
const NOBODY: u32 = 65534;

pub fn trials() -> Vec<Trial> {
    vec![
        machine::trial("this kernel: the same findings as in a machine of its own", pin(), same_as_in_a_vm),
        machine::trial("this kernel: a normal user counts what root watches", pin(), a_normal_user),
        machine::trial(
            "this kernel: a normal user is told what the report needs",
            pin(),
            a_normal_user_and_the_report,
        ),
        machine::trial(
            "this kernel: a normal user is told why frames have no place",
            pin(),
            a_normal_user_and_no_counter,
        ),
        machine::trial("this kernel: a limit of the machine is left alone", pin(), the_machines_own_limit),
        machine::trial(
            "this kernel: a dirty run leaves no trace in the next copy",
            pin(),
            no_trace_in_the_next_copy,
        ),
        machine::trial("this kernel: nothing is left of a lab that was killed", pin(), killed),
        machine::trial("this kernel: all that it lacks is named at once", pin(), lacks_everything),
        machine::trial(
            "this kernel: a user without namespaces is told what to allow",
            pin(),
            no_user_namespaces,
        ),
    ]
}

/// A copy of a saved machine that somebody dirties, and then another copy.
fn no_trace_in_the_next_copy(bench: &Bench, kernel: &Kernel) {
    let topology = gallery_folder().join(COUNTED);
    let spec = runner::probe_spec(kernel, LAB.as_ref(), &bench.cache).expect("an initramfs");
    let run = |before: &[&str]| run_in(bench, spec.clone(), before, of_topology(&topology, json!({})));
    let (first, dirty, after) = (run(&[]), run(&["dirt"]), run(&[]));
    for (book, dirt) in [("links", "dirty0"), ("files", "dirt"), ("mounts", "/tmp/dirty-mount")] {
        let holds = |answer: &Value| answer["before"][book].to_string().contains(dirt);
        assert!(holds(&dirty) && !holds(&first) && !holds(&after), "{dirt}: {dirty:#}");
    }
    lab_run::assert_same(&after["before"], &first["before"], "after a dirty run | at first");
    lab_run::assert_same(
        &lab_run::without_times(document(&after)),
        &lab_run::without_times(document(&first)),
        "after a dirty run | at first",
    );
}

/// Runs the lab as `ask` says, on the topology of the report, inside a guest that has all modules for it.
fn run(bench: &Bench, kernel: &Kernel, ask: Value) -> Value {
    let spec = runner::probe_spec(kernel, LAB.as_ref(), &bench.cache).expect("an initramfs");
    run_in(bench, spec, &[], ask)
}

/// After each word of `before` has been said to the guest, and answered.
fn run_in(bench: &Bench, mut spec: VmSpec, before: &[&str], mut ask: Value) -> Value {
    if ask["topology"].is_null() {
        ask = of_topology(&flagship(), ask);
    }
    spec.cmdline_extra.push(selftest::WORD.to_owned());
    // A whole run passes between the question and the answer.
    let timeouts = Timeouts { idle: Duration::from_secs(180), ..Timeouts::default() };
    let Started { mut vm, .. } = warm::start(&bench.qemu, &spec, timeouts, &bench.cache).expect("a guest");
    for word in before {
        vm.send(word).expect("it waits for work");
        assert!(matches!(vm.next_line(), Next::Line(_)), "{word}");
    }
    vm.send(&format!("{}{ask}", selftest::LAB_WORD)).expect("it waits for work");
    let Next::Line(answer) = vm.next_line() else { panic!("{:?}", vm.finish()) };
    serde_json::from_str(&answer).expect("the answer of the selftest")
}

/// Asks for another topology than that of the report.
fn of_topology(path: &Path, mut ask: Value) -> Value {
    ask["name"] = path.file_name().expect("it has one").to_string_lossy().into();
    ask["topology"] = std::fs::read_to_string(path).expect("the gallery can be read").into();
    ask
}

fn document(answer: &Value) -> Value {
    let stdout = answer["stdout"].as_str().expect("a text");
    lab_run::document(stdout.as_bytes()).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Links, namespaces, mounts, processes and files, as they were.
fn nothing_is_left(answer: &Value) {
    lab_run::assert_same(&answer["before"], &answer["after"], "before | after");
    assert!(answer["before"]["links"].as_array().is_some_and(|links| !links.is_empty()), "{answer}");
}

fn same_as_in_a_vm(bench: &Bench, kernel: &Kernel) {
    let answer = run(bench, kernel, json!({}));
    assert_eq!(answer["code"], 0, "{answer}");
    let here = document(&answer);
    assert_eq!(here["kernel"]["id"], "host");
    assert_eq!(here["kernel"]["backend"], "host");
    assert_eq!(here["kernel"]["release"], kernel.release);
    let in_vm = lab_run::findings(lab_run::of_the_report());
    lab_run::assert_same(&lab_run::findings(&here), &in_vm, "this kernel | a machine");
    nothing_is_left(&answer);
}

/// What a counter tells by itself; the report's own hypotheses need more permission, and drop events.
const COUNTED: &str = "causes/port-queue-held.toml";
/// What no counter tells: the queue of a device without carrier (`noop_qdisc`) has none.
const UNCOUNTED: &str = "causes/port-carrier-lost.toml";

fn a_normal_user(bench: &Bench, kernel: &Kernel) {
    let topology = gallery_folder().join(COUNTED);
    let answer = run(bench, kernel, of_topology(&topology, json!({ "user": NOBODY })));
    let (_, in_vm) = lab_run::run(&topology, KERNEL);
    let here = document(&answer);
    assert_eq!((&answer["code"], &here["outcome"]), (&json!(0), &json!("pass")), "{here:#}");
    gallery::ledger_closes(&here);
    for (here, in_vm) in trials_of(&here).zip(trials_of(&in_vm)) {
        let why = here["unobserved"].as_str().unwrap_or_default();
        assert!(!why.is_empty() && in_vm["unobserved"].is_null(), "{here:#}");
        for book in ["devices", "qdiscs", "hooks"] {
            lab_run::assert_same(&here[book], &in_vm[book], &format!("{book} of {}", here["name"]));
        }
        let what = format!("{}: a normal user's counters | the tracepoint", here["name"]);
        lab_run::assert_same(&places(here), &places(in_vm), &what);
    }
    nothing_is_left(&answer);
}

/// One of its explanations holds the end of a cable, which takes a BPF program.
fn a_normal_user_and_the_report(bench: &Bench, kernel: &Kernel) {
    let reason = reason(&run(bench, kernel, json!({ "user": NOBODY })));
    for part in ["ingress hook of xdp", "bpf(BPF_PROG_LOAD)", "root in the initial user namespace"] {
        assert!(reason.contains(part), "{part:?} is not in {reason}");
    }
}

/// Without drop events some explanations leave frames that no counter tells of.
fn a_normal_user_and_no_counter(bench: &Bench, kernel: &Kernel) {
    let topology = gallery_folder().join(UNCOUNTED);
    let answer = run(bench, kernel, of_topology(&topology, json!({ "user": NOBODY })));
    let here = document(&answer);
    let checks = here["checks"].as_array().expect("a list");
    let failed = checks.iter().find(|check| check["name"] == "main: every frame is accounted for");
    let observed = failed.expect("each trial has it")["observed"].to_string();
    assert!(observed.contains("drops were not watched: bpf("), "{observed}");
    nothing_is_left(&answer);
}

/// A limit of the whole machine is not touched.
fn the_machines_own_limit(bench: &Bench, kernel: &Kernel) {
    let topology = gallery_folder().join("causes/backlog-full.toml");
    let reason = reason(&run(bench, kernel, of_topology(&topology, json!({}))));
    for part in ["net.core.netdev_max_backlog", "in one of the lab's own"] {
        assert!(reason.contains(part), "{part:?} is not in {reason}");
    }
}

fn trials_of(document: &Value) -> impl Iterator<Item = &Value> {
    document["trials"].as_array().expect("a list").iter()
}

/// Where each flow's frames were lost, and how many: the kernel's reason is what only the tracepoint tells.
fn places(trial: &Value) -> Value {
    let flows = trial["flows"].as_array().expect("a list").iter().map(|flow| {
        let fates = flow["fates"].as_array().expect("a list").iter();
        let fates = fates.map(|fate| json!([fate["layer"], fate["device"], fate["frames"]]));
        json!([flow["name"], flow["sent"], flow["errors"], flow["delivered"], fates.collect::<Vec<_>>()])
    });
    flows.collect()
}

fn killed(bench: &Bench, kernel: &Kernel) {
    let asks = [
        json!({ "kill": true }),
        of_topology(&gallery_folder().join(COUNTED), json!({ "user": NOBODY, "kill": true })),
    ];
    for ask in asks {
        let answer = run(bench, kernel, ask);
        assert_eq!(answer["signal"], 9, "{answer}");
        assert_eq!(answer["stdout"], "", "it was killed in the middle");
        assert!(answer["standing"].as_u64() > Some(2), "{answer}");
        nothing_is_left(&answer);
    }
}

/// The result of a lab that could run nothing: 69, and why.
fn reason(answer: &Value) -> String {
    assert_eq!(answer["code"], 69, "{answer}");
    let document = document(answer);
    assert_eq!(document["outcome"], "skip");
    nothing_is_left(answer);
    document["reason"].as_str().expect("a reason").to_owned()
}

/// A guest with nothing but the way to its host.
fn lacks_everything(bench: &Bench, kernel: &Kernel) {
    let modules = kernel.modules.available(&["virtio_pci", "virtio_console"]).expect("the index of modules");
    let initramfs =
        initramfs::build(&bench.cache, kernel, LAB.as_ref(), &modules, &[]).expect("an initramfs");
    let reason = reason(&run_in(bench, VmSpec::new(kernel.vmlinux.clone(), initramfs), &[], json!({})));
    for lacking in [
        "links of kind bond",
        "links of kind bridge",
        "links of kind veth",
        "links of kind vlan",
        "queueing discipline clsact",
        "queueing discipline plug",
        "traffic control classifier flower",
    ] {
        assert!(reason.contains(lacking), "{lacking:?} is not in {reason}");
    }
    assert!(!reason.contains("pfifo"), "which every kernel has: {reason}");
}

fn no_user_namespaces(bench: &Bench, kernel: &Kernel) {
    let reason = reason(&run(bench, kernel, json!({ "user": NOBODY, "forbid_user_namespaces": true })));
    for part in ["run as root", "user.max_user_namespaces"] {
        assert!(reason.contains(part), "{part:?} is not in {reason}");
    }
}
