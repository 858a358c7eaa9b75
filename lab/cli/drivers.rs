//! Which build of a kernel a topology runs on: Debian's cloud flavour, or the generic one that has all drivers.

use lab::document::Document;
use lab::host::cache::Cache;
use lab::host::kernels::{Flavour, KernelPin, Kernels};
use lab::host::store::Kernel;
use lab::outcome::Outcome;
use lab::plan;
use lab::topology::Topology;

use super::failure::Failure;
use super::{ProvisionArgs, provision};

/// The kernel that a topology runs on where `pin` is meant. It bears the pin's own name: the same source, built with
/// drivers, differs in nothing else that a topology looks at; `release` tells which it was.
pub fn kernel(
    topology: &Topology,
    pin: &KernelPin,
    kernels: &Kernels,
    args: &ProvisionArgs,
    cache: &Cache,
) -> Result<Kernel, Failure> {
    match kernels.with_drivers(pin) {
        Some(generic) if plan::needs_drivers(topology) => {
            let kernel = provision::kernel(generic, args, cache)?;
            Ok(Kernel { id: pin.name(), ..kernel })
        }
        _ => provision::kernel(pin, args, cache),
    }
}

/// Says, where a topology was skipped for want of drivers, that no build with drivers is pinned.
pub fn explain(document: &mut Document, topology: &Topology, pin: &KernelPin, kernels: &Kernels) {
    let lacks =
        pin.flavour == Flavour::Cloud && kernels.with_drivers(pin).is_none() && plan::needs_drivers(topology);
    if let Some(reason) = document.reason.as_mut().filter(|_| lacks && document.outcome == Outcome::Skip) {
        *reason +=
            &format!("\nnext: no generic build of {0} is pinned: `lab kernels add {0}/generic`", pin.id);
    }
}
