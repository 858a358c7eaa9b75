//! Nothing outside the cache is written or read, whatever a package, an image or a result calls its parts.
//!
//! One case for each place where a name from outside becomes part of a path.

use std::fs;
use std::path::Path;

use bondlab_core::report::snapshot;
use bondlab_host::cache::Cache;
use bondlab_host::kernel::deb::for_each_file;
use bondlab_host::kernel::modules::ModuleTree;
use bondlab_host::kernel::netdevsim;
use bondlab_host::kernel::pins::{KernelPin, Kernels, Sha256Hex};
use bondlab_host::kernel::store::{InstallPolicy, Store};
use bondlab_host::run::plugins;
use sha2::{Digest, Sha256};

/// Where every hostile name leads, from the folder it is joined to.
struct Outside {
    dir: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("victim")).unwrap();
        Self { dir }
    }

    fn cache(&self) -> Cache {
        Cache::at(self.dir.path().join("cache")).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// An absolute path and one that goes up to the root, with a file name that makes it to be taken.
    fn names(&self, file: &str) -> [String; 2] {
        let victim = self.path("victim").join(file).display().to_string();
        [victim.clone(), format!("{}{}", "../".repeat(30), victim.trim_start_matches('/'))]
    }

    fn assert_untouched(&self, what: &str) {
        let found: Vec<_> = fs::read_dir(self.path("victim")).unwrap().collect();
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}

/// A package whose data is an uncompressed tar archive of these files.
fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        // The builder's own functions refuse the names that are tested here.
        let field = &mut header.as_old_mut().name;
        let bytes = name.as_bytes();
        if bytes.len() <= field.len() {
            field[..bytes.len()].copy_from_slice(bytes);
        } else {
            let mut long = tar::Header::new_gnu();
            long.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
            long.set_entry_type(tar::EntryType::GNULongName);
            long.set_size(bytes.len() as u64);
            long.set_cksum();
            data.append(&long, bytes).unwrap();
        }
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        data.append(&header, *content).unwrap();
    }
    let data = data.into_inner().unwrap();
    let header = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "data.tar", 0, 0, 0, "100644", data.len());
    [b"!<arch>\n", header.as_bytes(), &data].concat()
}

/// A pin of one package, and a mirror in `dir` that has it.
fn pinned(dir: &Path, package: &[u8]) -> (KernelPin, String) {
    let mut pin = Kernels::built_in().unwrap().select("6.12.57").unwrap()[0].clone();
    pin.packages.truncate(1);
    let mirror = dir.join("mirror");
    let file = mirror.join(&pin.packages[0].path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, package).unwrap();
    pin.packages[0].size = package.len() as u64;
    pin.packages[0].sha256 = Sha256Hex::of(&Sha256::digest(package));
    (pin, format!("file://{}", mirror.display()))
}

#[test]
fn a_file_of_a_kernel_package_stays_in_the_cache() {
    let outside = Outside::new();
    for rest in outside.names("x.ko") {
        let release = "6.12.57+deb12-cloud-amd64";
        let name = format!("./lib/modules/{release}/{rest}");
        let (pin, mirror) = pinned(outside.dir.path(), &deb(&[(&name, b"module")]));
        let store = Store::new(outside.cache(), Some(mirror));
        let error = store.ensure(&pin, InstallPolicy::Install, &mut |_| ()).unwrap_err().to_string();
        outside.assert_untouched(&name);
        assert!(error.contains("hostile package"), "{error}");
    }
}

#[test]
fn links_in_a_package_are_not_made() {
    let outside = Outside::new();
    let mut data = tar::Builder::new(Vec::new());
    for (kind, name) in [(tar::EntryType::Symlink, "lib/s"), (tar::EntryType::Link, "lib/h")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        data.append_link(&mut header, name, outside.path("victim")).unwrap();
    }
    let data = data.into_inner().unwrap();
    let header = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "data.tar", 0, 0, 0, "100644", data.len());
    let package = [b"!<arch>\n", header.as_bytes(), &data].concat();
    for_each_file(&package[..], |path, _| panic!("{path} is no file")).unwrap();
}

#[test]
fn a_file_of_a_header_package_stays_in_the_cache() {
    let outside = Outside::new();
    let kernels = Kernels::built_in().unwrap();
    let kernel = kernels.select("6.12.57").unwrap()[0];
    let mut module = kernels.module(netdevsim::NETDEVSIM, kernel).expect("it is pinned").clone();
    for rest in outside.names("x.h") {
        for folder in
            [format!("usr/src/linux-headers-{}", kernel.release), "usr/lib/linux-kbuild-6.12.57".into()]
        {
            let name = format!("./{folder}/{rest}");
            let package = deb(&[(&name, b"header")]);
            let (pin, mirror) = pinned(outside.dir.path(), &package);
            module.packages = pin.packages;
            let install = InstallPolicy::Install;
            let made =
                netdevsim::ensure(&outside.cache(), Some(&mirror), (kernel, &module), install, &mut |_| ());
            let error = made.unwrap_err().to_string();
            outside.assert_untouched(&name);
            // Without a compiler nothing is fetched at all.
            assert!(error.contains("hostile package") || error.contains("does not run"), "{error}");
        }
    }
}

#[test]
fn the_release_of_an_image_names_no_other_folder() {
    let outside = Outside::new();
    for (n, rest) in outside.names("x").into_iter().enumerate() {
        let image = outside.path(&format!("image{n}"));
        fs::write(&image, bzimage(&format!("6.1/{rest}"))).unwrap();
        let store = Store::new(outside.cache(), None);
        let error = store.from_image(&image, None).unwrap_err().to_string();
        assert!(error.contains("the release of") && error.contains("is a path"), "{error}");
        outside.assert_untouched(&rest);
    }
}

/// A kernel image of that release whose payload is the least ELF file with a PVH note.
fn bzimage(release: &str) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
    elf[32..40].copy_from_slice(&64u64.to_le_bytes());
    elf[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
    let note = [[4, 4, 18].map(u32::to_le_bytes).concat(), b"Xen\0\0\0\0\x01".to_vec()].concat();
    let words = [4u64 << 32 | 4, 120, 0, 0, note.len() as u64, note.len() as u64, 4];
    elf.extend(words.map(u64::to_le_bytes).concat());
    elf.extend(note);
    let mut image = vec![0; 1024];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    image[0x20e..0x210].copy_from_slice(&0x80u16.to_le_bytes());
    image[0x280..0x280 + release.len()].copy_from_slice(release.as_bytes());
    image[0x24c..0x250].copy_from_slice(&(elf.len() as u32).to_le_bytes());
    image.extend(elf);
    image
}

#[test]
fn pins_name_no_other_folder() {
    let good = "[sets]\n[[kernel]]\nid = \"6.12.57\"\nflavour = \"cloud\"\nrelease = \"RELEASE\"\nsuite = \"s\"\n\
         archive = \"debian\"\n[[kernel.packages]]\npackage = \"p\"\nversion = \"1\"\npath = \"POOL\"\nsize = 1\n\
         sha256 = \"HASH\"\n[[module]]\nname = \"MODULE\"\nkernel = \"6.12.57\"\nflavour = \"cloud\"\n\
         archive = \"debian\"\npackages = []\n"
        .replace("HASH", &"0".repeat(64));
    let file = |release: &str, pool: &str, module: &str| {
        Kernels::parse(&good.replace("RELEASE", release).replace("POOL", pool).replace("MODULE", module))
    };
    file("6.12.57", "pool/p.deb", "netdevsim").expect("the rest of it is right");
    for (release, pool, module) in [
        ("6/../../x", "pool/p.deb", "netdevsim"),
        ("..", "pool/p.deb", "netdevsim"),
        ("", "pool/p.deb", "netdevsim"),
        ("6.12\\u001b[2J", "pool/p.deb", "netdevsim"),
        ("6.12.57", "pool//etc/p.deb", "netdevsim"),
        ("6.12.57", "pool/./p.deb", "netdevsim"),
        ("6.12.57", "pool/p.deb", "../netdevsim"),
        ("6.12.57", "pool/p.deb", "/netdevsim"),
    ] {
        assert!(file(release, pool, module).is_err(), "{release:?} {pool:?} {module:?}");
    }
}

#[test]
fn a_module_index_names_no_file_elsewhere() {
    let outside = Outside::new();
    for path in outside.names("x.ko") {
        let index = outside.path("index");
        let module = serde_json::json!({ "path": path, "depends": [], "pre": [] });
        for (name, path) in [
            ("bonding", module.clone()),
            ("../x", module),
            (
                "a max_bonds=9",
                serde_json::json!({
            "path": "kernel/a.ko", "depends": [], "pre": [] }),
            ),
        ] {
            let text =
                serde_json::json!({ "modules": { name: path }, "builtin": [], "aliases": {} }).to_string();
            fs::write(&index, text).unwrap();
            let tree = ModuleTree {
                release: "6.1".into(),
                dir: outside.path("modules"),
                index: index.clone(),
                built: Vec::new(),
            };
            let error = tree.closure(&[name]).unwrap_err().to_string();
            assert!(error.starts_with("a module of kernel 6.1: "), "{error}");
        }
    }
}

#[test]
fn a_plugin_is_a_program_of_its_folder() {
    let outside = Outside::new();
    fs::write(outside.path("secret"), "x").unwrap();
    fs::create_dir(outside.path("plugins")).unwrap();
    for name in ["../secret", &outside.path("secret").display().to_string()] {
        assert!(plugins::files(&outside.path("plugins"), &[name.to_owned()]).is_err(), "{name}");
    }
}

#[test]
fn a_lock_is_in_the_folder_of_locks() {
    let outside = Outside::new();
    for name in outside.names("x").iter().map(String::as_str).chain(["", "..", "a/b"]) {
        assert!(outside.cache().lock(name).is_err() && outside.cache().try_lock(name).is_err(), "{name}");
        outside.assert_untouched(name);
    }
}

#[test]
fn a_snapshot_is_in_the_folder_of_snapshots() {
    let outside = Outside::new();
    for name in outside.names("x") {
        assert!(snapshot::file_name(&name).is_err());
    }
}
