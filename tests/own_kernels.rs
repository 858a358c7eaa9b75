//! `lab kernels add --deb`, `--rpm` and `--vmlinuz`, and `lab kernels remove`: the binary itself, with a cache of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::layouts::{Parts, bzimage, deb, rpm};
use rstest::rstest;
use tempfile::TempDir;

const RELEASE: &str = "6.8.0-31-generic";

/// An ELF header, one PT_NOTE program header, and the note of a PVH entry.
fn elf() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
    let note = [4_u32, 4, 18].map(u32::to_le_bytes).concat();
    let note = [&note[..], b"Xen\0", &0x100_0000_u32.to_le_bytes()].concat();
    let words = [4_u64 << 32 | 4, 120, 0, 0, note.len() as u64, note.len() as u64, 4];
    bytes.extend(words.map(u64::to_le_bytes).concat());
    bytes.extend(note);
    bytes
}

/// An ELF file of two sections: `.modinfo` and the names of sections.
fn module(release: &str) -> Vec<u8> {
    let modinfo = format!("vermagic={release} SMP preempt mod_unload \0depends=\0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut bytes = vec![0; 64];
    bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0");
    let (names_at, sections_at) = (64 + modinfo.len() as u64, 64 + (modinfo.len() + names.len()) as u64);
    bytes[40..48].copy_from_slice(&sections_at.to_le_bytes());
    bytes[52..64].copy_from_slice(&[64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
    bytes.extend(modinfo.as_bytes());
    bytes.extend(names);
    bytes.extend([0; 64]);
    for (name, kind, at, size) in
        [(1_u32, 1_u32, 64, modinfo.len() as u64), (10, 3, names_at, names.len() as u64)]
    {
        bytes.extend([name, kind].map(u32::to_le_bytes).concat());
        bytes.extend([0, 0, at, size].map(u64::to_le_bytes).concat());
        bytes.extend([0_u32; 2].map(u32::to_le_bytes).concat());
        bytes.extend([1_u64, 0].map(u64::to_le_bytes).concat());
    }
    bytes
}

fn parts(release: &str) -> Parts {
    let modules = ["kernel/drivers/net/bonding/bonding.ko", "kernel/lib/libcrc32c.ko"];
    Parts {
        release: release.to_owned(),
        image: bzimage(&elf(), release),
        modules: modules.map(|path| (path.to_owned(), module(release))).into(),
        builtin: b"kernel/drivers/net/veth.ko\n".to_vec(),
    }
}

/// A folder to work in, with a cache.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn lab(&self, arguments: &[&str]) -> Output {
        let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
        lab.args(arguments).current_dir(self.path()).env("LAB_CACHE", self.path().join("cache"));
        lab.output().expect("cargo has built it")
    }

    fn add(&self, option: &str, files: &[PathBuf], more: &[&str]) -> Output {
        let files = files.iter().map(|file| file.to_str().expect("a plain path"));
        let arguments: Vec<&str> = ["kernels", "add", option].into_iter().chain(files).collect();
        self.lab(&[&arguments, more].concat())
    }

    /// A kernel in one of the three layouts, added.
    fn added(&self, layout: &str, more: &[&str]) -> Output {
        let (parts, dir) = (parts(RELEASE), self.path().join(layout));
        match layout {
            "ubuntu" => self.add("--deb", &parts.ubuntu(&dir), more),
            "fedora" => self.add("--rpm", &parts.fedora(&dir), more),
            _ => {
                let (image, modules) = parts.folder(&dir);
                let modules = modules.to_str().expect("a plain path");
                self.add("--vmlinuz", &[image], &[&["--modules", modules], more].concat())
            }
        }
    }

    fn pins(&self) -> String {
        fs::read_to_string(self.path().join("kernels.local.toml")).unwrap_or_default()
    }
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[rstest]
#[case("ubuntu", "deb packages")]
#[case("fedora", "rpm packages")]
#[case("talos", "image and modules")]
fn a_kernel_of_each_layout_is_pinned_listed_verified_and_removed(#[case] layout: &str, #[case] kind: &str) {
    let bench = Bench::new();
    let (code, stdout, stderr) = texts(&bench.added(layout, &[]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with(&format!("pinned {RELEASE} ({RELEASE}, {kind}) in ")), "{stdout}");
    assert!(bench.pins().contains("sha256 = "), "{}", bench.pins());

    let (code, stdout, stderr) = texts(&bench.lab(&["kernels", "list"]));
    assert_eq!(code, Some(0), "{stderr}");
    let line = format!("{RELEASE:16} {RELEASE:32} {kind:20} cached\n");
    assert!(stdout.contains(&line) && stdout.contains("\nlocal: "), "{stdout}");

    let (code, stdout, stderr) = texts(&bench.lab(&["kernels", "verify", "local"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.ends_with("1 whole, 0 damaged, 0 not cached\n"), "{stdout}");
    let (_, stdout, _) = texts(&bench.added(layout, &[]));
    assert!(stdout.contains("is already pinned"), "{stdout}");

    let (code, _, stderr) = texts(&bench.lab(&["kernels", "remove", RELEASE]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!bench.pins().contains(RELEASE), "{}", bench.pins());
    let left = fs::read_dir(bench.path().join("cache/kernels")).expect("the cache").count();
    assert_eq!(left, 0, "its tree is gone");
    let (code, _, stderr) = texts(&bench.lab(&["kernels", "remove", RELEASE]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no kernel of your own is called"), "{stderr}");
}

#[test]
fn a_kernel_that_left_the_cache_is_unpacked_again_if_its_packages_are_unchanged() {
    let bench = Bench::new();
    assert!(bench.added("ubuntu", &["--name", "noble"]).status.success());
    let cache = bench.path().join("cache/kernels");
    let forget = || fs::remove_dir_all(&cache).and_then(|()| fs::create_dir(&cache)).expect("the cache");
    forget();
    let (code, stdout, stderr) = texts(&bench.lab(&["kernels", "fetch", "noble"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("noble            {RELEASE}\n"));

    forget();
    let package = bench.path().join(format!("ubuntu/linux-modules-{RELEASE}.deb"));
    let mut bytes = fs::read(&package).expect("it was made");
    bytes.extend(b"more");
    fs::write(&package, bytes).expect("it was made");
    let (code, _, stderr) = texts(&bench.lab(&["kernels", "fetch", "noble"]));
    assert_eq!(code, Some(69));
    assert!(stderr.contains("is not what was added as noble: it has SHA-256 "), "{stderr}");
    assert_eq!(fs::read_dir(&cache).expect("the cache").count(), 0, "nothing of it is kept");
}

#[test]
fn a_set_of_the_user_may_name_all_kernels() {
    let bench = Bench::new();
    assert!(bench.added("fedora", &["--name", "fedora"]).status.success());
    let text = format!("{}\n[sets]\nmine = [\"6.12.57\", \"fedora\"]\n", bench.pins());
    fs::write(bench.path().join("kernels.local.toml"), text).expect("it is there");
    let (code, stdout, stderr) = texts(&bench.lab(&["kernels", "verify", "mine"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.ends_with("1 whole, 0 damaged, 1 not cached\n"), "{stdout}");
    let (code, _, stderr) = texts(&bench.lab(&["kernels", "remove", "fedora"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("fedora is a member of the set mine"), "{stderr}");
}

#[rstest]
#[case(&["--name", "quick"], 2, "called \"quick\" already")]
#[case(&["--name", "6.12.57"], 2, "the name of a kernel of Debian's")]
#[case(&["--name", "a/b"], 2, "is a path")]
#[case(&["6.12.88"], 2, "cannot be used with")]
fn a_name_that_has_another_meaning_is_rejected(
    #[case] more: &[&str],
    #[case] expected_code: i32,
    #[case] expected: &str,
) {
    let bench = Bench::new();
    // A file list would take a word after it for a file.
    let more = [more, &["--deb", "ubuntu.deb"]].concat();
    fs::write(bench.path().join("ubuntu.deb"), b"").expect("a temporary folder");
    let (code, _, stderr) = texts(&bench.lab(&[&["kernels", "add"], &more[..]].concat()));
    assert_eq!(code, Some(expected_code), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(bench.pins(), "");
}

/// Files that are no kernel, or no whole one.
#[rstest]
#[case(
    "only the image",
    "the list of built-in modules of 6.8.0-31-generic is missing\nhint: name all packages"
)]
#[case("only modules", "there is no kernel image in the packages, only parts of 6.8.0-31-generic")]
#[case("two kernels", "there are 2 kernels in the packages: 6.8.0-31-generic, 6.8.0-35-generic")]
#[case(
    "modules of another",
    "the list of built-in modules of 6.8.0-31-generic is missing, only parts of 6.8.0-35-generic"
)]
#[case(
    "modules for another",
    "the image is of 6.8.0-31-generic, and module kernel/lib/libcrc32c.ko.zst is for 6.9.0"
)]
#[case("no package", "not a Debian package")]
#[case("cut short", "cannot read the package")]
#[case("a path that leads out", "hostile package: ")]
#[case("an image that is none", "not an x86 kernel image")]
fn packages_that_are_no_kernel_are_rejected(#[case] what: &str, #[case] expected: &str) {
    let bench = Bench::new();
    let (own, other) = (parts(RELEASE), parts("6.8.0-35-generic"));
    let mut packages = own.ubuntu(bench.path());
    let others = other.ubuntu(bench.path());
    let write = |bytes: &[u8]| fs::write(&packages[1], bytes).expect("it is there");
    match what {
        "only the image" => packages.truncate(1),
        "only modules" => drop(packages.remove(0)),
        "two kernels" => packages.extend(others),
        "modules of another" => packages[1] = others[1].clone(),
        "modules for another" => {
            let modules = vec![("kernel/lib/libcrc32c.ko".to_owned(), module("6.9.0"))];
            packages = Parts { modules, ..own }.ubuntu(bench.path());
        }
        "no package" => write(b"PK\x03\x04"),
        "cut short" => {
            let bytes = fs::read(&packages[1]).expect("it is there");
            write(&bytes[..bytes.len() / 2]);
        }
        "a path that leads out" => {
            write(&deb(&[(format!("./lib/modules/{RELEASE}/../../../x.ko"), b"module".to_vec())]));
        }
        _ => packages = Parts { image: b"text".to_vec(), ..own }.ubuntu(bench.path()),
    }
    let (code, stdout, stderr) = texts(&bench.add("--deb", &packages, &[]));
    assert_eq!((code, stdout.as_str()), (Some(65), ""), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(bench.pins(), "");
    assert_eq!(fs::read_dir(bench.path().join("cache/kernels")).expect("the cache").count(), 0);
}

/// A folder of modules that is not the one of this release: the hint names the one that is, where it is below.
#[rstest]
#[case(
    "lib/modules",
    "",
    "the list of built-in modules of 6.8.0-31-generic is missing\nhint: `--modules ",
    "lib/modules/6.8.0-31-generic`\n"
)]
#[case("", "", "hint: `--modules ", "lib/modules/6.8.0-31-generic`\n")]
#[case(
    "lib/modules/6.8.0-31-generic",
    "kernel",
    "the modules of 6.8.0-31-generic are missing",
    "names the folder lib/modules/6.8.0-31-generic that"
)]
#[case(
    "lib/modules/6.8.0-31-generic/kernel",
    "",
    "is missing\nhint: `--modules` names the folder",
    "modules.builtin is in it"
)]
fn a_folder_without_the_modules_is_rejected_with_the_right_one(
    #[case] folder: &str,
    #[case] removed: &str,
    #[case] expected: &str,
    #[case] hint: &str,
) {
    let bench = Bench::new();
    let (image, modules) = parts(RELEASE).folder(bench.path());
    let root = modules.ancestors().nth(3).expect("lib/modules/RELEASE is in a folder");
    if !removed.is_empty() {
        fs::remove_dir_all(modules.join(removed)).expect("it was made");
    }
    let folder = root.join(folder);
    let more = ["--modules", folder.to_str().expect("a plain path")];
    let (code, stdout, stderr) = texts(&bench.add("--vmlinuz", &[image], &more));
    assert_eq!((code, stdout.as_str()), (Some(65), ""), "{stderr}");
    assert!(stderr.contains(expected) && stderr.contains(hint), "{stderr}");
}

#[test]
fn an_rpm_with_a_path_that_leads_out_is_rejected() {
    let bench = Bench::new();
    let package = bench.path().join("kernel-core.rpm");
    for path in [format!("./lib/modules/{RELEASE}/../../../x.ko"), "/../x".to_owned()] {
        fs::write(&package, rpm(&[(path, b"module".to_vec())])).expect("a temporary folder");
        let (code, _, stderr) = texts(&bench.add("--rpm", std::slice::from_ref(&package), &[]));
        assert_eq!(code, Some(65));
        assert!(stderr.contains("hostile package: "), "{stderr}");
    }
}
