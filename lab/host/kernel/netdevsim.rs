//! Builds netdevsim, which Debian's kernels lack, out of tree: from the kernel's own headers and the source of the same
//! version, with the machine's compiler.
//!
//! What is kept is the module alone. The headers and the source, of 100 MB unpacked, end with the scratch directory they
//! are in.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use lzma_rust2::XzReader;
use sha2::{Digest, Sha256};

use crate::cache::{Cache, CacheError, Scratch};
use crate::child::{die_with_parent, end_within, output_within};
use crate::file::{At, FileError};
use crate::kernel::deb::{DebError, for_each_file};
use crate::kernel::download::{DownloadError, DownloadEvent, fetch};
use crate::kernel::manifest::Manifest;
use crate::kernel::mirror::{MirrorError, Mirrors};
use crate::kernel::modules::{ModulesError, modinfo};
use crate::kernel::pins::{KernelPin, ModulePin, hex};
use crate::kernel::store::InstallPolicy;
use bondlab_core::net::clean;
use bondlab_core::net::inner_path::{FileName, InnerPath};

/// The module's name.
pub const NETDEVSIM: &str = "netdevsim";

/// Where it is in the kernel's source.
const FOLDER: &str = "drivers/net/netdevsim/";

/// Part of every name in the cache: a new number where the same packages are built to something else.
const BUILD_FORMAT: u32 = 1;

/// Forty times what it takes on one processor.
const BUILD_TIMEOUT: Duration = Duration::from_secs(600);

/// A compiler that says its version.
const TOOL_TIMEOUT: Duration = Duration::from_secs(60);

/// So many lines of make's tell what went wrong.
const LOG_LINES: usize = 12;

/// Why there is no module.
#[derive(Debug, thiserror::Error)]
pub enum NetdevsimError {
    /// It would have to be downloaded and built, and that is not allowed.
    #[error("{title} is not on this machine; `lab kernels fetch {kernel} --netdevsim` builds it ({} MB to download)", size / 1_000_000)]
    NotCached {
        /// The module and its kernel.
        title: String,
        /// The kernel alone.
        kernel: String,
        /// Bytes to download.
        size: u64,
    },
    /// A program that builds is not there.
    #[error("cannot build {title}: {program} does not run ({source}); `apt-get install {package}` brings it")]
    NoTool {
        /// The module and its kernel.
        title: String,
        /// The program.
        program: String,
        /// Debian's package with it.
        package: String,
        /// What the system said.
        source: io::Error,
    },
    /// make failed.
    #[error(
        "cannot build {title} with {compiler}: make {ended}:\n{log}\nhint: the kernel was built with {wanted}; `apt-get install {wanted}`, where this machine's release has it"
    )]
    Build {
        /// The module and its kernel.
        title: String,
        /// The compiler that was used.
        compiler: String,
        /// The compiler that Debian used.
        wanted: String,
        /// Its status, or that it did not end.
        ended: String,
        /// The end of what it said.
        log: String,
    },
    /// What was built is for another kernel.
    #[error("{title} was built for {found:?}: the pinned packages are not of one version")]
    WrongRelease {
        /// The module and its kernel.
        title: String,
        /// Its vermagic.
        found: Option<String>,
    },
    /// The packages do not hold what a module is built of.
    #[error("the packages of {title} hold no {what}: the pin does not name all of them")]
    Incomplete {
        /// The module and its kernel.
        title: String,
        /// What is not there.
        what: &'static str,
    },
    /// A package is damaged.
    #[error("package {package}: {source}")]
    Deb {
        /// Name of the package.
        package: String,
        /// What is wrong.
        source: DebError,
    },
    /// No mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// No download.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// What was built is no module.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// No cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The module's file, built first if `policy` allows and it is not there. Its path names its content.
///
/// # Errors
/// When it cannot be had.
pub fn ensure(
    cache: &Cache,
    mirror: Option<&str>,
    (kernel, module): (&KernelPin, &ModulePin),
    policy: InstallPolicy,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<PathBuf, NetdevsimError> {
    let key = key(kernel, module);
    let tree = cache.place(format!("modules/{key}"), is_whole);
    if !is_whole(&tree) {
        if policy == InstallPolicy::CachedOnly {
            let (title, size) = (module.title(), module.size());
            return Err(NetdevsimError::NotCached { title, kernel: kernel.name(), size });
        }
        let lock = cache.try_lock(&key)?;
        if lock.is_none() {
            on_event(DownloadEvent::Waiting { kernel: &module.title() });
        }
        let _held = lock.map_or_else(|| cache.lock(&key), Ok)?;
        // Whoever held the lock may have built it.
        if !is_whole(&tree) {
            cache.remove(&tree)?;
            let scratch = cache.scratch()?;
            let tools = Tools::find(module)?;
            unpack(&scratch, mirror, (kernel, module), on_event)?;
            on_event(DownloadEvent::Building { module: &module.title() });
            let built = tools.build(&scratch, (kernel, module))?;
            let made = scratch.path("made");
            fs::create_dir(&made).at("create", &made)?;
            let file = made.join("netdevsim.ko");
            fs::rename(&built, &file).at("move", &built)?;
            Manifest::of(&made)?.write(&made)?;
            scratch.publish(&made, &tree)?;
        }
    }
    cache.touch(&tree)?;
    Ok(tree.join("netdevsim.ko"))
}

/// Half a megabyte is read at every use: what was changed since it was built is built again.
fn is_whole(tree: &Path) -> bool {
    let was = Manifest::read(tree).filter(|was| was.files() == 1);
    let now = Manifest::of(tree).ok();
    was.zip(now).is_some_and(|(was, now)| was.differences(&now).is_empty())
}

fn key(kernel: &KernelPin, module: &ModulePin) -> String {
    let mut hash = Sha256::new();
    hash.update(BUILD_FORMAT.to_le_bytes());
    module.packages.iter().for_each(|package| hash.update(package.sha256.as_str()));
    format!("{}-{}-{}", module.name, kernel.release, &hex(&hash.finalize())[..12])
}

/// Fetches the packages and takes out what a build needs: `headers`, `common`, `kbuild`, `source`, `libc`.
fn unpack(
    scratch: &Scratch,
    mirror: Option<&str>,
    (kernel, module): (&KernelPin, &ModulePin),
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<(), NetdevsimError> {
    let mirrors = Mirrors::find(mirror)?;
    for package in &module.packages {
        let deb = scratch.path("deb");
        fetch(&mirrors.url(module.archive, &package.path)?, package, &deb, on_event)?;
        let file = io::BufReader::new(File::open(&deb).at("open", &deb)?);
        let taken = for_each_file(file, |path, content| take(path, content, &kernel.release, scratch));
        taken.map_err(|source| NetdevsimError::Deb { package: package.package.clone(), source })?;
        fs::remove_file(&deb).at("remove", &deb)?;
    }
    for (part, what) in [
        ("headers/Module.symvers", "headers"),
        ("common/Makefile", "common headers"),
        ("kbuild/scripts/mod/modpost", "build tools"),
        ("source/Makefile", "source of netdevsim"),
    ] {
        if !scratch.path(part).is_file() {
            return Err(NetdevsimError::Incomplete { title: module.title(), what });
        }
    }
    for (folder, tools) in ["headers", "common"].into_iter().flat_map(|f| [(f, "scripts"), (f, "tools")]) {
        let link = scratch.path(folder).join(tools);
        symlink(scratch.path("kbuild").join(tools), &link).at("create", &link)?;
    }
    Ok(())
}

/// Takes a file of a package to its place, if it has one.
fn take(path: &InnerPath, content: &mut dyn Read, release: &str, scratch: &Scratch) -> io::Result<()> {
    if path.as_str().starts_with("usr/src/linux-source-") && path.as_str().ends_with(".tar.xz") {
        return take_source(content, scratch);
    }
    let Some(place) = place_of(path, release) else { return Ok(()) };
    let is_program = place.starts_with("kbuild") || place.starts_with("libc");
    write(&scratch.path(place), content, is_program)
}

/// Where a package's file goes, if anywhere.
fn place_of(path: &InnerPath, release: &str) -> Option<PathBuf> {
    let path = path.as_str();
    if let Some(inside) = path.strip_prefix("usr/src/linux-headers-") {
        let (package, inside) = inside.split_once('/')?;
        let folder =
            if package == release { "headers" } else { package.strip_suffix("common").map(|_| "common")? };
        // A gigabyte of other processors' headers is in no package; the BTF of the kernel is, and is not used.
        return (inside != "vmlinux").then(|| below(folder, inside))?;
    }
    if let Some(inside) = path.strip_prefix("usr/lib/linux-kbuild-") {
        return below("kbuild", inside.split_once('/')?.1);
    }
    let library = path.strip_prefix("usr/").unwrap_or(path).strip_prefix("lib/x86_64-linux-gnu/")?;
    ["ld-linux-x86-64.so.2", "libc.so.6"].contains(&library).then(|| below("libc", library))?
}

fn below(folder: &str, inside: &str) -> Option<PathBuf> {
    Some(Path::new(folder).join(InnerPath::parse(inside).ok()?))
}

/// The one folder of the kernel's source. What comes after it is not decompressed.
fn take_source(content: &mut dyn Read, scratch: &Scratch) -> io::Result<()> {
    let mut archive = tar::Archive::new(XzReader::new(content, false));
    let mut found = false;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let inside = path.split_once('/').and_then(|(_, path)| path.strip_prefix(FOLDER));
        match inside.and_then(|file| FileName::parse(file).ok()) {
            Some(file) if entry.header().entry_type().is_file() => {
                found = true;
                write(&scratch.path("source").join(file), &mut entry, false)?;
            }
            Some(_) => {}
            None if found && inside.is_none() => return Ok(()),
            None => {}
        }
    }
    Ok(())
}

fn write(path: &Path, content: &mut dyn Read, is_program: bool) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(path)?;
    io::copy(content, &mut file)?;
    if is_program {
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// What of this machine builds.
struct Tools {
    title: String,
    /// `gcc-12`
    wanted: Option<String>,
}

impl Tools {
    /// Looks for make and a compiler, before anything is downloaded.
    fn find(module: &ModulePin) -> Result<Tools, NetdevsimError> {
        let tools = Tools { title: module.title(), wanted: None };
        for program in ["make", "gcc", "ld"] {
            tools.start(program, if program == "ld" { "binutils" } else { program })?;
        }
        Ok(tools)
    }

    fn start(&self, program: &str, package: &str) -> Result<(), NetdevsimError> {
        let no_tool = |source| NetdevsimError::NoTool {
            title: self.title.clone(),
            program: program.into(),
            package: package.into(),
            source,
        };
        let status = quiet(Command::new(program).arg("--version")).map_err(no_tool)?;
        if status.success() { Ok(()) } else { Err(no_tool(io::Error::other(status.to_string()))) }
    }

    /// Compiles; the module's file.
    fn build(
        mut self,
        scratch: &Scratch,
        (kernel, module): (&KernelPin, &ModulePin),
    ) -> Result<PathBuf, NetdevsimError> {
        let (headers, source) = (scratch.path("headers"), scratch.path("source"));
        let variables = headers.join(".kernelvariables");
        let said = fs::read_to_string(&variables).at("read", &variables)?;
        self.wanted = compiler_of(&said);
        let compiler = self.wanted.clone().filter(|wanted| self.start(wanted, wanted).is_ok());
        let compiler = compiler.unwrap_or_else(|| "gcc".into());
        // Theirs name paths and programs of an installed system.
        let release = format!("override ARCH = x86\noverride KERNELRELEASE = {}\n", kernel.release);
        fs::write(&variables, release).at("write", &variables)?;
        let makefile = headers.join("Makefile");
        let include = format!("include {}\n", scratch.path("common/Makefile").display());
        fs::write(&makefile, include).at("write", &makefile)?;
        bring_libc(scratch)?;

        let log = scratch.path("log");
        let out = File::create(&log).at("create", &log)?;
        let err = out.try_clone().at("create", &log)?;
        let mut command = Command::new("make");
        command.arg("-C").arg(&headers).arg(format!("KBUILD_OUTPUT={}", headers.display()));
        command.arg(format!("M={}", source.display())).arg(format!("CC={compiler}"));
        // Without debugging information it takes half the time and a tenth of the space, and needs no pahole.
        command.args(["CROSS_COMPILE=", "CONFIG_NETDEVSIM=m", "CONFIG_DEBUG_INFO="]);
        command.args(["CONFIG_DEBUG_INFO_BTF=", "CONFIG_DEBUG_INFO_BTF_MODULES="]);
        if !understands(&compiler, "-fmin-function-alignment=16") {
            // gcc 14 has it; the Makefile knows what to take instead.
            command.arg("CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=");
        }
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        command.arg(format!("-j{jobs}")).arg("modules");
        // A make or cargo around the lab has a jobserver of its own, and a user ARCH or CFLAGS.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).env("LC_ALL", "C");
        let ended = run(command.stdin(Stdio::null()).stdout(out).stderr(err)).at("run", "make")?;
        if let Some(ended) = ended {
            let text = fs::read(&log).at("read", &log)?;
            return Err(NetdevsimError::Build {
                title: self.title,
                wanted: self.wanted.unwrap_or_else(|| "gcc".into()),
                compiler,
                ended,
                log: last_lines(&clean::output(&text)),
            });
        }
        let built = source.join("netdevsim.ko");
        let found = modinfo(&built, "vermagic")?;
        if found.as_ref().and_then(|magic| magic.split(' ').next()) != Some(&kernel.release) {
            return Err(NetdevsimError::WrongRelease { title: module.title(), found });
        }
        Ok(built)
    }
}

/// `CC = ... $(CROSS_COMPILE)gcc-12` names the compiler that Debian used.
fn compiler_of(variables: &str) -> Option<String> {
    let line = variables.lines().find(|line| line.starts_with("CC "))?;
    let (_, compiler) = line.rsplit_once(')')?;
    compiler.starts_with("gcc-").then(|| compiler.trim().to_owned())
}

fn understands(compiler: &str, option: &str) -> bool {
    let mut command = Command::new(compiler);
    command.args([option, "-E", "-x", "c", "/dev/null"]);
    quiet(&mut command).is_ok_and(|status| status.success())
}

/// Debian 13's build tools want its C library. Where this machine's is older, they are started with the pinned one.
fn bring_libc(scratch: &Scratch) -> Result<(), NetdevsimError> {
    let (libc, objtool) = (scratch.path("libc"), scratch.path("kbuild/tools/objtool/objtool"));
    if !objtool.exists() {
        return Ok(());
    }
    let mut command = Command::new(&objtool);
    die_with_parent(command.arg("--help").env("SRCARCH", "x86"));
    let output = output_within(&mut command, TOOL_TIMEOUT).map_err(io::Error::other).at("run", &objtool)?;
    if !String::from_utf8_lossy(&output.stderr).contains("GLIBC_") || !libc.is_dir() {
        return Ok(());
    }
    let mut folders = vec![scratch.path("kbuild")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).at("read", &folder)? {
            let entry = entry.at("read", &folder)?;
            let program = entry.path();
            if entry.file_type().at("read", &program)?.is_dir() {
                folders.push(program);
                continue;
            }
            let mut head = [0; 4];
            let read = File::open(&program).and_then(|mut file| file.read(&mut head)).at("read", &program)?;
            if read == head.len() && &head == b"\x7fELF" {
                let real = program.with_added_extension("elf");
                fs::rename(&program, &real).at("rename", &program)?;
                let (libc, real) = (libc.display(), real.display());
                let script = format!(
                    "#!/bin/sh\nexec {libc}/ld-linux-x86-64.so.2 --argv0 \"$0\" --library-path {libc} {real} \"$@\"\n"
                );
                write(&program, &mut script.as_bytes(), true).at("write", &program)?;
            }
        }
    }
    Ok(())
}

/// How a command ended, unless well.
fn run(command: &mut Command) -> io::Result<Option<String>> {
    die_with_parent(command);
    let mut child = command.spawn()?;
    match end_within(&mut child, BUILD_TIMEOUT)? {
        Some(status) => Ok(Some(status).filter(|status| !status.success()).map(|status| status.to_string())),
        None => Ok(Some(format!("was ended after {} s", BUILD_TIMEOUT.as_secs()))),
    }
}

/// How a small tool ended.
fn quiet(command: &mut Command) -> io::Result<ExitStatus> {
    die_with_parent(command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    end_within(&mut child, TOOL_TIMEOUT)?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no end after {} s", TOOL_TIMEOUT.as_secs()))
    })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("directory '")).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("usr/src/linux-headers-R-cloud/Module.symvers", Some("headers/Module.symvers"))]
    #[case("usr/src/linux-headers-R-cloud/vmlinux", None)]
    #[case("usr/src/linux-headers-R-common/include/linux/net.h", Some("common/include/linux/net.h"))]
    #[case("usr/src/linux-headers-S/Makefile", None)]
    #[case("usr/lib/linux-kbuild-R/scripts/mod/modpost", Some("kbuild/scripts/mod/modpost"))]
    #[case("usr/lib/x86_64-linux-gnu/libc.so.6", Some("libc/libc.so.6"))]
    #[case("lib/x86_64-linux-gnu/libm.so.6", None)]
    #[case("usr/share/doc/linux-kbuild-R/copyright", None)]
    fn takes_what_builds(#[case] path: &str, #[case] expected: Option<&str>) {
        let path = InnerPath::parse(path).unwrap();
        assert_eq!(place_of(&path, "R-cloud"), expected.map(PathBuf::from));
    }

    #[test]
    fn the_compiler_of_the_kernel() {
        let said = "override ARCH = x86\nCC = $(if $(X),$(CCACHE)) $(CROSS_COMPILE)gcc-12\n";
        assert_eq!(compiler_of(said).as_deref(), Some("gcc-12"));
        assert_eq!(compiler_of("CC = clang\n"), None);
    }

    #[test]
    fn a_module_that_was_changed_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_whole(dir.path()));
        let module = dir.path().join("netdevsim.ko");
        fs::write(&module, "one").unwrap();
        Manifest::of(dir.path()).unwrap().write(dir.path()).unwrap();
        assert!(is_whole(dir.path()));
        fs::write(&module, "two").unwrap();
        assert!(!is_whole(dir.path()));
    }
}
