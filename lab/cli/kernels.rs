//! `lab kernels`: what is pinned, what is there, and whether it is whole.

mod own;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::failure::{DIFFERS, Failure, UNAVAILABLE};
use crate::cli::progress::Downloads;
use crate::cli::{PinsArgs, drivers, provision};
use bondlab_host::kernel::archive::ArchiveError;
use bondlab_host::kernel::download::DownloadEvent;
use bondlab_host::kernel::mirror::Mirrors;
use bondlab_host::kernel::netdevsim::NETDEVSIM;
use bondlab_host::kernel::pins::{KernelPin, Kernels, parse_name};
use bondlab_host::kernel::store::{InstallPolicy, Store, StoreError, Verified};
use bondlab_host::kernel::{archive, netdevsim};
use bondlab_host::prune;
use bondlab_host::prune::Entry;
use clap::{Args, Subcommand};

/// The file that `add` writes to.
const KERNELS_FILE: &str = "kernels.toml";

/// So many damaged files tell what happened.
const DAMAGES_SHOWN: usize = 5;

/// Arguments of `lab kernels`.
#[derive(Debug, Args)]
pub struct KernelsArgs {
    #[command(subcommand)]
    command: KernelsCommand,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Shown by `lab kernels add --help`.
const ADD_EXAMPLES: &str = "\
Examples:
  lab kernels add 6.12.88
  lab kernels add 6.12.88 --flavour generic --kernels-file my-kernels.toml
  lab kernels add --deb linux-image-unsigned-6.8.0-31-generic_*.deb linux-modules-6.8.0-31-generic_*.deb
  lab kernels add --rpm kernel-core-*.rpm kernel-modules-core-*.rpm kernel-modules-*.rpm --name fedora
  lab kernels add --vmlinuz boot/vmlinuz --modules lib/modules/6.18.9-talos --name talos";

#[derive(Debug, Subcommand)]
enum KernelsCommand {
    /// List the pinned kernels and the named sets
    #[command(after_help = "Example:\n  lab kernels list")]
    List,
    /// Download and unpack kernels; a damaged one is replaced
    #[command(after_help = "Example:\n  lab kernels fetch quick,6.12.57/generic")]
    Fetch {
        /// Versions, sets and ranges: 6.12.57, quick, 6.12..6.18
        selection: String,
        /// Also build netdevsim for those kernels whose netdevsim packages are pinned
        #[arg(long)]
        netdevsim: bool,
        /// Address of a Debian mirror; default: the one of apt
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// Pin a kernel: a version of Debian's in kernels.toml, or one of your own in kernels.local.toml
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// An upstream version, to be found in Debian's signed indexes: 6.12.88, 7.3-rc7
        #[arg(required_unless_present_any = ["deb", "rpm", "vmlinuz"], conflicts_with_all = ["deb", "rpm", "vmlinuz"])]
        version: Option<String>,
        #[command(flatten)]
        own: own::OwnArgs,
        /// cloud, or generic with all drivers
        #[arg(long, value_parser = ["cloud", "generic"], value_name = "FLAVOUR")]
        flavour: Option<String>,
        /// Also pin the packages to build netdevsim: headers, build tools and source of exactly that version
        #[arg(long)]
        netdevsim: bool,
        /// Address of a Debian mirror; default: the one of apt
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// Remove a kernel of your own from kernels.local.toml and from the cache
    #[command(after_help = "Example:\n  lab kernels remove talos")]
    Remove {
        /// Its name
        name: String,
    },
    /// Verify all cached files of each kernel, and remove those that have changed since they were unpacked
    #[command(after_help = "Example:\n  lab kernels verify 6.12.57")]
    Verify {
        /// Versions, sets and ranges; default: every pinned kernel
        selection: Option<String>,
    },
    /// Remove cached kernels, initramfs images and saved machines that are no longer used
    #[command(
        after_help = "Examples:\n  lab kernels prune\n  lab kernels prune --keep quick --unused-days 0"
    )]
    Prune {
        /// Kernels to keep, whatever their age; default: all pinned ones
        #[arg(long, value_name = "SELECTION")]
        keep: Option<String>,
        /// Keep everything that was used within this many days
        #[arg(long, value_name = "DAYS", default_value_t = 7)]
        unused_days: u32,
    },
}

/// Does what the arguments say.
pub fn kernels(args: &KernelsArgs) -> Result<ExitCode, Failure> {
    let file = args.pins.kernels_file.as_deref();
    match &args.command {
        KernelsCommand::List => list(&provision::kernels(file)?),
        KernelsCommand::Fetch { selection, netdevsim, mirror } => {
            fetch(&provision::kernels(file)?, selection, *netdevsim, mirror.as_ref())
        }
        KernelsCommand::Add { version, own, flavour, netdevsim, mirror } => {
            let Some(version) = version else { return Ok(own::add(own, file)?.unwrap_or(ExitCode::SUCCESS)) };
            let name = flavour.as_ref().map_or_else(|| version.clone(), |of| format!("{version}/{of}"));
            let file = file.map_or_else(find_kernels_file, |file| Ok(file.to_owned()))?;
            let added = add(&name, &file, mirror.as_deref())?;
            if *netdevsim { add_netdevsim(&name, &file, mirror.as_deref()) } else { Ok(added) }
        }
        KernelsCommand::Remove { name } => own::remove(name, file),
        KernelsCommand::Verify { selection } => verify(&provision::kernels(file)?, selection.as_deref()),
        KernelsCommand::Prune { keep, unused_days } => {
            let unused_for = Duration::from_secs(u64::from(*unused_days) * 24 * 3600);
            prune(&provision::kernels(file)?, keep.as_deref(), unused_for)
        }
    }
}

fn list(kernels: &Kernels) -> Result<ExitCode, Failure> {
    let store = Store::new(provision::cache()?, None);
    for pin in kernels.pins() {
        let here =
            if store.is_cached(pin) { "cached".into() } else { format!("{} MB", megabytes(pin.size())) };
        println!("{:16} {:32} {:20} {here}", pin.name(), pin.release, pin.suite);
    }
    println!();
    for (name, members) in kernels.sets() {
        println!("{name}: {}", members.join(" "));
    }
    println!("all: every kernel above but the generic ones; ranges: 6.12..6.18, 6.12..6.18/generic");
    if kernels.pins().any(|pin| pin.local.is_some()) {
        println!("local: the kernels of your own; they are not in all; ranges: 6.8..6.9/local");
    }
    Ok(ExitCode::SUCCESS)
}

/// Fetches them all; one that cannot be had does not keep the user from the others.
fn fetch(
    kernels: &Kernels,
    selection: &str,
    with_netdevsim: bool,
    mirror: Option<&String>,
) -> Result<ExitCode, Failure> {
    let pins = provision::select(kernels, selection)?;
    let cache = provision::cache()?;
    let store = Store::new(cache.clone(), mirror.cloned());
    let mut all = true;
    for pin in pins {
        match fetch_one(&store, pin) {
            Ok(()) => println!("{:16} {}", pin.name(), pin.release),
            Err(error) => {
                eprintln!("error: kernel {}: {error}", pin.name());
                all = false;
            }
        }
        if !with_netdevsim {
            continue;
        }
        let Some(module) = kernels.module(NETDEVSIM, pin) else {
            println!("{:16} no netdevsim: {}", pin.name(), drivers::unpinned(pin));
            continue;
        };
        let mut downloads = Downloads::new("netdevsim is built of it");
        let (mirror, show) =
            (mirror.map(String::as_str), &mut |event: DownloadEvent<'_>| downloads.show(event));
        match netdevsim::ensure(&cache, mirror, (pin, module), InstallPolicy::Install, show) {
            Ok(_) => println!("{:16} netdevsim", pin.name()),
            Err(error) => {
                eprintln!("error: {error}");
                all = false;
            }
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(UNAVAILABLE) })
}

fn fetch_one(store: &Store, pin: &KernelPin) -> Result<(), StoreError> {
    let mut downloads = Downloads::new("asked for");
    let mut ensure = || store.ensure(pin, InstallPolicy::Install, &mut |event| downloads.show(event));
    match ensure() {
        Err(StoreError::Damaged { kernel, damage }) => {
            eprintln!("removing kernel {kernel}, which is damaged: {damage}");
            store.remove(pin)?;
            ensure().map(drop)
        }
        done => done.map(drop),
    }
}

fn add(name: &str, file: &Path, mirror: Option<&str>) -> Result<ExitCode, Failure> {
    let (version, flavour) = parse_name(name).map_err(|error| Failure::usage(format!("error: {error}")))?;
    if let Ok(pins) = provision::kernels(Some(file))?.select(name) {
        let names: Vec<String> = pins.iter().map(|pin| pin.name()).collect();
        println!("{} is already pinned in {}", names.join(" "), file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let unavailable = |error: ArchiveError| Failure::unavailable(format!("error: {error}"));
    let mirrors = Mirrors::find(mirror).map_err(|error| unavailable(error.into()))?;
    eprintln!("looking for {version} in the indexes of Debian's suites");
    let mut downloads = Downloads::new("to hash it, for the index has dropped it");
    let pin = archive::resolve(&provision::cache()?, &mirrors, version, flavour, &mut |event| {
        downloads.show(event);
    })
    .map_err(unavailable)?;
    archive::append(file, &pin)
        .map_err(|error| Failure::invalid(format!("error: {}: {error}", file.display())))?;
    let (name, size) = (pin.name(), megabytes(pin.size()));
    println!("pinned {name} ({}, {}, {size} MB) in {}", pin.release, pin.suite, file.display());
    println!("next: lab kernels fetch {name} --kernels-file {}", file.display());
    println!(
        "      (the pins of kernels.toml are built into the lab: after `cargo build` it knows this one)"
    );
    Ok(ExitCode::SUCCESS)
}

fn add_netdevsim(name: &str, file: &Path, mirror: Option<&str>) -> Result<ExitCode, Failure> {
    let kernels = provision::kernels(Some(file))?;
    for pin in provision::select(&kernels, name)? {
        if kernels.module(NETDEVSIM, pin).is_some() {
            println!("what netdevsim for {name} is built of is already pinned in {}", file.display());
            continue;
        }
        let unavailable = |error: ArchiveError| {
            let hint = "the archive keeps the source of few versions, and a module is built of no other";
            Failure::unavailable(format!("error: netdevsim for {name}: {error}\nhint: {hint}"))
        };
        let mirrors = Mirrors::find(mirror).map_err(|error| unavailable(error.into()))?;
        let mut downloads = Downloads::new("to hash it, for the index has dropped it");
        let module =
            archive::resolve_module(&provision::cache()?, &mirrors, (NETDEVSIM, pin), &mut |event| {
                downloads.show(event);
            })
            .map_err(unavailable)?;
        archive::append_module(file, &module)
            .map_err(|error| Failure::invalid(format!("error: {}: {error}", file.display())))?;
        println!("pinned {} ({} MB) in {}", module.title(), megabytes(module.size()), file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The `kernels.toml` of the checkout that the user is in.
fn find_kernels_file() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::internal(&error))?;
    let found = here.ancestors().map(|dir| dir.join(KERNELS_FILE)).find(|file| file.is_file());
    found.ok_or_else(|| {
        Failure::usage(format!(
            "error: no {KERNELS_FILE} in {} or above it\nhint: go to a checkout of the lab, or name a file with --kernels-file",
            here.display()
        ))
    })
}

fn verify(kernels: &Kernels, selection: Option<&str>) -> Result<ExitCode, Failure> {
    let pins = match selection {
        Some(selection) => provision::select(kernels, selection)?,
        None => kernels.pins().collect(),
    };
    let store = Store::new(provision::cache()?, None);
    let (mut whole, mut damaged, mut absent) = (0, 0, 0);
    for pin in pins {
        let name = pin.name();
        match store.verify(pin)? {
            Verified::NotCached => absent += 1,
            Verified::Whole { files, bytes } => {
                whole += 1;
                println!("{name:16} whole: {files} files, {} MB", megabytes(bytes));
            }
            Verified::Removed(damages) => {
                damaged += 1;
                for damage in damages.iter().take(DAMAGES_SHOWN) {
                    println!("{name:16} damaged: {damage}");
                }
                if damages.len() > DAMAGES_SHOWN {
                    println!("{name:16} and {} more", damages.len() - DAMAGES_SHOWN);
                }
                println!("{name:16} removed: `lab kernels fetch {name}` gets it again");
            }
        }
    }
    println!("{whole} whole, {damaged} damaged, {absent} not cached");
    Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

fn prune(kernels: &Kernels, keep: Option<&str>, unused_for: Duration) -> Result<ExitCode, Failure> {
    let keep: BTreeSet<String> = match keep {
        Some(selection) => provision::select(kernels, selection)?.into_iter().map(KernelPin::key).collect(),
        None => kernels.pins().map(KernelPin::key).collect(),
    };
    let pruned = prune::prune(&provision::cache()?, &keep, unused_for)
        .map_err(|error| Failure::unavailable(format!("error: {error}")))?;
    for entry in &pruned.removed {
        println!("removed {} {} ({} MB)", entry.kind, entry.name, megabytes(entry.bytes));
    }
    let sum = |entries: &[Entry]| megabytes(entries.iter().map(|entry| entry.bytes).sum());
    println!("{} MB removed", sum(&pruned.removed));
    if !pruned.spared.is_empty() {
        println!(
            "{} MB stay because they were used lately or are in use; --unused-days 0 removes what is not in use",
            sum(&pruned.spared)
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}
