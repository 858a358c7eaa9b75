//! Everything a machine needs, found, or fetched with a line that says what and why.

use std::path::{Path, PathBuf};

use crate::cli::ProvisionArgs;
use crate::cli::failure::Failure;
use crate::cli::progress::Downloads;
use bondlab_host::cache::Cache;
use bondlab_host::file::TEXT_BYTES_MAX;
use bondlab_host::install::{InstallError, QEMU_PACKAGE};
use bondlab_host::kernel::pins;
use bondlab_host::kernel::pins::local_file;
use bondlab_host::kernel::pins::{KernelPin, Kernels, KernelsError};
use bondlab_host::kernel::store::{InstallPolicy, Kernel, Store};
use bondlab_host::run::runner::probe_spec;
use bondlab_host::vm::accel;
use bondlab_host::vm::accel::Choice;
use bondlab_host::vm::qemu::{Accelerator, Qemu, QemuError};
use bondlab_host::{file, install};

/// Opens the cache.
pub fn cache() -> Result<Cache, Failure> {
    Cache::open().map_err(|error| Failure::unavailable_for(&error))
}

/// Reads the pinned kernels: Debian's, and those of the user's own in the nearest `kernels.local.toml`.
pub fn kernels(given: Option<&Path>) -> Result<Kernels, Failure> {
    let mut kernels = debians(given)?;
    local_file::load(&mut kernels)?;
    Ok(kernels)
}

/// Reads Debian's pinned kernels: of `given`, else those built into the lab.
pub fn debians(given: Option<&Path>) -> Result<Kernels, Failure> {
    let Some(given) = given else {
        return Kernels::built_in().map_err(|error| Failure::internal(&error));
    };
    let text = file::read_text(given, TEXT_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
    Kernels::parse(&text).map_err(|error| Failure::invalid(format!("error: {}: {error}", given.display())))
}

/// The kernels that a user's words name.
pub fn select<'a>(kernels: &'a Kernels, selection: &str) -> Result<Vec<&'a KernelPin>, Failure> {
    kernels.select(selection).map_err(|error| {
        let hint = match &error {
            KernelsError::Unknown { wanted, .. } if pins::parse_name(wanted).is_ok() => {
                format!("\nhint: `lab kernels add {wanted}` pins it, if Debian's archive has it")
            }
            _ => String::new(),
        };
        Failure::usage(format!("error: {error}{hint}"))
    })
}

/// QEMU, installed if it is missing and that is allowed.
pub fn qemu(args: &ProvisionArgs) -> Result<Qemu, Failure> {
    let missing = match Qemu::find() {
        Ok(qemu) => return Ok(qemu),
        Err(error @ QemuError::Missing { .. }) => error,
        Err(error) => return Err(Failure::unavailable_for(&error)),
    };
    if args.no_install || !nix::unistd::geteuid().is_root() {
        return Err(Failure::unavailable(format!(
            "error: qemu-system-x86_64 is missing; get it with:\n  {}",
            command("doctor --fix")
        )));
    }
    drop(missing);
    eprintln!(
        "installing {QEMU_PACKAGE}: it runs the kernel under test ({})",
        install::command_line(QEMU_PACKAGE)
    );
    install::ensure(&cache()?, QEMU_PACKAGE, || Qemu::find().is_ok())
        .map_err(|error| Failure::unavailable_for(&error))?;
    Qemu::find().map_err(|error| Failure::unavailable_for(&error))
}

/// A package of the distribution that is of use to `part`.
pub fn package(package: &str, part: &str) -> Result<(), Failure> {
    eprintln!("installing {package}: {part} ({})", install::command_line(package));
    // Whether it was installed is what the next look finds out.
    install::ensure(&cache()?, package, || false).or_else(|error| match error {
        InstallError::NotThere { .. } => Ok(()),
        error => Err(Failure::unavailable_for(&error)),
    })
}

/// The kernel, fetched if it is missing and that is allowed.
pub fn kernel(pin: &KernelPin, args: &ProvisionArgs, cache: &Cache) -> Result<Kernel, Failure> {
    let store = Store::new(cache.clone(), args.mirror.clone());
    let policy = if args.no_install { InstallPolicy::CachedOnly } else { InstallPolicy::Install };
    let mut downloads = Downloads::new("the kernel under test");
    Ok(store.ensure(pin, policy, &mut |event| downloads.show(event))?)
}

/// The accelerator, and why it is not the faster one if that was not said before; the answer of a probe is kept in the cache.
pub fn accelerator(
    choice: Choice,
    qemu: &Qemu,
    kernel: &Kernel,
    cache: &Cache,
) -> Result<(Accelerator, Option<String>), Failure> {
    let spec = || Ok(probe_spec(kernel, &init()?, cache)?);
    let decision = accel::decide::<Failure>(choice, qemu, &cache.path(""), spec)?;
    let note = decision.note.filter(|note| accel::is_news(note, &cache.path("")));
    Ok((decision.accelerator, note))
}

/// The binary that becomes PID 1: this one.
pub fn init() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::internal(&error))
}

/// A command of this very binary, to be typed as root.
fn command(arguments: &str) -> String {
    let binary = std::env::current_exe().map_or_else(|_| "lab".into(), |path| path.display().to_string());
    let sudo = if nix::unistd::geteuid().is_root() { "" } else { "sudo " };
    format!("{sudo}{binary} {arguments}")
}
