//! `lab kernels add --deb`, `--rpm`, `--vmlinuz` and `lab kernels remove`: kernels of the user's own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bondlab_host::kernel::download::DownloadEvent;
use bondlab_host::kernel::pins::local::{LocalKernel, check_name, default_name};
use bondlab_host::kernel::pins::local_file::{self, LocalFileError};
use bondlab_host::kernel::store::{Given, Store, StoreError};
use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::progress::Downloads;
use crate::cli::provision;

/// What a kernel of the user's own is made of.
#[derive(Debug, Args)]
pub struct OwnArgs {
    /// Debian packages of a kernel of any distribution: its image and all its modules
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["rpm", "vmlinuz"])]
    deb: Vec<PathBuf>,
    /// RPM packages of a kernel: kernel-core and its modules
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "vmlinuz")]
    rpm: Vec<PathBuf>,
    /// A kernel image: a bzImage, or an ELF vmlinux
    #[arg(long, value_name = "FILE", requires = "modules")]
    vmlinuz: Option<PathBuf>,
    /// The modules of --vmlinuz: …/lib/modules/RELEASE
    #[arg(long, value_name = "DIR", requires = "vmlinuz")]
    modules: Option<PathBuf>,
    /// Name of the kernel; default: its release
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl OwnArgs {
    /// What was given, if anything was.
    fn given(&self) -> Option<Given> {
        if let (Some(vmlinuz), Some(modules)) = (&self.vmlinuz, &self.modules) {
            return Some(Given::Image { vmlinuz: vmlinuz.clone(), modules: modules.clone() });
        }
        let packages = |paths: &[PathBuf]| (!paths.is_empty()).then(|| paths.to_vec());
        packages(&self.deb).map(Given::Deb).or_else(|| packages(&self.rpm).map(Given::Rpm))
    }
}

/// Adds a kernel of the user's own to the cache and to `kernels.local.toml`; nothing if none is given.
pub fn add(args: &OwnArgs, kernels_file: Option<&Path>) -> Result<Option<ExitCode>, Failure> {
    let Some(given) = args.given() else {
        return match &args.name {
            None => Ok(None),
            Some(_) => Err(Failure::usage("error: --name is for a kernel of --deb, --rpm or --vmlinuz")),
        };
    };
    let file = local_file()?;
    let usage = |error: String| Failure::usage(format!("error: {error}"));
    let known = provision::kernels(kernels_file)?;
    let taken = |name: &str| {
        let hint = "name it with --name NAME, or remove the other one with `lab kernels remove`";
        usage(format!("a kernel or a set is called {name:?} already\nhint: {hint}"))
    };
    if let Some(name) = &args.name {
        check_name(name).map_err(usage)?;
        if known.is_name(name) {
            return Err(taken(name));
        }
    }
    let store = Store::new(provision::cache()?, None);
    let mut downloads = Downloads::new("asked for");
    let pin =
        store.add_local(&given, &mut |event: DownloadEvent<'_>| downloads.show(event)).map_err(|error| {
            match error {
                StoreError::Cache(_) => Failure::from(error),
                other => Failure::invalid(format!("error: {other}")),
            }
        })?;
    let name = args.name.clone().unwrap_or_else(|| default_name(&pin.release));
    if let Some(same) = known.local(&name).filter(|same| same.key() == pin.key()) {
        println!("{} is already pinned in {}", same.name(), file.display());
        return Ok(Some(ExitCode::SUCCESS));
    }
    if known.is_name(&name) {
        return Err(taken(&name));
    }
    let release = pin.release.clone();
    let Some(source) = pin.local else { return Ok(Some(ExitCode::SUCCESS)) };
    let kind = source.kind();
    let kernel = LocalKernel::new(name.clone(), release.clone(), source);
    local_file::append(&file, &kernel, &provision::debians(kernels_file)?)?;
    println!("pinned {name} ({release}, {kind}) in {}", file.display());
    println!("next: lab run TOPOLOGY --kernel {name}");
    Ok(Some(ExitCode::SUCCESS))
}

/// Removes a kernel of the user's own from `kernels.local.toml` and from the cache.
pub fn remove(name: &str, kernels_file: Option<&Path>) -> Result<ExitCode, Failure> {
    let known = provision::kernels(kernels_file)?;
    let Some(pin) = known.local(name) else {
        let hint = match known.is_name(name) {
            true => "it is pinned in the lab; `lab kernels prune` removes cached kernels",
            false => "`lab kernels list` shows them",
        };
        return Err(Failure::usage(format!("error: no kernel of your own is called {name:?}\nhint: {hint}")));
    };
    let sets: Vec<&str> = known.sets_with(name).collect();
    let file = local_file()?;
    if !sets.is_empty() {
        return Err(Failure::usage(format!(
            "error: {name} is a member of the set {}\nhint: take it out of the set in {} first",
            sets.join(" and of "),
            file.display()
        )));
    }
    local_file::remove(&file, name, &provision::debians(kernels_file)?)?;
    // Two names may be of one kernel.
    let others = known.pins().filter(|other| other.name() != name && other.key() == pin.key()).count();
    if others == 0 {
        Store::new(provision::cache()?, None).remove(pin)?;
    }
    println!("removed {name} from {} and from the cache; its files stay where they are", file.display());
    Ok(ExitCode::SUCCESS)
}

fn local_file() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::internal(&error))?;
    Ok(local_file::find_or_new(&here))
}

impl From<LocalFileError> for Failure {
    fn from(error: LocalFileError) -> Self {
        Self::invalid(format!("error: {error}"))
    }
}
