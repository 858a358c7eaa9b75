//! Runs a CNI plugin's own program by the CNI specification.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dhcp_daemon;
use super::testbed::{Testbed, netns_error};
use super::wait;
use crate::plan::PluginCall;
use crate::record::OpError;

/// Where programs are put into the machine.
pub const FOLDER: &str = "/opt/cni/bin";
/// A plugin under emulation takes a second or two; one that hangs waits for a server or a lock.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks whether it has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Whether the program is in the machine.
pub fn is_there(name: &str) -> bool {
    Path::new(FOLDER).join(name).is_file()
}

/// Runs it, and forgets what was known of the devices it changes.
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
    // A child has the namespace of the thread that starts it.
    let ended = bed.namespaces.enter(&call.node, || carry_out(call, &pod)).map_err(netns)?;
    for device in &call.changes {
        bed.rtnl(&device.ns)?.forget(&device.name);
    }
    match ended {
        Ok((true, _)) => Ok(()),
        Ok((false, said)) => Err(failed(message(&said))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Whether it succeeded, and what it said.
fn carry_out(call: &PluginCall, pod: &str) -> io::Result<(bool, String)> {
    let mut child = Command::new(Path::new(FOLDER).join(&call.plugin))
        .env_clear()
        .env("CNI_COMMAND", &call.command)
        .env("CNI_CONTAINERID", call.pod.as_str())
        .env("CNI_NETNS", pod)
        .env("CNI_IFNAME", call.ifname.as_str())
        .env("CNI_PATH", FOLDER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(call.config.as_bytes())?;
    }
    let ended = wait::until(Instant::now() + TIMEOUT, LOOK_INTERVAL, || child.try_wait().transpose());
    let Some(status) = ended.transpose()? else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no end after {} s", TIMEOUT.as_secs())));
    };
    let said = said(&mut child)?;
    Ok((status.success(), said))
}

/// A result or an error is far smaller than a pipe: it is all there when the program has ended.
fn said(child: &mut Child) -> io::Result<String> {
    let mut said = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut said)?;
    }
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut said)?;
    }
    Ok(said)
}

/// The `msg` of the specification's error object; else all that was said, on one line.
fn message(said: &str) -> String {
    let object: Option<serde_json::Value> = serde_json::from_str(said).ok();
    let message = object.as_ref().and_then(|object| object.get("msg")).and_then(serde_json::Value::as_str);
    message.map_or_else(|| said.split_whitespace().collect::<Vec<_>>().join(" "), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn an_error_is_told_in_the_plugins_words() {
        let said = "{\n \"cniVersion\": \"0.4.0\", \"code\": 999,\n \"msg\": \"Link not found\"\n}";
        assert_eq!(message(said), "Link not found");
        assert_eq!(message("panic:\n no"), "panic: no");
    }
}
