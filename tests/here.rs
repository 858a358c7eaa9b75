//! Every topology on the running kernel, as root: `lab run FILE --kernel host`, and nothing is left behind, however it
//! ends. In a CI machine this is what `cargo test` tests: that machine's own kernel.
//!
//! A topology's conditions are written for one kernel. Where there is an accepted snapshot of the running one, that
//! decides; on a kernel without one, conditions that do not hold and options that it does not know are reported but not
//! failed. What the lab cannot vouch for fails on every kernel: a frame that is not accounted for, a hang, an error.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bondlab_core::judge::outcome::Outcome;
use bondlab_core::report::behaviour::Behaviour;
use bondlab_core::report::document::Document;
use bondlab_core::report::matrix::{Cell, SnapshotStatus, unattributed};
use bondlab_core::report::merge::judge_as_found;
use bondlab_core::report::{grid, snapshot};
use bondlab_host::kernel::pins::Kernels;
use bondlab_host::run::local::AGENT_COMMAND;
use bondlab_host::wait;

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

/// The name by which snapshots know the running kernel; its release, where no pinned kernel is the same.
fn running_kernel() -> String {
    let name = nix::sys::utsname::uname().expect("the kernel knows its name");
    let release = name.release().to_string_lossy();
    let pins = Kernels::built_in().expect("a unit test reads it too");
    pins.pins().find(|pin| pin.release == release).map_or_else(|| release.into_owned(), |pin| pin.id.clone())
}

/// The accepted behaviour of a topology on a kernel.
fn accepted(topology: &str, kernel: &str) -> Option<Behaviour> {
    let path = root().join("snapshots").join(snapshot::file_name(topology).unwrap());
    let file = fs::read_to_string(path).ok()?;
    snapshot::Accepted::parse(&file).expect("a snapshot").behaviour(kernel)
}

/// What is to be reported of a cell, or what is wrong with it.
fn judge(cell: &Cell, written_for: Option<&str>, kernel: &str) -> Result<String, String> {
    let document = &cell.document;
    // Of a normal user that is not asked, but this is root in the initial user namespace.
    if let Some(why) = document.trials.iter().find_map(|trial| trial.unobserved.as_deref()) {
        return Err(format!("the drops were not watched: {why}"));
    }
    let is_elsewhere = written_for.is_some_and(|version| version != kernel);
    match (document.outcome, cell.snapshot.status) {
        (Outcome::Skip, _) => document
            .reason
            .clone()
            .map(|reason| format!("skip: {reason}"))
            .ok_or("a skip without a reason".into()),
        (outcome, status) if outcome.is_expected() => Ok(format!("{outcome} (snapshot: {status:?})")),
        (Outcome::Unsupported, SnapshotStatus::New) if unattributed(document) == 0 => {
            Ok(format!("this kernel does not know an option, and no snapshot of {kernel}"))
        }
        (Outcome::Fail, SnapshotStatus::New) if is_elsewhere && unattributed(document) == 0 => {
            Ok(format!("not what its file says of another kernel, and no snapshot of {kernel}"))
        }
        _ => Err(grid::problem(cell)),
    }
}

/// A document for each variant of a topology, or why there is none.
fn documents(output: &Output) -> Result<Vec<Document>, String> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Printed {
        Variants { variants: Vec<Document> },
        One(Box<Document>),
    }
    match serde_json::from_slice(&output.stdout) {
        Ok(Printed::One(document)) => Ok(vec![*document]),
        Ok(Printed::Variants { variants }) if !variants.is_empty() => Ok(variants),
        Ok(Printed::Variants { .. }) => Err("a result without a variant".into()),
        Err(error) => Err(format!(
            "no result ({error}), {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A copy of what `lab run` printed, in the folder that `LAB_CELLS` names: vagrant/provision.sh brings it to the host.
fn keep(topology: &Path, printed: &[u8]) {
    let Some(folder) = std::env::var_os("LAB_CELLS") else { return };
    let name = topology
        .strip_prefix(root().join("topologies"))
        .expect("it is of the gallery")
        .with_extension("json");
    let name = name.to_string_lossy().replace('/', "-");
    fs::write(Path::new(&folder).join(name), printed).expect("the folder of LAB_CELLS takes a result");
}

/// The topology's name, the kernel it was written for.
fn head(path: &Path) -> (String, Option<String>) {
    let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("the gallery can be read");
    let topology = bondlab_core::topology::Topology::parse(&name, &path.display().to_string(), &text)
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
        keep(&path, &output.stdout);
        let judged = |document: Document| {
            let name = document.topology.clone();
            let cell =
                judge_as_found(document, &path.display().to_string(), accepted(&name, &kernel).as_ref());
            let judged = judge(&cell, written_for.as_deref(), &kernel);
            judged.map(|text| format!("{name}: {text}")).map_err(|error| format!("{name}: {error}"))
        };
        match documents(&output) {
            Ok(all) => {
                for judged in all.into_iter().map(judged) {
                    judged.map_or_else(|error| wrong.push(error), |text| println!("{text}"));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "on {kernel}:\n{}", wrong.join("\n"));
    let left: Vec<String> = footprint().difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// A network namespace, held open: the kernel gives the inode number of one that is gone to the next that is made,
/// and other tests make some beside this one.
struct Namespace {
    link: PathBuf,
    _held: File,
}

/// The agent that a lab started, once it is in a network namespace of its own.
fn agent_of(lab: &Child) -> Option<(i32, Namespace)> {
    let parent = format!("PPid:\t{}", lab.id());
    let own = fs::read_link("/proc/self/ns/net").ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok()).find_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let is_agent = status.lines().any(|line| line == parent) && arguments.contains(AGENT_COMMAND);
        let held = File::open(format!("/proc/{pid}/ns/net")).ok()?;
        let link = fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).ok()?;
        (is_agent && link != own).then_some((pid, Namespace { link, _held: held }))
    })
}

/// Processes in that namespace.
fn inhabitants(namespace: &Namespace) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
    let inside =
        |pid: &String| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|one| one == namespace.link);
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
