//! Every topology on the running kernel, as root: `lab run FILE --kernel host`, and nothing is left behind, however it
//! ends. In a CI machine this is what `cargo test` tests: that machine's own kernel.
//!
//! A topology's conditions are written for one kernel. Where there is an accepted snapshot of the running one, that
//! decides; on a kernel without one, conditions that do not hold are told but not failed. What the lab cannot vouch
//! for fails on every kernel: a frame nobody accounts for, a hang, an error.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lab::document::Document;
use lab::host::local::AGENT_COMMAND;
use lab::host::wait;
use lab::outcome::Outcome;
use lab::snapshot;

/// Long under emulation, where a run of a second takes twenty.
const PATIENCE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_millis(2);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the tests of this file can tell anything; says why not.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!(
            "skipped: not root, so the drops of the running kernel cannot be watched; sudo -E cargo test"
        );
    }
    root
}

fn topologies() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("topologies")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the gallery can be read") {
            let path = entry.expect("the gallery can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "there is no gallery");
    files
}

fn lab_run(topology: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["run", "--kernel", "host", "--format", "json"]).arg(topology).current_dir(root());
    command
}

/// The upstream version in what `uname -v` says on Debian; the release of Debian 12 does not have it.
fn debian_version(uname_version: &str) -> Option<&str> {
    let (_, rest) = uname_version.split_once("Debian ")?;
    Some(rest.split(['-', '+', ' ', '~']).next().unwrap_or(rest))
}

/// The version by which snapshots know the running kernel.
fn running_kernel() -> String {
    let name = nix::sys::utsname::uname().expect("the kernel knows its name");
    let (release, version) = (name.release().to_string_lossy(), name.version().to_string_lossy());
    let of_release = release.split(['-', '+']).next().unwrap_or_default();
    debian_version(&version).unwrap_or(of_release).to_owned()
}

/// The accepted text of a topology on a kernel.
fn accepted(topology: &str, kernel: &str) -> Option<String> {
    let file = fs::read_to_string(root().join(format!("snapshots/{topology}@{kernel}.snap"))).ok()?;
    let (_, text) = file.strip_prefix("---\n")?.split_once("\n---\n")?;
    Some(text.trim_end().to_owned())
}

/// What is wrong with a result, if anything is; and else what is to be told about it.
fn judge(
    document: &Document,
    written_for: Option<&str>,
    kernel: &str,
    accepted: Option<&str>,
) -> Result<String, String> {
    let reason = document.reason.as_deref().unwrap_or_default();
    let unattributed: u32 =
        document.trials.iter().flat_map(|trial| &trial.flows).map(|flow| flow.unattributed).sum();
    if unattributed > 0 {
        return Err(format!("{unattributed} frames nobody accounts for"));
    }
    let unobserved = document.trials.iter().find_map(|trial| trial.unobserved.as_deref());
    if let Some(why) = unobserved {
        return Err(format!("drops were not watched, though this is root: {why}"));
    }
    let text = snapshot::text(document);
    match (document.outcome, accepted) {
        (Outcome::Skip, _) if !reason.is_empty() => Ok(format!("skip: {reason}")),
        (Outcome::Pass | Outcome::Xfail | Outcome::Fail, Some(accepted)) if text.trim_end() == accepted => {
            Ok(format!("{}, as its snapshot of {kernel}", document.outcome))
        }
        (Outcome::Pass | Outcome::Xfail | Outcome::Fail, Some(accepted)) => {
            Err(format!("not as its snapshot of {kernel}:\n{accepted}\nbut:\n{text}"))
        }
        (Outcome::Pass | Outcome::Xfail, None) => Ok(document.outcome.to_string()),
        (Outcome::Fail, None) if written_for.is_some_and(|version| version != kernel) => Ok(format!(
            "its conditions, written for {}, do not hold on {kernel}, which has no snapshot",
            written_for.unwrap_or_default()
        )),
        _ => Err(format!("{}: {reason}\n{text}", document.outcome)),
    }
}

/// The document, or why there is none.
fn document(output: &Output) -> Result<Document, String> {
    serde_json::from_slice(&output.stdout).map_err(|error| {
        format!("no result ({error}), {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
    })
}

/// The topology's name, the kernel it was written for.
fn head(path: &Path) -> (String, Option<String>) {
    let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("the gallery can be read");
    let topology = lab::topology::Topology::parse(&name, &path.display().to_string(), &text)
        .unwrap_or_else(|errors| panic!("{}", errors.pretty(false)));
    (name, topology.kernel)
}

/// What of this machine the lab must not touch: links, named namespaces, mounts.
fn footprint() -> BTreeSet<String> {
    let names = |folder: &str| -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        // `bonding_masters` is a file there, and the driver's, not a link.
        let entries = entries.flatten().filter(|entry| folder != "/sys/class/net" || entry.path().is_dir());
        entries.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())).collect()
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the kernel lists mounts");
    let mounts = mounts.lines().map(|line| format!("mount {line}"));
    mounts.chain(names("/sys/class/net")).chain(names("/run/netns")).collect()
}

#[test]
fn each_topology_does_what_it_should_on_the_running_kernel() {
    if !is_root() {
        return;
    }
    let (kernel, before) = (running_kernel(), footprint());
    let mut wrong = Vec::new();
    for path in topologies() {
        let (name, written_for) = head(&path);
        let output = lab_run(&path).output().expect("the lab starts");
        let judged = document(&output).and_then(|document| {
            judge(&document, written_for.as_deref(), &kernel, accepted(&name, &kernel).as_deref())
        });
        match judged {
            Ok(told) => println!("{name}: {told}"),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "on {kernel}:\n{}", wrong.join("\n"));
    let left: Vec<String> = footprint().difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// The agent that a lab started, once it is in a network namespace of its own.
fn agent_of(lab: &Child) -> Option<(i32, PathBuf)> {
    let parent = format!("PPid:\t{}", lab.id());
    let own = fs::read_link("/proc/self/ns/net").ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok()).find_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let namespace = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
        let is_agent = status.lines().any(|line| line == parent) && arguments.contains(AGENT_COMMAND);
        (is_agent && namespace != own).then_some((pid, namespace))
    })
}

/// Processes with a thread in that namespace.
fn inhabitants(namespace: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
    let inside =
        |pid: &String| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|one| one == namespace);
    processes.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(inside).collect()
}

#[test]
fn a_lab_that_is_killed_leaves_nothing() {
    if !is_root() {
        return;
    }
    let before = footprint();
    let path = topologies().remove(0);
    let mut lab = lab_run(&path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the lab starts");
    let found = wait::until(Instant::now() + PATIENCE, INTERVAL, || agent_of(&lab));
    lab.kill().expect("it is a child of this test");
    let status = lab.wait().expect("it is a child of this test");
    let (agent, namespace) = found.expect("the lab had an agent");
    assert_eq!(status.signal(), Some(9), "it was over before it could be killed");
    let gone = || (!Path::new(&format!("/proc/{agent}")).exists()).then_some(());
    wait::until(Instant::now() + PATIENCE, INTERVAL, gone).expect("the agent dies with the lab");
    assert_eq!(inhabitants(&namespace), Vec::<String>::new());
    let left: Vec<String> = footprint().difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
}

#[test]
fn the_running_kernel_goes_by_its_upstream_version() {
    for (uname, version) in [
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)", Some("6.1.192")),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1~bpo12+1 (2025-11-05)", Some("6.12.57")),
        ("#1 SMP Debian 7.3~rc7-1~exp1 (2026-11-01)", Some("7.3")),
        ("#1 SMP PREEMPT_DYNAMIC @0", None),
    ] {
        assert_eq!(debian_version(uname), version, "{uname}");
    }
}
