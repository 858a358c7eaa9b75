//! What this machine's network shows, by commands and files that only read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Uid;

use crate::child::{self, ChildError};
use crate::file;
use bondlab_core::capture::{COMMANDS, Capture, FILES, OF_NIC, SECTION_BYTES_MAX};
use bondlab_core::net::clean;

/// Each command reads what the kernel has at hand.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// As many files of one folder.
const FILES_MAX: usize = 64;
/// As many NICs.
const NICS_MAX: usize = 64;
/// As many processes are looked at for their namespaces.
const PROCESSES_MAX: usize = 100_000;

const RELEASE: &str = "/proc/sys/kernel/osrelease";
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
const NICS: &str = "/sys/class/net";

/// Reads it all. `Err` is why no link could be seen.
///
/// # Errors
/// When `ip` cannot be run: without links there is nothing to import.
pub fn capture() -> Result<Capture, String> {
    let release = fs::read_to_string(RELEASE).unwrap_or_default();
    let mut capture = Capture::new(&release);
    for (at, command) in COMMANDS.iter().enumerate() {
        match output(command) {
            Ok(text) => capture.section(&command.join(" "), &text),
            Err(why) if at == 0 => return Err(format!("{}: {why}", command.join(" "))),
            Err(why) => capture.not_seen(&command.join(" "), &why),
        }
    }
    for (path, without) in FILES {
        files(&mut capture, Path::new(path), without);
    }
    nics(&mut capture);
    log(&mut capture);
    namespaces(&mut capture);
    Ok(capture)
}

/// The machine's name, to mask it.
pub fn host_name() -> Option<String> {
    let name = fs::read_to_string(HOST_NAME).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// A command's standard output, or why there is none.
fn output(command: &[&str]) -> Result<String, String> {
    let [program, arguments @ ..] = command else { return Err("it is empty".into()) };
    let mut process = Command::new(program);
    process.args(arguments).env("LC_ALL", "C");
    child::die_with_parent(&mut process);
    let ended = child::output_within(&mut process, COMMAND_TIMEOUT).map_err(|error| match error {
        ChildError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("{program} is not installed")
        }
        error => error.to_string(),
    })?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let status = match ended.status.code() {
        Some(code) => format!("exit status {code}"),
        None => format!("signal {}", ended.status.signal().unwrap_or_default()),
    };
    let root = if Uid::effective().is_root() { "" } else { "; root may see it" };
    Err(format!("{status}, {}{root}", if said.is_empty() { "without a word" } else { said }))
}

/// A file, or all files of a folder.
fn files(capture: &mut Capture, path: &Path, without: &str) {
    let shown = path.display().to_string();
    let all = if path.is_dir() { file::entries(path) } else { Ok(vec![path.to_path_buf()]) };
    let all = match all {
        Ok(all) if path.exists() => all,
        Ok(_) => return capture.not_seen(&shown, without),
        Err(error) => return capture.not_seen(&shown, &clean::line(&error.to_string())),
    };
    if all.is_empty() {
        capture.not_seen(&shown, "it is empty");
    }
    for path in all.iter().take(FILES_MAX) {
        let heading = format!("cat {}", path.display());
        match file::read(path, SECTION_BYTES_MAX as u64) {
            Ok(bytes) => capture.section(&heading, &String::from_utf8_lossy(&bytes)),
            Err(error) => capture.not_seen(&heading, &error.to_string()),
        }
    }
    if all.len() > FILES_MAX {
        capture.not_seen(&shown, &format!("{} of {} files are left out", all.len() - FILES_MAX, all.len()));
    }
}

/// Drivers, offloads and the drivers' own counters, of what is hardware.
fn nics(capture: &mut Capture) {
    let all = match file::entries(Path::new(NICS)) {
        Ok(all) => all,
        Err(error) => return capture.not_seen("ethtool", &error.to_string()),
    };
    let nics: Vec<_> = all.iter().filter(|path| path.join("device").exists()).collect();
    if nics.is_empty() {
        capture.not_seen("ethtool", "no device here is hardware");
    }
    'nics: for path in nics.iter().take(NICS_MAX) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        for command in OF_NIC {
            let command: Vec<&str> = command.iter().copied().chain([name]).collect();
            match output(&command) {
                Ok(text) => capture.section(&command.join(" "), &text),
                Err(why) => {
                    let is_everywhere = why.contains("not installed");
                    let what = if is_everywhere { "ethtool".to_owned() } else { command.join(" ") };
                    capture.not_seen(&what, &why);
                    if is_everywhere {
                        break 'nics;
                    }
                }
            }
        }
    }
    if nics.len() > NICS_MAX {
        capture.not_seen("ethtool", &format!("{} NICs are left out", nics.len() - NICS_MAX));
    }
}

/// What the kernel said of bonds and their ports.
fn log(capture: &mut Capture) {
    match output(&["dmesg"]) {
        Ok(text) => {
            let words = ["bond", "link is", "vlan", "8021q", "NETDEV WATCHDOG", "tx timeout"];
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| {
                    words.iter().any(|word| line.to_ascii_lowercase().contains(&word.to_ascii_lowercase()))
                })
                .collect();
            capture.section("dmesg, lines of links only", &lines.join("\n"));
        }
        Err(why) => capture.not_seen("dmesg", &why),
    }
}

/// Pods and containers have namespaces of their own: how many, as far as they can be seen.
fn namespaces(capture: &mut Capture) {
    let Ok(own) = fs::read_link("/proc/self/ns/net") else {
        return capture.not_seen("other network namespaces", "/proc/self/ns/net cannot be read");
    };
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let (mut others, mut closed) = (BTreeSet::new(), 0);
    for process in processes.flatten().take(PROCESSES_MAX) {
        if !process.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        match fs::read_link(process.path().join("ns/net")) {
            Ok(namespace) if namespace != own => drop(others.insert(namespace)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => closed += 1,
            _ => {}
        }
    }
    let hint = "in each, `nsenter -t PID -n lab capture` shows it";
    if !others.is_empty() {
        capture.not_seen("other network namespaces", &format!("there are {}; {hint}", others.len()));
    }
    if closed > 0 {
        capture.not_seen(
            "other network namespaces",
            &format!("those of {closed} processes of other users are closed; {hint}"),
        );
    }
}
