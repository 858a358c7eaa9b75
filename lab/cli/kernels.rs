//! `lab kernels`: what is pinned, what is there.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lab::host::store::Store;

use super::failure::Failure;
use super::{ProvisionArgs, provision};

/// Arguments of `lab kernels`.
#[derive(Debug, Args)]
pub struct KernelsArgs {
    #[command(subcommand)]
    command: KernelsCommand,
}

#[derive(Debug, Subcommand)]
enum KernelsCommand {
    /// List the pinned kernels and the named sets
    List,
    /// Download and unpack kernels
    Fetch {
        /// Versions, sets and ranges: 6.12.57, quick, 6.12..6.18
        selection: String,
        /// Address of a Debian mirror; else apt's own
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}

/// Does what the arguments say.
pub fn kernels(args: &KernelsArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        KernelsCommand::List => list(),
        KernelsCommand::Fetch { selection, mirror } => {
            let args = ProvisionArgs { no_install: false, mirror: mirror.clone() };
            let kernels = provision::kernels()?;
            let cache = provision::cache()?;
            let pins =
                kernels.select(selection).map_err(|error| Failure::usage(format!("error: {error}")))?;
            for pin in pins {
                let kernel = provision::kernel(pin, &args, &cache)?;
                println!("{:16} {}", pin.name(), kernel.release);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list() -> Result<ExitCode, Failure> {
    let kernels = provision::kernels()?;
    let store = Store::new(provision::cache()?, None);
    for pin in kernels.pins() {
        let here =
            if store.is_cached(pin) { "cached".into() } else { format!("{} MB", pin.size() / 1_000_000) };
        println!("{:16} {:32} {:20} {here}", pin.name(), pin.release, pin.suite);
    }
    for (name, members) in kernels.sets() {
        println!("{name}: {}", members.join(" "));
    }
    Ok(ExitCode::SUCCESS)
}
