//! `lab step`: the steps of a topology, one by one from a command in the guest, with the account so far.

use std::io::Write;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::machine::{self, LAB, trial};
use crate::{KERNEL, flagship};

/// The oldest kernel, the one of most reports, and the newest.
const KERNELS: [(&str, &str); 3] = [("5.10.262", "5.10.0-"), (KERNEL, KERNEL), ("7.3.4", "7.3.4")];

/// The trials.
pub fn trials() -> Vec<Trial> {
    let pin = |kernel| machine::pins(kernel).remove(0);
    let mut trials = Vec::new();
    for (kernel, release) in KERNELS {
        let name = |what: &str| format!("step/{what}/{kernel}");
        trials.push(trial(
            name("each with the account so far, and the verdict after the last"),
            pin(kernel),
            move |_, _| one_by_one(kernel, release),
        ));
        trials.push(trial(name("under a hypothesis"), pin(kernel), move |_, _| under_a_hypothesis(kernel)));
    }
    let tests: [(&str, fn()); 4] = [
        ("a shell", from_a_shell),
        ("a shell under a hypothesis", from_a_shell_under_a_hypothesis),
        ("a step that does not do what it is to do", a_step_that_fails),
        ("without a topology", without_a_topology),
    ];
    trials.extend(tests.map(|(name, test)| trial(format!("step/{name}"), pin(KERNEL), move |_, _| test())));
    trials
}

/// Runs a script in the guest; its exit status, its output, and what the lab says besides.
fn script(kernel: &str, arguments: &[&str], script: &str) -> (Option<i32>, String, String) {
    let mut lab = Command::new(LAB);
    lab.args(["exec", "--no-install", "--kernel", kernel]).args(arguments).args(["--", "sh", "-c", script]);
    let output = lab.stdin(Stdio::null()).output().expect("cargo has built it");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn in_the_flagship(kernel: &str, more: &[&str], text: &str) -> (Option<i32>, String, String) {
    let topology = flagship();
    let topology = topology.to_str().expect("a path of the project");
    script(kernel, &[&["--topology", topology, "--ns", "node"], more].concat(), text)
}

fn contains_in_order(text: &str, wanted: &[&str]) {
    let mut rest = text;
    for part in wanted {
        let at =
            rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing, or not there in order:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

fn one_by_one(kernel: &str, release: &str) {
    let text = "tc qdisc show dev enp2s0; lab step --list; lab step; echo \"status $?\"; tc qdisc show dev enp2s0; lab step; \
                echo \"status $?\"; lab step --list; lab step; echo \"status $?\"";
    let (code, stdout, stderr) = in_the_flagship(kernel, &[], text);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let running = format!("vlan-over-bond-tx-drop on Linux {release}");
    let wanted = [
        "qdisc fq_codel",
        "  1 next inject port-queue-held: ",
        "  2      flood flood: 1000 frames, pod:net1 -> gateway:eth0.70\n",
        "step 1 of 2: inject port-queue-held",
        "The account so far, with 1 of 2 steps to come:\nno flow was sent so far\nstatus 0\n",
        "qdisc plug",
        "step 2 of 2: flood flood: 1000 frames",
        "11 accepted, 989 ENOBUFS",
        &running,
        "PASS",
        "11 accepted, 989 refused (ENOBUFS); 0 delivered",
        "still held in the queue of node:enp2s0",
        "0 unattributed",
        "The trial has ended",
        "status 0\n",
        "  2 done flood flood",
        "status 70\n",
    ];
    contains_in_order(&stdout, &wanted);
    assert!(stderr.contains("error: the trial has ended"), "{stderr}");
}

/// `lab shell` of the flagship with these lines; its exit status and its output.
fn shell(arguments: &[&str], lines: &[u8]) -> (Option<i32>, String) {
    let mut shell = Command::new(LAB);
    shell
        .arg("shell")
        .arg(flagship())
        .args(["--no-install", "--kernel", KERNEL, "--ns", "node"])
        .args(arguments);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cargo has built it");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(lines).expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn from_a_shell() {
    // What the user does between two steps is part of the account.
    let lines = b"lab step\ntc qdisc del dev enp2s0 root\nlab step\necho status $?\nexit 5\n";
    let (code, stdout) = shell(&[], lines);
    assert_eq!(code, Some(5), "{stdout}");
    contains_in_order(
        &stdout,
        &["step 1 of 2", "step 2 of 2", "FAIL", "1000 accepted, none refused; 1000 delivered", "status 1\n"],
    );
}

const WAITS: &str = r#"
[ns.a.veth.p]
peer = "b:p"
addresses = ["192.0.2.1/24"]
[ns.b.veth.p]
peer = "a:p"
addresses = ["192.0.2.2/24"]
[fault.qdisc.full]
device = "a:p"
qdisc = { kind = "pfifo", limit = 0 }
[flow.before]
from = "a:p"
to = "b:p"
frames = 20
[flow.after]
from = "a:p"
to = "b:p"
frames = 30
[[step]]
flood = "before"
[[step]]
wait = { device = "a:p", show = "operstate", is = "DOWN" }
within_ms = 200
[[step]]
inject = "full"
[[step]]
flood = "after"
[[expect]]
flow = "after"
layer = "qdisc"
equals = 30
"#;

fn a_step_that_fails() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let path = dir.path().join("waits.toml");
    std::fs::write(&path, WAITS).expect("it is new");
    let text = "lab step; echo \"status $?\"; lab step; echo \"status $?\"; lab step; echo \"status $?\"; lab step --all; \
                echo \"status $?\"";
    let path = path.to_str().expect("a plain path");
    let (_, stdout, stderr) = script(KERNEL, &["--topology", path, "--ns", "a"], text);
    let wanted = [
        "with 3 of 4 steps to come:\nbefore: 20 frames, a:p -> b:p",
        "20 accepted, none refused; 20 delivered",
        "status 0\n",
        "timed out",
        "with 2 of 4 steps to come:",
        "FAIL wait: ",
        "status 1\n",
        "with 1 of 4 steps to come:",
        // A wait that failed before is no failure of this step.
        "status 0\n",
        "30 refused (ENOBUFS)",
        "FAIL wait: ",
        "status 1\n",
    ];
    contains_in_order(&stdout, &wanted);
    assert_eq!(stderr, "");
}

fn under_a_hypothesis(kernel: &str) {
    let text = "lab step --list; lab step 2; echo \"status $?\"; lab step --all; echo \"status $?\"";
    let (code, stdout, stderr) = in_the_flagship(kernel, &["--hypothesis", "filter-on-bond"], text);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    contains_in_order(
        &stdout,
        &[
            "  1 next inject filter-on-bond",
            "flood probe",
            "The account so far",
            "probe: 300 frames",
            "on node:bond0",
            "status 0\n",
            "step 5 of 5: flood in-band-tag",
            "PASS",
            "300 dropped by a traffic control filter on node:bond0",
            "450 frames in 1 trial, 0 unattributed",
            "status 0\n",
        ],
    );
    let (code, _, stderr) = in_the_flagship(kernel, &["--hypothesis", "no-such"], "true");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("no hypothesis `no-such`; it has "), "{stderr}");
}

fn from_a_shell_under_a_hypothesis() {
    let arguments = ["--hypothesis", "filter-on-bond"];
    let (code, stdout) = shell(&arguments, b"lab step\ntc filter show dev bond0 egress\nlab step\nexit 5\n");
    assert_eq!(code, Some(5), "{stdout}");
    contains_in_order(
        &stdout,
        &[
            "step 1 of 5: inject filter-on-bond",
            "filter protocol ",
            "action drop",
            "step 2 of 5: flood probe",
            "0 accepted, 300 refused (ENOBUFS)",
        ],
    );
}

fn without_a_topology() {
    let (code, _, stderr) = script(KERNEL, &[], "lab step");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("no topology is up around this process"), "{stderr}");
    let output = Command::new(LAB).arg("step").output().expect("cargo has built it");
    assert_eq!(output.status.code(), Some(2), "outside of a guest as well");
}
