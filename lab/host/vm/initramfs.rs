//! Packs an initramfs: the lab's own binary as `/init`, and the modules it is to load.
//!
//! The same kernel, binary and module list give the same bytes, and are packed once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use sha2::{Digest, Sha256};

use crate::cache::{Cache, CacheError};
use crate::file;
use crate::file::{At, FileError};
use crate::kernel::modules::{ModuleFile, ModulesError};
use crate::kernel::pins::hex;
use crate::kernel::store::Kernel;
use crate::vm::checksum;
use bondlab_core::plan::handshake::INITRAMFS_END;

/// Room for packed images, of 10 to 30 MB each; every rebuild of the lab makes new ones.
const IMAGES_BYTES_MAX: u64 = 2 << 30;

/// Part of every image's name: a new number where the content changes for the same inputs.
const IMAGE_FORMAT: u32 = 2;

/// Without these the modules make devices of their own at load: bond0 in the first namespace, for one,
/// which turns a later "create bond0" into EEXIST.
const PARAMETERS: [(&str, &str); 3] =
    [("bonding", "max_bonds=0"), ("dummy", "numdummies=0"), ("ifb", "numifbs=0")];

const DIRECTORIES: [&str; 6] = ["dev", "lab", "lab/modules", "proc", "sys", "tmp"];

/// Device nodes with their major and minor numbers (Documentation/admin-guide/devices.txt). The kernel
/// opens /dev/console for /init before anything is mounted.
const DEVICES: [(&str, u32, u32, u32); 2] = [("dev/console", 0o600, 5, 1), ("dev/null", 0o666, 1, 3)];

const S_IFDIR: u32 = 0o040000;
const S_IFCHR: u32 = 0o020000;
const S_IFREG: u32 = 0o100000;

/// Why no initramfs could be made.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// The init binary needs a dynamic linker, which the guest does not have.
    #[error("{} is dynamically linked and cannot be a guest's /init; build it in its own checkout, where .cargo/config.toml links it statically (RUSTFLAGS overrides that file: add -C target-feature=+crt-static)", .0.display())]
    DynamicInit(PathBuf),
    /// The init binary is no program.
    #[error("{} cannot be a guest's /init: it is no 64-bit ELF program", .0.display())]
    NotAProgram(PathBuf),
    /// A module is missing or unreadable.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// No cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A program or library of the host's, put into the image as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its path there, without the first slash.
    pub name: String,
    /// Its path here.
    pub file: PathBuf,
}

/// The initramfs for `kernel` with `init` as `/init` and all that `modules` need; packed if it is not there.
///
/// `/lab/modules.load` names the module files in load order, a line each: `NAME.ko PARAMETER=VALUE ...`.
pub fn build(
    cache: &Cache,
    kernel: &Kernel,
    init: &Path,
    modules: &[&str],
    extras: &[Extra],
) -> Result<PathBuf, InitramfsError> {
    let path = cache.place(format!("initramfs/{}.cpio", key(kernel, init, modules, extras)?), is_whole);
    if !is_whole(&path) {
        let bytes = fs::read(init).at("read", init)?;
        check_static(init, &bytes)?;
        let files = kernel.modules.closure(modules)?;
        let scratch = cache.scratch()?;
        let partial = scratch.path("cpio");
        pack(&partial, bytes, (&files, extras))?;
        // rename(2) replaces a damaged image, and the same image that another lab has packed meanwhile and may be using,
        // but no directory.
        if path.is_dir() {
            cache.remove(&path)?;
        }
        scratch.publish_checked(&partial, &path)?;
        cache.evict("initramfs", IMAGES_BYTES_MAX)?;
    }
    cache.touch(&path)?;
    Ok(path)
}

/// Whether an image is as it was packed: its last entry has the checksum of all before it.
fn is_whole(path: &Path) -> bool {
    let checked = || -> io::Result<bool> {
        let file = file::open(path).map_err(|error| error.source)?;
        let content = content(&file)?;
        let mut found = vec![0; cpio_end(&[0; 32]).len()];
        file.read_exact_at(&mut found, content.end)?;
        Ok(found == cpio_end(&checksum::once(&file, content)?))
    };
    checked().unwrap_or(false)
}

/// All of an image but its last entry, which follows from the rest: the part that [`checksum::once`] has read of one that was
/// checked.
///
/// # Errors
/// When its length is not to be had.
pub fn content(image: &File) -> io::Result<Range<u64>> {
    let length = image.metadata()?.len();
    Ok(0..length.checked_sub(cpio_end(&[0; 32]).len() as u64).unwrap_or(length))
}

/// Removes the images made of the kernel `release`, which are packed again when they are needed.
///
/// # Errors
/// When the file system refuses.
pub fn forget(cache: &Cache, release: &str) -> Result<(), FileError> {
    let dir = cache.path("initramfs");
    for entry in fs::read_dir(&dir).at("read", &dir)? {
        let path = entry.at("read", &dir)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.rsplit_once('-').is_some_and(|(of, _)| of == release) {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// The init binary is named by what stat(2) says of it: hashing it would cost more than all the rest.
fn key(kernel: &Kernel, init: &Path, modules: &[&str], extras: &[Extra]) -> Result<String, FileError> {
    let mut hash = Sha256::new();
    hash.update(IMAGE_FORMAT.to_le_bytes());
    hash.update(&kernel.key);
    for file in std::iter::once(init).chain(extras.iter().map(|extra| extra.file.as_path())) {
        let metadata = fs::metadata(file).at("read", file)?;
        let times = [metadata.mtime() as u64, metadata.mtime_nsec() as u64];
        for number in [metadata.dev(), metadata.ino(), metadata.size()].into_iter().chain(times) {
            hash.update(number.to_le_bytes());
        }
    }
    for extra in extras {
        hash.update("\n");
        hash.update(&extra.name);
    }
    for module in modules {
        hash.update("\n");
        hash.update(module);
        // Its path names its content: see `netdevsim`.
        if let Some(built) = kernel.modules.built_as(module) {
            hash.update(built.as_os_str().as_encoded_bytes());
        }
    }
    Ok(format!("{}-{}", kernel.release, &hex(&hash.finalize())[..16]))
}

fn check_static(path: &Path, bytes: &[u8]) -> Result<(), InitramfsError> {
    let interpreter = || -> object::Result<bool> {
        let header = FileHeader64::<object::Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let programs = header.program_headers(endian, bytes)?;
        Ok(programs.iter().any(|program| program.p_type(endian) == PT_INTERP))
    };
    match interpreter() {
        Ok(false) => Ok(()),
        Ok(true) => Err(InitramfsError::DynamicInit(path.to_owned())),
        Err(_) => Err(InitramfsError::NotAProgram(path.to_owned())),
    }
}

/// An entry's mode, device number and content.
type Entry = (u32, (u32, u32), Vec<u8>);

fn pack(
    path: &Path,
    init: Vec<u8>,
    (modules, extras): (&[ModuleFile], &[Extra]),
) -> Result<(), InitramfsError> {
    // In the order of their names a directory comes before what is in it.
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for directory in DIRECTORIES {
        entries.insert(directory.to_owned(), (S_IFDIR | 0o755, (0, 0), Vec::new()));
    }
    for (device, mode, major, minor) in DEVICES {
        entries.insert(device.to_owned(), (S_IFCHR | mode, (major, minor), Vec::new()));
    }
    entries.insert("init".to_owned(), (S_IFREG | 0o755, (0, 0), init));
    let load = modules.iter().map(load_line).collect::<String>();
    entries.insert("lab/modules.load".to_owned(), (S_IFREG | 0o644, (0, 0), load.into_bytes()));
    for module in modules {
        let name = format!("lab/modules/{}.ko", module.name);
        entries.insert(name, (S_IFREG | 0o644, (0, 0), module.read()?));
    }
    for Extra { name, file } in extras {
        for (at, _) in name.match_indices('/') {
            entries.entry(name[..at].to_owned()).or_insert((S_IFDIR | 0o755, (0, 0), Vec::new()));
        }
        let content = fs::read(file).at("read", file)?;
        entries.insert(name.clone(), (S_IFREG | 0o755, (0, 0), content));
    }
    write_whole(path, &entries).at("write", path)?;
    Ok(())
}

/// Writes the entries, and an end with their checksum.
fn write_whole(path: &Path, entries: &BTreeMap<String, Entry>) -> io::Result<()> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    let mut out = BufWriter::new(&file);
    write_cpio(&mut out, entries)?;
    out.flush()?;
    drop(out);
    let body = checksum::from(&file, 0)?;
    file.write_all_at(&cpio_end(&checksum::of(&file, body.clone())?), body.end)
}

fn load_line(module: &ModuleFile) -> String {
    let parameters = PARAMETERS.iter().filter(|(name, _)| *name == module.name);
    let parameters: String = parameters.map(|(_, value)| format!(" {value}")).collect();
    format!("{}.ko{parameters}\n", module.name)
}

fn write_cpio(mut out: impl Write, entries: &BTreeMap<String, Entry>) -> io::Result<()> {
    for (ino, (name, (mode, (major, minor), content))) in (1..).zip(entries) {
        let header = cpio::newc::Builder::new(name).ino(ino).mode(*mode).nlink(1);
        let size = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut entry = header.rdev_major(*major).rdev_minor(*minor).write(&mut out, size);
        entry.write_all(content)?;
        entry.finish()?;
    }
    Ok(())
}

/// The last entry, which has the checksum of all bytes before it, and the archive's trailer.
fn cpio_end(sum: &[u8; 32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let content = (S_IFREG | 0o644, (0, 0), hex(sum).into_bytes());
    write_cpio(&mut bytes, &BTreeMap::from([(INITRAMFS_END.to_owned(), content)]))
        .and_then(|()| cpio::newc::trailer(&mut bytes).map(drop))
        .expect("a write to memory does not fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::modules::{ModuleIndex, ModuleTree};

    fn elf(program_header_type: u32) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
        bytes[64..68].copy_from_slice(&program_header_type.to_le_bytes());
        bytes
    }

    fn names(mut archive: &[u8]) -> Vec<(String, u32, String)> {
        let mut found = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(archive).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let mut content = Vec::new();
            io::Read::read_to_end(&mut reader, &mut content).unwrap();
            assert_eq!(reader.entry().mtime(), 0);
            let entry = (reader.entry().name().to_owned(), reader.entry().mode());
            found.push((entry.0, entry.1, String::from_utf8_lossy(&content).into_owned()));
            archive = reader.finish().unwrap();
        }
    }

    fn kernel(dir: &Path) -> Kernel {
        let modules = dir.join("modules");
        fs::create_dir_all(&modules).unwrap();
        for name in ["bonding.ko", "tls.ko"] {
            fs::write(modules.join(name), elf(1)).unwrap();
        }
        ModuleIndex::build(&modules).unwrap().write(&dir.join("index")).unwrap();
        Kernel {
            id: "6.12.57".into(),
            release: "6.12.57-cloud".into(),
            key: "k".into(),
            vmlinux: "/v".into(),
            config: None,
            modules: ModuleTree {
                release: "6.12.57-cloud".into(),
                dir: modules,
                index: dir.join("index"),
                built: Vec::new(),
            },
        }
    }

    #[test]
    fn holds_init_devices_and_modules() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let init = dir.path().join("lab");
        fs::write(&init, elf(1)).unwrap();
        let kernel = kernel(dir.path());
        let path = build(&cache, &kernel, &init, &["bonding", "tls"], &[]).unwrap();
        let bytes = fs::read(&path).unwrap();
        let entries = names(&bytes);
        let listed: Vec<&str> = entries.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            listed.join(" "),
            "dev dev/console dev/null init lab lab/modules lab/modules.load lab/modules/bonding.ko \
             lab/modules/tls.ko proc sys tmp lab/end"
        );
        let load = entries.iter().find(|(name, ..)| name == "lab/modules.load").unwrap();
        assert_eq!(load.2, "bonding.ko max_bonds=0\ntls.ko\n");
        assert_eq!(entries[1].1, 0o020600);

        fs::remove_file(&path).unwrap();
        assert_eq!(build(&cache, &kernel, &init, &["bonding", "tls"], &[]).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_ne!(build(&cache, &kernel, &init, &["tls"], &[]).unwrap(), path);
    }

    #[test]
    fn a_damaged_image_is_packed_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let init = dir.path().join("lab");
        fs::write(&init, elf(1)).unwrap();
        let kernel = kernel(dir.path());
        let build = || build(&cache, &kernel, &init, &["bonding"], &[]).unwrap();
        let path = build();
        let whole = fs::read(&path).unwrap();
        type Damage = fn(&Path, usize);
        let damages: [(&str, Damage); 6] = [
            ("another bit", |path, length| {
                let file = File::options().read(true).write(true).open(path).unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, length as u64 / 2).unwrap();
                file.write_all_at(&[byte[0] ^ 1], length as u64 / 2).unwrap();
            }),
            ("a lost end", |path, length| {
                File::options().write(true).open(path).unwrap().set_len(length as u64 - 200).unwrap();
            }),
            ("nothing in it", |path, _| drop(File::create(path).unwrap())),
            ("more in it", |path, length| {
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(b"0707", length as u64).unwrap();
            }),
            ("a FIFO", |path, _| {
                fs::remove_file(path).unwrap();
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap();
            }),
            ("a directory", |path, _| {
                fs::remove_file(path).unwrap();
                fs::create_dir_all(path.join("x")).unwrap();
            }),
        ];
        for (what, damage) in damages {
            damage(&path, whole.len());
            assert_eq!(build(), path);
            assert!(fs::read(&path).unwrap() == whole, "{what}");
        }
        let made = fs::metadata(&path).unwrap().ino();
        build();
        assert_eq!(fs::metadata(&path).unwrap().ino(), made, "a whole one stays");
    }

    #[test]
    fn refuses_what_cannot_be_init() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let init = dir.path().join("lab");
        let refusal = |content: Vec<u8>| {
            fs::write(&init, content).unwrap();
            build(&cache, &kernel(dir.path()), &init, &[], &[]).unwrap_err().to_string()
        };
        assert!(refusal(elf(PT_INTERP.0)).contains("is dynamically linked"));
        assert!(refusal(b"#!/bin/sh".to_vec()).contains("no 64-bit ELF program"));
    }
}
