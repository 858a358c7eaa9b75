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

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::channel as queue;
use std::time::Duration;

use bondlab_core::net::name::NsName;
use bondlab_core::plan::exec::{ExecRequest, How, INPUT_PORT, OUTPUT_PORT, ROOT_PORT};

use crate::agent::testbed::Testbed;
use crate::agent::{Prepared, channel, stand};
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
    // Drops are not needed here. It ends with its file descriptors.
    prepared.observer = Err("not used by exec".to_owned());
    let output = Arc::new(Output::new(channel::open_port(OUTPUT_PORT)?));
    let (acknowledge, acknowledged) = queue();
    let input = Input::start(channel::open_port(INPUT_PORT)?, Arc::clone(&output), acknowledge);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let how = match prepare(request, &mut prepared, &runtime) {
        Ok(surroundings) => {
            let how = command::run(request, surroundings.namespace(request), &input, &output);
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
struct Surroundings {
    bed: Option<Testbed>,
}

impl Surroundings {
    fn namespace(&self, request: &ExecRequest) -> Option<&Namespace> {
        let name: &NsName = request.ns.as_ref()?;
        self.bed.as_ref()?.namespaces.get(name).ok()
    }
}

fn prepare(
    request: &ExecRequest,
    prepared: &mut Prepared,
    runtime: &tokio::runtime::Runtime,
) -> Result<Surroundings, String> {
    clock::set(request.now_ns).map_err(|error| format!("set the clock: {error}"))?;
    clock::reseed(&request.entropy).map_err(|error| format!("seed the random number generator: {error}"))?;
    // The kernel's own name for a machine without one is `(none)`, which programs take for a mistake.
    fs::write("/proc/sys/kernel/hostname", "lab").map_err(|error| format!("set the host name: {error}"))?;
    runtime.block_on(loopback_up())?;
    let bed = match &request.plan {
        Some(plan) => {
            let bed = runtime
                .block_on(stand(plan, prepared))
                .map_err(|why| format!("the topology {} does not come up: {why}", plan.topology))?;
            Some(bed)
        }
        None => None,
    };
    let port = channel::open_port(ROOT_PORT).map_err(|error| error.to_string())?;
    root::mount_all(port).map_err(|error| error.to_string())?;
    if let Some(bed) = &bed {
        for (name, namespace) in bed.namespaces.iter() {
            answer_pings(namespace)?;
            root::name_namespace(name, namespace).map_err(|error| error.to_string())?;
        }
    }
    Ok(Surroundings { bed })
}

/// Programs take it for granted.
async fn loopback_up() -> Result<(), String> {
    let what = "set lo up";
    let own = Namespace::own().map_err(|error| format!("{what}: {error}"))?;
    let rtnl = Rtnl::open(&own).map_err(|error| error.during(what).to_string())?;
    links::set_loopback_up(&rtnl).await.map_err(|error| error.during(what).to_string())
}

/// The lab's own flows want no answers of the kernel's; a user's ping does.
fn answer_pings(namespace: &Namespace) -> Result<(), String> {
    let set = namespace.enter(|| fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "0"));
    set.map_err(|error| error.to_string())?.map_err(|error| format!("icmp_echo_ignore_all: {error}"))
}
