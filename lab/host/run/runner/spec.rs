//! The machine that a plan runs in: what is packed for its guest, and what QEMU gives it.

use std::path::Path;

use crate::cache::Cache;
use crate::kernel::store::Kernel;
use crate::run::plugins;
use crate::run::runner::{Machine, RunError};
use crate::vm::initramfs::InitramfsError;
use crate::vm::qemu::{Accelerator, Clock, VmSpec};
use crate::vm::{initramfs, nics};
use bondlab_core::plan;
use bondlab_core::plan::Plan;

/// What every guest has, whatever its topology: one saved machine then serves all of them.
pub(crate) const STANDARD_MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "bonding",
    "8021q",
    "veth",
    "dummy",
    "bridge",
    "ipvlan",
    "macvlan",
    "sch_plug",
    "sch_tbf",
    "sch_netem",
    "sch_sfq",
    "sch_codel",
    "sch_fq",
    "sch_fq_codel",
    "sch_cake",
    "sch_ingress",
    "cls_matchall",
    "cls_flower",
    "act_gact",
    "nf_tables",
    "tun",
];

/// What every guest for a plan has besides: kinds of links and queues that single topologies ask for. To load them takes some
/// ms each, once; a saved machine for each of them would take seconds, and would be no other topology's. None of them makes a
/// device by being loaded (`ifb` not with its parameter), as those of IP tunnels and `sch_teql` do.
const COMMON_MODULES: &[&str] = &[
    "ifb",
    "vrf",
    "vxlan",
    "geneve",
    "macsec",
    "gcm",
    "ctr",
    "ghash_generic",
    "aes_generic",
    "aes",
    "team",
    "team_mode_activebackup",
    "team_mode_broadcast",
    "team_mode_loadbalance",
    "team_mode_random",
    "team_mode_roundrobin",
    "sch_red",
    "sch_pie",
    "sch_multiq",
    "sch_mqprio",
    "sch_htb",
    "sch_hfsc",
    "act_mirred",
    "act_vlan",
    "act_skbedit",
    "act_pedit",
];

/// The smallest machine that comes up: what a probe boots.
///
/// # Errors
/// When no initramfs can be made.
pub fn probe_spec(kernel: &Kernel, init: &Path, cache: &Cache) -> Result<VmSpec, RunError> {
    let names = kernel.modules.available(STANDARD_MODULES)?;
    let initramfs = initramfs::build(cache, kernel, init, &names, &[])?;
    Ok(VmSpec::new(kernel.vmlinux.clone(), initramfs))
}

/// Half of a machine's memory holds its files (tmpfs of the initramfs), and a kernel that runs out of it leaves the last
/// ones away without a word: plugins are some MB each.
const PLUGINS_MIB: u32 = 128;

/// What QEMU starts for a plan.
pub(super) fn vm_spec(plan: &Plan, machine: &Machine<'_>) -> Result<VmSpec, RunError> {
    let needed = modules(plan);
    let names: Vec<&str> = needed.iter().map(String::as_str).collect();
    // What a kernel does not have cannot be packed; the agent says so if the plan needs it.
    let names = machine.kernel.modules.available(&names)?;
    let plugins = match machine.plugins {
        Some(folder) => plugins::files(folder, &plugin_names(plan)).map_err(InitramfsError::from)?,
        None => Vec::new(),
    };
    let initramfs = initramfs::build(machine.cache, machine.kernel, machine.init, &names, &plugins)?;
    let mut spec = VmSpec::new(machine.kernel.vmlinux.clone(), initramfs);
    spec.accelerator = machine.accelerator;
    spec.clock = clock(plan, machine.accelerator);
    spec.cpus = plan.machine.cpus.unwrap_or(1);
    spec.cmdline_extra.extend(plan.machine.words().into_iter().chain(machine.words.iter().cloned()));
    if !plugins.is_empty() {
        spec.memory_mib += PLUGINS_MIB;
    }
    nics::plug(&mut spec, &plan.slots);
    Ok(spec)
}

/// What the guest's time is.
pub(super) fn clock(plan: &Plan, accelerator: Accelerator) -> Clock {
    if accelerator == Accelerator::Tcg && wants_virtual_time(plan) { Clock::Virtual } else { Clock::Real }
}

/// Where time is measured, decides, or is passed by waiting: the ms are then the kernel's, whatever else the host does, and waits
/// cost nothing. Elsewhere time is real, for counting instructions makes a computing guest half as fast. With NICs it must
/// be: the host pulls their cables, and while the guest waits for that virtual time flies.
fn wants_virtual_time(plan: &Plan) -> bool {
    plan.is_timed() && plan.slots.is_empty()
}

/// Programs of CNI plugins that a plan needs.
pub(super) fn plugin_names(plan: &Plan) -> Vec<String> {
    let name = |need: &plan::Need| match need {
        plan::Need::Plugin(name) => Some(name.clone()),
        _ => None,
    };
    plan.needs.iter().filter_map(name).collect()
}

fn modules(plan: &Plan) -> Vec<String> {
    let mut names: Vec<String> =
        STANDARD_MODULES.iter().chain(COMMON_MODULES).map(ToString::to_string).collect();
    for name in plan.needs.iter().flat_map(plan::Need::modules) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.retain(|name| {
        !plan.machine.without_modules.iter().any(|out| out.as_str() == name.replace('-', "_"))
    });
    names
}

/// What tells one saved machine of a kernel from another: topologies with the same can share it.
pub fn machine_of(plan: &Plan) -> Vec<String> {
    let slots = plan.slots.iter().map(|slot| format!("{} to {}", slot.driver, slot.peer));
    let timed = wants_virtual_time(plan).then(|| "timed".to_owned());
    let cpus = plan.machine.cpus.map(|cpus| format!("{cpus} processors"));
    let asked = plan.machine.words().into_iter().chain(cpus);
    modules(plan).into_iter().chain(slots).chain(asked).chain(plugin_names(plan)).chain(timed).collect()
}
