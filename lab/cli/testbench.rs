//! What runs topologies on kernels: QEMU, an accelerator, this binary as the guest's, each found once.

use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::cli::{ProvisionArgs, provision, substitutes};
use bondlab_core::topology::Topology;
use bondlab_host::cache::Cache;
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::plugins;
use bondlab_host::run::runner::Machine;
use bondlab_host::vm::Timeouts;
use bondlab_host::vm::accel::Choice;
use bondlab_host::vm::qemu::{Accelerator, Qemu};

/// Everything of a machine but its kernel.
#[derive(Debug)]
pub struct Bench {
    qemu: Qemu,
    accelerator: Accelerator,
    init: PathBuf,
    plugins: Option<PathBuf>,
    cache: Cache,
    cold: bool,
    /// Why not the faster accelerator.
    pub note: Option<String>,
}

impl Bench {
    /// Finds all of it. `kernel` is booted once if it is not known yet whether KVM works.
    pub fn new(
        choice: Choice,
        cold: bool,
        kernel: &Kernel,
        args: &ProvisionArgs,
        cache: Cache,
    ) -> Result<Self, Failure> {
        let qemu = provision::qemu(args)?;
        let (accelerator, note) = provision::accelerator(choice, &qemu, kernel, &cache)?;
        Ok(Self {
            qemu,
            accelerator,
            init: provision::init()?,
            plugins: plugins::installed(),
            cache,
            cold,
            note,
        })
    }

    /// Puts substitutes in the place of the NICs that its QEMU has not; whether there are any.
    pub fn substitution(&self, topology: &mut Topology) -> bool {
        substitutes::for_qemu(&self.qemu, topology)
    }

    /// A machine with this kernel.
    pub fn machine<'a>(&'a self, kernel: &'a Kernel) -> Machine<'a> {
        Machine {
            watch: None,
            kernel,
            qemu: &self.qemu,
            accelerator: self.accelerator,
            init: &self.init,
            plugins: self.plugins.as_deref(),
            cache: &self.cache,
            cold: self.cold,
            words: &[],
            timeouts: Timeouts::default(),
        }
    }
}
