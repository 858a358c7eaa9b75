//! Warm starts: boot once to the ready line, save the machine, restore a fresh copy of it for each run.
//!
//! Every copy starts from the same bytes, so a run is as pristine as after a cold boot and more alike: the guest's
//! random numbers are the same in each copy until the kernel reseeds itself (hash seeds, MAC addresses of new devices),
//! and its wall clock says when the machine was saved. Both are wanted here, where two runs are compared, and the guest
//! has no peer outside that could be attacked with them; so no seed is sent.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cache::{Cache, CacheError};
use crate::file;
use crate::file::FileError;
use crate::vm::death::Death;
use crate::vm::qemu::{Accelerator, Qemu, QemuError, VmSpec};
use crate::vm::qmp::QmpError;
use crate::vm::{Timeouts, Vm, accel, checksum, initramfs};
use bondlab_core::net::clean;
use bondlab_core::plan::handshake::{PROTOCOL, Ready};

/// 75 MB to a file takes 0.5 s, to a slow disk 20 times that.
const SAVE_TIMEOUT: Duration = Duration::from_secs(60);
const RESTORE_TIMEOUT: Duration = Duration::from_secs(30);

/// The header is before the machine in the same file, so both appear under their name at once. QEMU aligns guest pages
/// to 1 MiB within the file (migration/ram.c, MAPPED_RAM_FILE_OFFSET_ALIGNMENT).
const HEADER_BYTES: u64 = 1024 * 1024;

/// How many states that were not used lately are kept. 75 MB each.
const STATES_MAX: usize = 40;
const STATE_SUFFIX: &str = "machine";

const USE_MARK_INTERVAL: Duration = Duration::from_secs(3600);
/// A matrix of the whole gallery has more machines than [`STATES_MAX`], and none of them may go before its cells ran.
const IN_USE_AGE_MAX: Duration = Duration::from_secs(2 * USE_MARK_INTERVAL.as_secs());

/// Raised when the header or the way to save changes.
const FORMAT: u32 = 2;

/// Why there is no guest that waits for work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// QEMU did not start.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// It started, and the guest did not get there.
    #[error(transparent)]
    Death(#[from] Box<Death>),
}

/// Why a start was colder than it might have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// The QEMU is too old.
    #[error("qemu {release} cannot save a machine with mapped-ram (9.0 can): every run boots cold")]
    NoMappedRam {
        /// Its version.
        release: String,
    },
    /// A saved machine was not to be used. It is deleted.
    #[error("the saved machine was unusable ({why}) and is deleted: this run booted cold")]
    Discarded {
        /// What was wrong with it.
        why: String,
    },
    /// There is no such machine in a cache that cannot be written to.
    #[error("the cache is read-only and has no saved machine for this: this run booted cold")]
    ReadOnly,
    /// The machine could not be saved.
    #[error("the machine could not be saved ({why}): this run booted cold")]
    NotSaved {
        /// What went wrong.
        why: String,
    },
}

/// A guest that waits for work, and how it came to.
#[derive(Debug)]
pub struct Started {
    /// The machine.
    pub vm: Vm,
    /// What it said when it was ready.
    pub ready: Ready,
    /// True when it is a restored copy.
    pub is_warm: bool,
    /// Why it is not.
    pub note: Option<Note>,
}

/// What is before the machine in its file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    saved: Saved,
    /// Checksum of `saved`.
    sha256: String,
}

/// What a file says of the machine in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: u32,
    /// The name it was saved under, see [`state_path`].
    key: String,
    ready: Ready,
    /// Checksum of the machine.
    sha256: String,
}

impl Saved {
    fn sealed(self) -> Header {
        let text = serde_json::to_vec(&self).expect("plain data");
        Header { sha256: checksum::hex(&Sha256::digest(&text)), saved: self }
    }
}

/// What keeps a saved machine from being restored.
#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error(transparent)]
    Qemu(#[from] QemuError),
    #[error(transparent)]
    Qmp(#[from] QmpError),
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("no header of format {FORMAT}")]
    Header,
    #[error("it was saved as another machine")]
    Key,
    #[error("its checksum does not match")]
    Checksum,
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Named(#[from] FileError),
}

/// Gives a guest that waits for work: restored from `cache` where possible, saved there first where not, booted cold
/// where neither works.
///
/// # Errors
/// When a cold boot fails as well.
pub fn start(qemu: &Qemu, spec: &VmSpec, timeouts: Timeouts, cache: &Cache) -> Result<Started, StartError> {
    if !qemu.has_mapped_ram() {
        let note = Note::NoMappedRam { release: qemu.release.clone() };
        return cold(qemu, spec, timeouts, Some(note));
    }
    let path = match state_path(qemu, spec, cache) {
        Ok(path) => path,
        Err(error) => {
            return cold(qemu, spec, timeouts, Some(Note::NotSaved { why: error.to_string() }));
        }
    };
    if let Err(unsaved) = ensure(qemu, spec, timeouts, (cache, &path))? {
        return cold(qemu, spec, timeouts, Some(unsaved));
    }
    match restore(qemu, spec, timeouts, &path) {
        Ok((vm, ready)) => Ok(Started { vm, ready, is_warm: true, note: None }),
        Err(RestoreError::Qemu(error)) => Err(error.into()),
        Err(error) => {
            let _ = cache.remove(&path);
            cold(qemu, spec, timeouts, Some(Note::Discarded { why: error.to_string() }))
        }
    }
}

/// Saves the machine if it is not there, so that a later [`start`] only has to restore it.
///
/// # Errors
/// When it does not boot. A machine that boots and cannot be saved is a note.
pub fn prepare(
    qemu: &Qemu,
    spec: &VmSpec,
    timeouts: Timeouts,
    cache: &Cache,
) -> Result<Option<Note>, StartError> {
    if !qemu.has_mapped_ram() {
        return Ok(Some(Note::NoMappedRam { release: qemu.release.clone() }));
    }
    match state_path(qemu, spec, cache) {
        Ok(path) => Ok(ensure(qemu, spec, timeouts, (cache, &path))?.err()),
        Err(error) => Ok(Some(Note::NotSaved { why: error.to_string() })),
    }
}

/// Makes `path` if it is not there.
fn ensure(
    qemu: &Qemu,
    spec: &VmSpec,
    timeouts: Timeouts,
    (cache, path): (&Cache, &Path),
) -> Result<Result<(), Note>, StartError> {
    if path.exists() {
        return Ok(Ok(()));
    }
    if cache.is_read_only() {
        return Ok(Err(Note::ReadOnly));
    }
    // Two that want the same machine do not both boot it. Without the lock they would, and be right all the same.
    let _held = cache.lock(&format!("{}.{STATE_SUFFIX}", key_of(path))).ok();
    if path.exists() {
        return Ok(Ok(()));
    }
    let Started { mut vm, ready, .. } = cold(qemu, spec, timeouts, None)?;
    if let Err(error) = save(&mut vm, ready, cache, path) {
        return Ok(Err(Note::NotSaved { why: error.to_string() }));
    }
    prune(path.parent().unwrap_or(Path::new(".")));
    Ok(Ok(()))
}

fn cold(qemu: &Qemu, spec: &VmSpec, timeouts: Timeouts, note: Option<Note>) -> Result<Started, StartError> {
    let mut vm = Vm::boot(qemu, spec, timeouts)?;
    let ready = vm.wait_ready().map_err(Box::new)?;
    Ok(Started { vm, ready, is_warm: false, note })
}

/// Where the machine of this kernel, initramfs, QEMU and shape is kept. Anything that could change a bit of it is in
/// the name.
///
/// # Errors
/// When kernel or initramfs cannot be read.
pub fn state_path(qemu: &Qemu, spec: &VmSpec, cache: &Cache) -> io::Result<PathBuf> {
    let mut key = Sha256::new();
    let mut add = |bytes: &[u8]| {
        key.update((bytes.len() as u64).to_le_bytes());
        key.update(bytes);
    };
    add(&FORMAT.to_le_bytes());
    add(&PROTOCOL.to_le_bytes());
    add(qemu.release.as_bytes());
    for file in [&qemu.path, &spec.vmlinux] {
        let file = fs::canonicalize(file)?;
        let meta = fs::metadata(&file)?;
        add(file.as_os_str().as_encoded_bytes());
        add(&meta.len().to_le_bytes());
        add(&meta.mtime().to_le_bytes());
        add(&meta.mtime_nsec().to_le_bytes());
    }
    // By content: it is built again for each lab binary, and often comes out the same.
    let initramfs = file::open(&spec.initramfs).map_err(|error| error.source)?;
    add(&checksum::once(&initramfs, initramfs::content(&initramfs)?)?);
    for word in spec.shape() {
        add(word.as_encoded_bytes());
    }
    if spec.accelerator == Accelerator::Kvm {
        // -cpu host: the guest has seen this processor.
        add(accel::host_cpu().as_bytes());
    }
    Ok(cache.path(format!("machines/{}.{STATE_SUFFIX}", checksum::hex(&key.finalize()))))
}

/// The name of a saved machine without its ending.
fn key_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Stops the machine and writes it to `path`, which appears only when it is whole.
fn save(vm: &mut Vm, ready: Ready, cache: &Cache, path: &Path) -> Result<(), RestoreError> {
    let scratch = cache.scratch()?;
    let unfinished = scratch.path("machine");
    let file = File::options().read(true).write(true).create_new(true).open(&unfinished)?;
    let qmp = &mut vm.process.qmp;
    qmp.execute("stop", json!({}))?;
    qmp.migrate("migrate", &uri(&unfinished), SAVE_TIMEOUT)?;
    let sha256 = checksum::hex(&checksum::of(&file, checksum::from(&file, HEADER_BYTES)?)?);
    let saved = Saved { format: FORMAT, key: key_of(path), ready, sha256 };
    let mut header = serde_json::to_vec(&saved.sealed()).map_err(io::Error::from)?;
    header.push(b'\n');
    file.write_all_at(&header, 0)?;
    scratch.publish_checked(&unfinished, path)?;
    Ok(())
}

fn uri(path: &Path) -> String {
    format!("file:{},offset={HEADER_BYTES}", path.display())
}

fn restore(qemu: &Qemu, spec: &VmSpec, timeouts: Timeouts, path: &Path) -> Result<(Vm, Ready), RestoreError> {
    let file = file::open(path)?;
    let saved = read_header(&file, &key_of(path))?;
    mark_use(&file);
    let mut vm = Vm::start(qemu, spec, timeouts, true)?;
    // QEMU reads the pages while this process checks them; nothing runs before both are done.
    let checked = std::thread::scope(|scope| {
        let check = scope.spawn(|| checksum::once(&file, checksum::from(&file, HEADER_BYTES)?));
        let qmp = &mut vm.process.qmp;
        // QEMU would send RARP in the name of each restored NIC, for 800 ms of real time (qemu_announce_self()).
        qmp.execute("migrate-set-parameters", json!({ "announce-rounds": 0 }))?;
        let loaded = qmp.migrate("migrate-incoming", &uri(path), RESTORE_TIMEOUT);
        let sum = check.join().expect("reading a file does not panic")?;
        // A damaged file fails to load as well, for a reason that says less.
        if checksum::hex(&sum) != saved.sha256 {
            return Err(RestoreError::Checksum);
        }
        loaded?;
        qmp.execute("cont", json!({}))?;
        Ok(())
    });
    checked?;
    vm.set_ready();
    Ok((vm, saved.ready))
}

/// Least recently used states are pruned first. Not at every use: a changed time has the file checked again.
fn mark_use(file: &File) {
    let modified = file.metadata().and_then(|meta| meta.modified());
    if modified.is_ok_and(|time| time.elapsed().unwrap_or_default() > USE_MARK_INTERVAL) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// The header of the machine that was saved under this key.
fn read_header(file: &File, key: &str) -> Result<Saved, RestoreError> {
    let mut bytes = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut bytes)?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let header: Header = serde_json::from_str(&clean::json(&line, &[])).map_err(|_| RestoreError::Header)?;
    let Header { saved, sha256 } = header;
    if saved.format != FORMAT {
        return Err(RestoreError::Header);
    }
    let header = saved.sealed();
    if header.sha256 != sha256 {
        return Err(RestoreError::Checksum);
    }
    if header.saved.key == key { Ok(header.saved) } else { Err(RestoreError::Key) }
}

/// Deletes the least recently used states beyond [`STATES_MAX`] that are not in use. A state that another lab is
/// restoring stays with it: the file is open.
fn prune(machines: &Path) {
    let Ok(entries) = fs::read_dir(machines) else {
        return;
    };
    let mut states: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let used = entry.metadata().and_then(|meta| meta.modified());
        if let Ok(used) = used
            && path.extension().is_some_and(|extension| extension == STATE_SUFFIX)
        {
            states.push((used, path));
        }
    }
    states.sort();
    let excess = states.len().saturating_sub(STATES_MAX);
    let is_in_use = |used: &SystemTime| used.elapsed().unwrap_or_default() < IN_USE_AGE_MAX;
    for (_, path) in states[..excess].iter().filter(|(used, _)| !is_in_use(used)) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn spec(dir: &Path) -> (Qemu, VmSpec) {
        for name in ["vmlinux", "initramfs", "qemu"] {
            fs::write(dir.join(name), name).unwrap();
        }
        let version = crate::vm::qemu::Version { major: 10, minor: 0 };
        let qemu = Qemu { path: dir.join("qemu"), release: "10.0.2".to_owned(), version };
        (qemu, VmSpec::new(dir.join("vmlinux"), dir.join("initramfs")))
    }

    #[test]
    fn whatever_changes_the_machine_changes_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (qemu, base) = spec(dir.path());
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let name = |qemu: &Qemu, spec: &VmSpec| state_path(qemu, spec, &cache).unwrap();
        let first = name(&qemu, &base);
        assert_eq!(first, name(&qemu, &base));

        let mut changed = vec![first];
        let mut check = |path: PathBuf, what: &str| {
            assert!(!changed.contains(&path), "{what} does not change the name");
            changed.push(path);
        };
        check(name(&qemu, &VmSpec { memory_mib: 512, ..base.clone() }), "memory");
        check(name(&qemu, &VmSpec { devices: vec!["igb".to_owned()], ..base.clone() }), "devices");
        check(name(&qemu, &VmSpec { cmdline_extra: vec!["x".to_owned()], ..base.clone() }), "command line");
        check(name(&qemu, &VmSpec { accelerator: Accelerator::Kvm, ..base.clone() }), "accelerator");
        check(name(&Qemu { release: "10.0.3".to_owned(), ..qemu.clone() }, &base), "qemu");
        fs::write(&base.initramfs, "other").unwrap();
        check(name(&qemu, &base), "initramfs");
        fs::write(&base.vmlinux, "another").unwrap();
        check(name(&qemu, &base), "vmlinux");
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let touch = |name: &str, age_s: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(age_s)).unwrap();
        };
        for n in 0..STATES_MAX as u64 + 2 {
            touch(&format!("{n}.{STATE_SUFFIX}"), IN_USE_AGE_MAX.as_secs() + 100 + n);
        }
        touch(&format!("in-use.{STATE_SUFFIX}"), 100);
        prune(dir.path());
        let exists = |name: &str| dir.path().join(name).exists();
        assert!(exists("0.machine") && exists(&format!("{}.machine", STATES_MAX - 2)));
        assert!(!exists(&format!("{}.machine", STATES_MAX - 1)) && !exists(&format!("{STATES_MAX}.machine")));
        for n in 0..STATES_MAX {
            touch(&format!("now-{n}.{STATE_SUFFIX}"), n as u64);
        }
        prune(dir.path());
        assert!(exists("in-use.machine") && !exists("0.machine"), "a matrix may need more at a time");
    }

    fn header(key: &str) -> Header {
        let ready =
            Ready { protocol: PROTOCOL, release: "6.12.57".into(), modules: 3, refused_modules: Vec::new() };
        Saved { format: FORMAT, key: key.into(), ready, sha256: "0".repeat(64) }.sealed()
    }

    fn read(text: &str) -> Result<Saved, RestoreError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        read_header(&file, "abc")
    }

    #[test]
    fn a_header_belongs_to_its_key_and_each_change_of_it_is_seen() {
        let text = serde_json::to_string(&header("abc")).unwrap();
        assert_eq!(read(&format!("{text}\n")).unwrap(), header("abc").saved);
        let other = serde_json::to_string(&header("abd")).unwrap();
        assert!(matches!(read(&other), Err(RestoreError::Key)));
        for (from, to) in [("6.12.57", "6.12.58"), (":3", ":4"), ("abc", "abd"), ("\"0", "\"1")] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(matches!(read(&changed), Err(RestoreError::Checksum)), "{changed}");
        }
        for cut in [0, 1, text.len() / 2, text.len() - 1] {
            assert!(matches!(read(&text[..cut]), Err(RestoreError::Header)), "{cut}");
        }
    }

    #[test]
    fn an_old_qemu_is_a_note_with_its_version() {
        let note = Note::NoMappedRam { release: "7.2.19".to_owned() }.to_string();
        assert!(note.contains("7.2.19") && note.contains("boots cold"), "{note}");
    }
}
