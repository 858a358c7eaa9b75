//! `lab doctor`: what this machine has and lacks, and the command that gets it.

use std::process::ExitCode;

use crate::cli::failure::{Failure, UNAVAILABLE};
use crate::cli::{ProvisionArgs, provision};
use clap::Args;
use lab::host::kernel::store::Store;
use lab::host::vm::accel;
use lab::host::vm::qemu::Qemu;

/// The set a new user needs.
const DEFAULT_KERNELS: &str = "default";

/// Arguments of `lab doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Install and download what is missing
    #[arg(long)]
    install: bool,
    /// Address of a Debian mirror; else apt's own
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Looks at the machine.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let provision = ProvisionArgs { no_install: !args.install, mirror: args.mirror.clone() };
    let cache = provision::cache()?;
    let kernels = provision::kernels(None)?;
    let mut complete = true;
    let qemu = if args.install { Some(provision::qemu(&provision)?) } else { Qemu::find().ok() };
    match &qemu {
        Some(qemu) => {
            let warm = if qemu.has_mapped_ram() {
                "saves and restores machines"
            } else {
                "boots cold each time; 9.0 would not"
            };
            println!("qemu      {} ({warm})", qemu.release);
        }
        None => {
            complete = false;
            println!("qemu      missing: lab doctor --install, as root");
        }
    }
    let default = kernels.select(DEFAULT_KERNELS).map_err(|error| Failure::internal(&error))?;
    let store = Store::new(cache.clone(), args.mirror.clone());
    for pin in default {
        if args.install {
            provision::kernel(pin, &provision, &cache)?;
        }
        let here = store.is_cached(pin);
        complete &= here;
        let state =
            if here { "cached".to_owned() } else { format!("missing: lab kernels fetch {}", pin.name()) };
        println!("kernel    {} {state}", pin.name());
    }
    let device = accel::device_failure().map_or_else(
        || "/dev/kvm opens; whether a guest boots with it shows the first run".to_owned(),
        |failure| format!("none ({failure}): QEMU translates (TCG)"),
    );
    println!("kvm       {device}\n          {}", accel::UNTESTED_WITH_KVM);
    println!("processor {}", accel::host_cpu());
    println!("cache     {}", cache.path("").display());
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(UNAVAILABLE) })
}
