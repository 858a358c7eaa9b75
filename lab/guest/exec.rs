//! Runs a program of the host's in the guest: its root file system over FUSE, its streams in frames, and how it ended.
//!
//! The machine ends when the host has acknowledged the end of the command. Without that the agent fails, so that a lost
//! end is never taken for a success.

mod clock;
mod command;
mod input;
mod output;
mod pump;
mod root;
mod send_files;
mod steps;

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::channel as queue;
use std::thread;
use std::time::Duration;

use bondlab_core::plan::exec::{ExecRequest, How, INPUT_PORT, OUTPUT_PORT, ROOT_PORT};

use tokio::runtime::Runtime;

use crate::agent::stepper::Stepper;
use crate::agent::{Prepared, channel};
use crate::device::links;
use crate::exec::input::Input;
use crate::exec::output::Output;
use crate::syscall::netns::Namespace;
use crate::syscall::rtnl::Rtnl;

/// From the last frame to its acknowledgement. The host writes all output first, to a pager perhaps that is not scrolled; a
/// host that is gone takes its machine with it.
const ACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Runs the command of `request`, and returns when the host has acknowledged its end.
///
/// # Errors
/// A port that breaks, or no acknowledgement.
pub(crate) fn serve(
    request: &ExecRequest,
    mut prepared: Prepared,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    if request.stepping.is_none() {
        // Drops are not needed then. It ends with its file descriptors.
        prepared.observer = Err("not used by exec".to_owned());
    }
    let output = Arc::new(Output::new(channel::open_port(OUTPUT_PORT)?));
    let (acknowledge, acknowledged) = queue();
    let input = Input::start(channel::open_port(INPUT_PORT)?, Arc::clone(&output), acknowledge);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let how = match prepare(request, &mut prepared, &runtime) {
        Ok(mut surroundings) => {
            let how = run(request, &mut surroundings, (&input, &output), &runtime);
            if request.out && !matches!(how, How::NotPrepared { .. }) {
                send_files::send(&root::inside(bondlab_core::plan::exec::OUT_DIR), &output)?;
            }
            // Namespaces end with the machine, and not before it.
            std::mem::forget(surroundings);
            how
        }
        Err(text) => How::NotPrepared { text },
    };
    std::mem::forget(runtime);
    output.end(how)?;
    acknowledged
        .recv_timeout(ACKNOWLEDGED_TIMEOUT)
        .map_err(|_| "the host did not acknowledge the command's end")?;
    Ok(())
}

/// What a command runs in.
struct Surroundings<'a> {
    /// The topology, and where its steps are asked for.
    topology: Option<(Stepper<'a>, UnixListener)>,
}

/// Runs the command, and carries out the steps that are asked for meanwhile.
fn run(
    request: &ExecRequest,
    surroundings: &mut Surroundings<'_>,
    (input, output): (&Input, &Arc<Output>),
    runtime: &Runtime,
) -> How {
    let not_prepared = |error: &dyn Error| How::NotPrepared { text: error.to_string() };
    let Some((stepper, listener)) = &mut surroundings.topology else {
        return command::run(request, None, input, output);
    };
    let found = request.ns.as_ref().map(|name| stepper.bed().namespaces.get(name)?.try_clone());
    let namespace = match found.transpose() {
        Ok(namespace) => namespace,
        Err(error) => return not_prepared(&error),
    };
    let (running, ended) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => return not_prepared(&error),
    };
    thread::scope(|scope| {
        let command = scope.spawn(move || {
            // Its end is seen when the command has ended, however that comes about.
            let _running = running;
            command::run(request, namespace.as_ref(), input, output)
        });
        steps::serve(stepper, runtime, listener, &ended);
        command.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn prepare<'a>(
    request: &'a ExecRequest,
    prepared: &'a mut Prepared,
    runtime: &Runtime,
) -> Result<Surroundings<'a>, String> {
    clock::set(request.now_ns).map_err(|error| format!("set the clock: {error}"))?;
    clock::reseed(&request.entropy).map_err(|error| format!("seed the random number generator: {error}"))?;
    // The kernel's own name for a machine without one is `(none)`, which programs take for a mistake.
    fs::write("/proc/sys/kernel/hostname", "lab").map_err(|error| format!("set the host name: {error}"))?;
    runtime.block_on(loopback_up())?;
    let stepper = match &request.stepping {
        Some(stepping) => {
            let up = runtime.block_on(Stepper::bring_up(stepping, prepared));
            let name = &stepping.plan.topology;
            Some(up.map_err(|why| format!("the topology {name} does not come up: {why}"))?)
        }
        None => None,
    };
    let port = channel::open_port(ROOT_PORT).map_err(|error| error.to_string())?;
    root::mount_all(port).map_err(|error| error.to_string())?;
    let Some(stepper) = stepper else { return Ok(Surroundings { topology: None }) };
    for (name, namespace) in stepper.bed().namespaces.iter() {
        set_answers_pings(namespace, true)?;
        root::name_namespace(name, namespace).map_err(|error| error.to_string())?;
    }
    let listener = steps::open().map_err(|error| format!("the socket of `lab step`: {error}"))?;
    Ok(Surroundings { topology: Some((stepper, listener)) })
}

/// Programs take it for granted.
async fn loopback_up() -> Result<(), String> {
    let what = "set lo up";
    let own = Namespace::own().map_err(|error| format!("{what}: {error}"))?;
    let rtnl = Rtnl::open(&own).map_err(|error| error.during(what).to_string())?;
    links::set_loopback_up(&rtnl).await.map_err(|error| error.during(what).to_string())
}

/// The lab's own flows want no answers of the kernel's; a user's ping does.
fn set_answers_pings(namespace: &Namespace, on: bool) -> Result<(), String> {
    let ignored = if on { "0" } else { "1" };
    for path in ["/proc/sys/net/ipv4/icmp_echo_ignore_all", "/proc/sys/net/ipv6/icmp/echo_ignore_all"] {
        let set = namespace.enter(|| fs::write(path, ignored)).map_err(|error| error.to_string())?;
        match set {
            // The machine may have no IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            set => set.map_err(|error| format!("{path}: {error}"))?,
        }
    }
    Ok(())
}
