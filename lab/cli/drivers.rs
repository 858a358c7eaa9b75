//! Which build of a kernel a topology runs on: Debian's cloud flavour, or the generic one that has all drivers.

use crate::cli::failure::Failure;
use crate::cli::progress::Downloads;
use crate::cli::{ProvisionArgs, provision};
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::plan;
use bondlab_core::report::document::Document;
use bondlab_core::topology::Topology;
use bondlab_host::cache::Cache;
use bondlab_host::kernel::netdevsim;
use bondlab_host::kernel::netdevsim::NETDEVSIM;
use bondlab_host::kernel::pins::{Flavour, KernelPin, Kernels};
use bondlab_host::kernel::store::{InstallPolicy, Kernel};

/// The kernel that a topology runs on where `pin` is meant. It bears the pin's own name: the same source, built with
/// drivers, differs in nothing else that a topology looks at; `release` tells which it was.
pub fn kernel(
    topology: &Topology,
    pin: &KernelPin,
    kernels: &Kernels,
    args: &ProvisionArgs,
    cache: &Cache,
) -> Result<Kernel, Failure> {
    let (built, mut kernel) = match kernels.with_drivers(pin) {
        Some(generic) if plan::needs_drivers(topology) => {
            let kernel = provision::kernel(generic, args, cache)?;
            (generic, Kernel { id: pin.name(), ..kernel })
        }
        _ => (pin, provision::kernel(pin, args, cache)?),
    };
    if plan::needs_netdevsim(topology) {
        add_netdevsim(&mut kernel, built, kernels, args, cache);
    }
    Ok(kernel)
}

/// Gives a kernel its netdevsim, built first if it is not there. A kernel that gets none is as it was: topologies that
/// need it are skipped, and [`explain`] says why.
pub fn add_netdevsim(
    kernel: &mut Kernel,
    pin: &KernelPin,
    kernels: &Kernels,
    args: &ProvisionArgs,
    cache: &Cache,
) {
    let Some(module) = kernels.module(NETDEVSIM, pin) else { return };
    let policy = if args.no_install { InstallPolicy::CachedOnly } else { InstallPolicy::Install };
    let mut downloads = Downloads::new("netdevsim is built of it");
    let mirror = args.mirror.as_deref();
    match netdevsim::ensure(cache, mirror, (pin, module), policy, &mut |event| downloads.show(event)) {
        Ok(file) => kernel.modules.built.push(file),
        Err(error) => eprintln!("note: {error}"),
    }
}

/// Says, where a topology was skipped for want of drivers, that no build with drivers is pinned.
pub fn explain(document: &mut Document, topology: &Topology, pin: &KernelPin, kernels: &Kernels) {
    let lacks =
        pin.flavour == Flavour::Cloud && kernels.with_drivers(pin).is_none() && plan::needs_drivers(topology);
    let Some(reason) = document.reason.as_mut().filter(|_| document.outcome == Outcome::Skip) else { return };
    if lacks {
        *reason +=
            &format!("\nnext: no generic build of {0} is pinned: `lab kernels add {0}/generic`", pin.id);
    }
    if plan::needs_netdevsim(topology) && kernels.module(NETDEVSIM, pin).is_none() {
        *reason += &format!("\nnext: {}", unpinned(pin));
    }
}

/// Why a kernel has no netdevsim, and what would bring it.
pub fn unpinned(pin: &KernelPin) -> String {
    format!(
        "no source of {0} is pinned; `lab kernels add {0} --netdevsim` does, if the archive has it",
        pin.name()
    )
}
