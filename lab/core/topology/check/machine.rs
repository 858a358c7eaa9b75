//! The machine: what QEMU gives, what the kernel command line holds, and what the lab needs itself.

use std::collections::BTreeSet;

use crate::net::machine::Machine;
use crate::topology::check::Checker;
use crate::topology::file::TopologyFile;

/// More would be slower than one on any machine of today that translates them.
const CPUS_MAX: u8 = 8;
/// COMMAND_LINE_SIZE is 2048 on x86; the lab's own words are some 450 bytes.
const CMDLINE_BYTES_MAX: usize = 1024;

/// Words by which the lab finds its way into the machine, and notices that it died.
const OWN: [&str; 20] = [
    "console",
    "earlycon",
    "hung_task_panic",
    "init",
    "initrd",
    "initramfs_async",
    "maxcpus",
    "nr_cpus",
    "nosmp",
    "no_hash_pointers",
    "nokaslr",
    "oops",
    "panic",
    "rdinit",
    "root",
    "softlockup_panic",
    "sysctl.kernel.hung_task_panic",
    "sysctl.kernel.hung_task_timeout_secs",
    "unknown_nmi_panic",
    "--",
];

/// Modules that carry what the agent says.
const NEEDED: [&str; 4] = ["virtio_pci", "virtio_console", "virtio", "virtio_ring"];

/// Resolves the machine's table.
pub fn resolve(file: &TopologyFile, checker: &mut Checker<'_>) -> Machine {
    let Some(table) = &file.machine else { return Machine::default() };
    if let Some(cpus) = table.cpus.as_ref().filter(|cpus| !(1..=CPUS_MAX).contains(&cpus.value)) {
        let message = format!("{} processors are out of range: 1 to {CPUS_MAX}", cpus.value);
        checker.problem(&cpus.span, message, "each is a thread of QEMU");
    }
    let mut bytes = 0;
    for word in &table.cmdline {
        if OWN.contains(&word.value.key().as_str()) {
            let message = format!("`{}` is the lab's own", word.value.key());
            let hint = "remove it: the lab needs it to start the machine, or to detect that it died; `cpus` sets the processors";
            checker.problem(&word.span, message, hint);
        }
        bytes += word.value.as_str().len() + 1;
    }
    let mut modules = indexmap::IndexMap::new();
    for (module, parameters) in &table.module {
        for (name, value) in parameters {
            bytes += module.value.as_str().len()
                + name.value.as_str().len()
                + value.value.word().as_str().len()
                + 3;
        }
        let parameters = parameters.iter().map(|(name, value)| (name.value.clone(), value.value.word()));
        modules.insert(module.value.clone(), parameters.collect());
    }
    if let Some(last) =
        table.cmdline.last().map(|word| &word.span).or(table.module.keys().last().map(|name| &name.span))
        && bytes > CMDLINE_BYTES_MAX
    {
        let message = format!("{bytes} bytes of kernel command line, {CMDLINE_BYTES_MAX} at the most");
        checker.problem(last, message, "the kernel cuts a longer one (COMMAND_LINE_SIZE)");
    }
    let mut seen = BTreeSet::new();
    for module in &table.without_modules {
        if NEEDED.contains(&module.value.as_str()) {
            let message = format!("the agent needs the module {}", module.value);
            checker.problem(
                &module.span,
                message,
                "remove it: without it the lab gets no output from the machine",
            );
        }
        if !seen.insert(&module.value) {
            checker.problem(&module.span, format!("{} is left out already", module.value), "name it once");
        }
        if table.module.keys().any(|named| named.value == module.value) {
            let message = format!("{} is left out and has parameters", module.value);
            checker.problem(&module.span, message, "take one of them away");
        }
    }
    Machine {
        cpus: table.cpus.as_ref().map(|cpus| cpus.value),
        cmdline: table.cmdline.iter().map(|word| word.value.clone()).collect(),
        modules,
        without_modules: table.without_modules.iter().map(|module| module.value.clone()).collect(),
    }
}
