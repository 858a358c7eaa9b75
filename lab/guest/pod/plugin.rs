//! Runs a CNI plugin's own program by the CNI specification.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::Value;

use crate::agent::testbed::{Testbed, netns_error};
use crate::agent::wait;
use crate::pod::dhcp_daemon;
use crate::syscall::netns::{NetnsError, mount_own_sysfs};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::PluginCall;
use bondlab_core::plan::record::OpError;

/// Where programs are put into the machine.
pub const FOLDER: &str = "/opt/cni/bin";
/// A plugin under emulation takes a second or two; one that hangs waits for a server or a lock.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks whether it has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Of what a program says, that much is read, in bytes: a result or an error has some hundred.
const SAID_MAX: u64 = 64 * 1024;

/// Whether the program is in the machine.
pub fn is_there(name: &str) -> bool {
    Path::new(FOLDER).join(name).is_file()
}

/// Runs it, and forgets what was known of the devices it changes. What ADD answers is kept for DEL (`prevResult`).
///
/// # Errors
/// What the plugin says about its failure, or that it could not be run.
pub fn run(bed: &mut Testbed, call: &PluginCall) -> Result<(), OpError> {
    let what = format!("{} {}", call.plugin, call.command);
    let failed = |text: String| OpError { what: what.clone(), errno: None, text: Some(text) };
    let netns = |error| netns_error(&what, &error);
    if call.asks_daemon {
        dhcp_daemon::ensure(bed, &call.node)?;
    }
    let pod = bed.namespaces.get(&call.pod).map_err(netns)?;
    let pod = format!("/proc/{}/fd/{}", std::process::id(), pod.raw_fd());
    let attachment = format!("{} {}", call.pod, call.ifname);
    let mut config = with(&call.config, "prevResult", bed.results.remove(&attachment));
    if let Some(vf) = &call.vf {
        config = with(&config, "deviceID", pci_address(bed, &DeviceRef::new(&call.node, vf))?);
    }
    let program = Path::new(FOLDER).join(&call.plugin);
    // A child has the namespaces of the thread that starts it; /sys is to show the node's devices, as it does on a node.
    let ended = bed.namespaces.enter(&call.node, || {
        mount_own_sysfs()?;
        carry_out(&program, call, (&config, &pod))
    });
    let ended = ended.map_err(netns)?;
    for device in &call.changes {
        bed.rtnl(&device.ns)?.forget(&device.name);
    }
    let ended = ended.map_err(|error| failed(format!("run {}: {error}", program.display())))?;
    if !ended.status.success() {
        return Err(failed(ended.error()));
    }
    if call.command == "ADD" {
        let result = ended.result().ok_or_else(|| failed(ended.no_result()))?;
        bed.results.insert(attachment, result);
    }
    Ok(())
}

/// The configuration with one key more, which a runtime puts there: what ADD answered (for DEL, from version 0.4.0 on), or
/// the device that a device plugin has handed out.
fn with(config: &str, key: &str, value: Option<Value>) -> String {
    match (value, serde_json::from_str(config)) {
        (Some(value), Ok(Value::Object(mut config))) => {
            config.insert(key.into(), value);
            Value::Object(config).to_string()
        }
        _ => config.into(),
    }
}

/// As the namespace's sysfs has it; what stands in for a VF has none.
fn pci_address(bed: &Testbed, device: &DeviceRef) -> Result<Option<Value>, OpError> {
    let namespace = bed.namespaces.get(&device.ns);
    let text = namespace.and_then(|ns| ns.read_sys_class_net(&format!("{}/device/uevent", device.name)));
    match text {
        Ok(text) => Ok(text.lines().find_map(|line| line.strip_prefix("PCI_SLOT_NAME=")).map(Value::from)),
        Err(NetnsError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(netns_error(&format!("read the PCI address of {device}"), &error)),
    }
}

/// How a program ended, and what it said.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// The result object of the specification, which ADD answers with.
    fn result(&self) -> Option<Value> {
        serde_json::from_str(&self.stdout).ok().filter(Value::is_object)
    }

    fn no_result(&self) -> String {
        format!("it succeeded, and its answer is no result of the specification: {}", self.said())
    }

    /// The specification's error object as libcni prints it (`Error()` of pkg/types); else all that was said, and how the
    /// program ended.
    fn error(&self) -> String {
        let object: Option<Value> = serde_json::from_str(&self.stdout).ok();
        let text = |key| object.as_ref().and_then(|object| object.get(key)).and_then(Value::as_str);
        match (text("msg"), text("details").filter(|details| !details.is_empty())) {
            (Some(message), Some(details)) => format!("{message}; {details}"),
            (Some(message), None) => message.into(),
            (None, _) => format!("{}: {}", self.status, self.said()),
        }
    }

    /// On one line.
    fn said(&self) -> String {
        let words: Vec<&str> = self.stdout.split_whitespace().chain(self.stderr.split_whitespace()).collect();
        if words.is_empty() { "it said nothing".into() } else { words.join(" ") }
    }
}

/// Runs it to its end. Its standard input, output and error are files in memory: a program that ends before it has read its
/// input breaks no pipe, and one that says much fills none.
fn carry_out(program: &Path, call: &PluginCall, (config, pod): (&str, &str)) -> io::Result<Ended> {
    let mut stdin = in_memory()?;
    stdin.write_all(config.as_bytes())?;
    stdin.rewind()?;
    let (stdout, stderr) = (in_memory()?, in_memory()?);
    let mut child = Command::new(program)
        .env_clear()
        .env("CNI_COMMAND", &call.command)
        .env("CNI_CONTAINERID", call.pod.as_str())
        .env("CNI_NETNS", pod)
        .env("CNI_IFNAME", call.ifname.as_str())
        .env("CNI_ARGS", &call.args)
        .env("CNI_PATH", FOLDER)
        .stdin(stdin)
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()
        .map_err(explained)?;
    let ended = wait::until(Instant::now() + TIMEOUT, LOOK_INTERVAL, || child.try_wait().transpose());
    let Some(status) = ended.transpose()? else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no end after {} s", TIMEOUT.as_secs())));
    };
    Ok(Ended { status, stdout: read(stdout)?, stderr: read(stderr)? })
}

/// A program that is there and cannot be found lacks what is to run it.
fn explained(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return error;
    }
    let text = "its interpreter or dynamic loader is not in the machine: link it statically";
    io::Error::new(error.kind(), format!("{error}: {text}"))
}

fn in_memory() -> io::Result<File> {
    Ok(memfd_create(c"cni", MFdFlags::MFD_CLOEXEC)?.into())
}

/// What was written, from its beginning.
fn read(mut file: File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(SAID_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Larger than a pipe.
    const CONFIG_BYTES: usize = 256 * 1024;

    fn ended(script: &str) -> Ended {
        let folder = tempfile::tempdir().expect("a folder of one's own");
        let program = folder.path().join("bond");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a folder can be written to");
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("the file is our own");
        let call = PluginCall {
            command: "ADD".into(),
            plugin: "bond".into(),
            node: "node".parse().unwrap(),
            pod: "pod".parse().unwrap(),
            ifname: "net1".parse().unwrap(),
            args: "IgnoreUnknown=true".into(),
            config: String::new(),
            changes: Vec::new(),
            vf: None,
            asks_daemon: false,
        };
        let config = format!("{{\"filler\":\"{}\"}}", "x".repeat(CONFIG_BYTES));
        // Another test may be between fork() and exec() with the script still open for writing: ETXTBSY until it is through.
        let run = || carry_out(&program, &call, (&config, "/proc/1/ns/net"));
        let is_busy = |ended: &io::Result<Ended>| {
            ended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ExecutableFileBusy)
        };
        let mut tries = std::iter::repeat_with(run).take(1000);
        tries.find(|ended| !is_busy(ended)).expect("not busy for ever").expect("there is a /bin/sh")
    }

    #[rstest::rstest]
    #[case(r#"echo '{"code": 999, "msg": "no such master"}'; exit 1"#, "no such master")]
    #[case(r#"echo '{"code": 999, "msg": "no", "details": "eth9"}'; exit 1"#, "no; eth9")]
    #[case("echo panic: >&2; echo ' no' >&2; exit 2", "exit status: 2: panic: no")]
    #[case("exit 3", "exit status: 3: it said nothing")]
    #[case("kill -9 $$", "signal: 9 (SIGKILL): it said nothing")]
    fn a_program_that_does_not_read_its_input_shows_its_own_error(
        #[case] script: &str,
        #[case] expected: &str,
    ) {
        let ended = ended(script);
        assert!(!ended.status.success());
        assert_eq!(ended.error(), expected);
    }

    #[test]
    fn a_program_that_says_more_than_a_pipe_holds_comes_to_its_end() {
        let ended = ended("head -c 300000 /dev/zero | tr '\\0' x >&2; echo '{\"msg\": \"much\"}'; exit 1");
        assert_eq!((ended.error(), ended.stderr.len() as u64), ("much".into(), SAID_MAX));
    }

    #[test]
    fn the_specifications_parameters_are_handed_over() {
        let parameters = "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_PATH $CNI_ARGS $(wc -c)";
        let ended = ended(&format!("echo \"{{\\\"got\\\": \\\"{parameters}\\\"}}\""));
        let bytes = CONFIG_BYTES + "{\"filler\":\"\"}".len();
        let got = format!("ADD pod /proc/1/ns/net net1 /opt/cni/bin IgnoreUnknown=true {bytes}");
        assert_eq!(ended.result().expect("an object")["got"], got);
    }

    #[test]
    fn success_without_a_result_is_reported() {
        let ended = ended("echo done");
        assert_eq!(ended.result(), None);
        assert!(ended.no_result().ends_with("no result of the specification: done"));
    }

    #[test]
    fn del_gets_the_result_of_add() {
        let result = serde_json::json!({ "interfaces": [] });
        let config = with(r#"{"type":"bond"}"#, "prevResult", Some(result));
        assert_eq!(config, r#"{"prevResult":{"interfaces":[]},"type":"bond"}"#);
        assert_eq!(with("{}", "prevResult", None), "{}");
    }
}
