//! The machine for a command: with three more ports than others, and with the modules for its root file system.

use std::fs::File;
use std::io::{self, Read};

use crate::exec::ExecCommand;
use crate::exec::error::ExecError;
use crate::run::runner::{Machine, STANDARD_MODULES};
use crate::vm::qemu::{Clock, VmSpec};
use crate::vm::{initramfs, nics};
use bondlab_core::plan::Need;
use bondlab_core::plan::exec::{INPUT_PORT, OUTPUT_PORT, ROOT_PORT};

/// The places of the ports in [`VmSpec::ports`].
pub(super) const PORTS: [&str; 3] = [ROOT_PORT, INPUT_PORT, OUTPUT_PORT];

/// Of the root file system.
const ROOT_MODULES: [&str; 2] = ["fuse", "overlay"];

const ENTROPY_BYTES: usize = 32;

/// The machine. Its time is always the host's: while the guest waits for a file, virtual time would fly.
pub(super) fn spec(machine: &Machine<'_>, command: &ExecCommand) -> Result<VmSpec, ExecError> {
    let plan = command.request.stepping.as_ref().map(|stepping| &stepping.plan);
    let needed = plan.iter().flat_map(|plan| &plan.needs).flat_map(Need::modules);
    let mut names: Vec<String> =
        STANDARD_MODULES.iter().chain(&ROOT_MODULES).map(ToString::to_string).collect();
    for name in needed {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut names = machine.kernel.modules.available(&names)?;
    // A module that the user names is there, or it is an error.
    for name in &command.modules {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let initramfs = initramfs::build(machine.cache, machine.kernel, machine.init, &names, &[])?;
    let mut spec = VmSpec::new(machine.kernel.vmlinux.clone(), initramfs);
    spec.accelerator = machine.accelerator;
    spec.clock = Clock::Real;
    spec.memory_mib = command.memory_mib;
    spec.ports = PORTS.to_vec();
    if let Some(plan) = plan {
        nics::plug(&mut spec, &plan.slots);
    }
    Ok(spec)
}

/// A seed for the guest's random numbers.
pub(super) fn entropy() -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; ENTROPY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
