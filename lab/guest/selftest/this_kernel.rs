//! Runs the lab inside a guest as on a user's own machine, `--kernel host`, and looks at what it left behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::agent::wait;

/// Where everybody can read, and a guest has nothing else.
const FILES: &str = "/tmp";

/// A killed process's namespaces are taken down by the kernel's own thread (`cleanup_net()`), after its end.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(10);
/// A topology stands within seconds.
const BUILD_TIMEOUT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(5);

/// What is to be run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Name of a topology file.
    name: String,
    /// Its text.
    topology: String,
    /// Who runs it; else root.
    #[serde(default)]
    user: Option<u32>,
    /// Whether users may not make namespaces from now on.
    #[serde(default)]
    forbid_user_namespaces: bool,
    /// Whether the lab is killed, as nothing can be against, when its namespaces stand.
    #[serde(default)]
    kill: bool,
}

/// How it went.
#[derive(Debug, Serialize)]
pub struct Answer {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: String,
    stderr: String,
    /// Network namespaces more than before when it was killed.
    standing: usize,
    before: Traces,
    after: Traces,
}

/// What a run could leave behind, as names.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Traces {
    links: BTreeSet<String>,
    /// Of every thread, and every one held open.
    namespaces: BTreeSet<String>,
    named_namespaces: BTreeSet<String>,
    mounts: BTreeSet<String>,
    processes: Vec<String>,
    files: BTreeSet<String>,
}

/// Runs the lab and returns when it has ended and the kernel has tidied up, or had the time to.
///
/// # Errors
/// When the lab cannot be started.
pub fn run(ask: &Ask) -> io::Result<Answer> {
    let topology = Path::new(FILES).join(&ask.name);
    fs::write(&topology, &ask.topology)?;
    if ask.forbid_user_namespaces {
        fs::write("/proc/sys/user/max_user_namespaces", "0")?;
    }
    let (stdout, stderr) = (unnamed_file()?, unnamed_file()?);
    let before = traces();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("lab").arg("run").arg(topology).args(["--kernel", "host", "--format", "json"]);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    if let Some(user) = ask.user {
        command.uid(user).gid(user);
    }
    let mut lab = command.spawn()?;
    let standing = if ask.kill { kill_when_built(&mut lab, &before)? } else { 0 };
    let status = lab.wait()?;
    let deadline = Instant::now() + CLEANUP_TIMEOUT;
    let is_tidy = || Some(traces()).filter(|now| *now == before);
    let after = wait::until(deadline, INTERVAL, is_tidy).unwrap_or_else(traces);
    Ok(Answer {
        code: status.code(),
        signal: status.signal(),
        stdout: content(stdout)?,
        stderr: content(stderr)?,
        standing,
        before,
        after,
    })
}

fn kill_when_built(lab: &mut Child, before: &Traces) -> io::Result<usize> {
    let new_networks = || {
        let now = traces().namespaces;
        now.difference(&before.namespaces).filter(|name| name.starts_with("net:")).count()
    };
    // One is the agent's own, in which nothing is built.
    let built = || Some(new_networks()).filter(|networks| *networks > 2);
    let standing = wait::until(Instant::now() + BUILD_TIMEOUT, INTERVAL, built).unwrap_or(0);
    lab.kill()?;
    Ok(standing)
}

/// A pipe would have to be drained while the lab runs.
fn unnamed_file() -> io::Result<File> {
    let path = Path::new(FILES).join("output");
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

fn content(mut file: File) -> io::Result<String> {
    io::Seek::rewind(&mut file)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn traces() -> Traces {
    let mut traces = Traces {
        links: names_in("/sys/class/net"),
        named_namespaces: names_in("/run/netns"),
        files: names_in(FILES),
        mounts: fs::read_to_string("/proc/self/mounts")
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect(),
        ..Traces::default()
    };
    for process in names_in("/proc").iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let dir = Path::new("/proc").join(process);
        let command = fs::read_to_string(dir.join("cmdline")).unwrap_or_default();
        // The kernel's own threads come and go as they like, and have none.
        if command.is_empty() {
            continue;
        }
        traces.processes.push(command.replace('\0', " "));
        for task in names_in(dir.join("task")) {
            let task = dir.join("task").join(task);
            traces.namespaces.extend(links_in(&task.join("ns")));
            traces.namespaces.extend(links_in(&task.join("fd")).into_iter().filter(|to| to.contains(":[")));
        }
    }
    traces.namespaces.retain(|name| ["net:", "user:", "mnt:"].iter().any(|kind| name.starts_with(kind)));
    traces
}

fn names_in(dir: impl AsRef<Path>) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Where the links of a directory lead to, as `net:[4026531840]`.
fn links_in(dir: &Path) -> BTreeSet<String> {
    let targets = names_in(dir).into_iter().filter_map(|name| fs::read_link(dir.join(name)).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}
