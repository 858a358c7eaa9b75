//! Which module files a list of modules needs, and in which order they load.
//!
//! No Debian package has a modules.dep: that is made by depmod(8) at installation. The same facts are in
//! each module's `.modinfo` section, so they are read from there, once for each kernel, and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};
use serde::{Deserialize, Serialize};

use crate::file::{At, FileError};
use crate::kernel::decompress::{DecompressError, decompress};
use bondlab_core::net::clean;
use bondlab_core::net::inner_path::{FileName, InnerPath, UnsafeName};

/// Why modules could not be read or resolved.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// The kernel has no such module.
    #[error("kernel {kernel} has no module {module}{}; the cloud flavour lacks most drivers (try the generic one), and neither has sound, graphics, wireless and the like here", needed(.needed_by))]
    NotFound {
        /// Release of the kernel.
        kernel: String,
        /// Name of the module.
        module: String,
        /// The module that depends on it, if it was not asked for itself.
        needed_by: Option<String>,
    },
    /// A module's compression is not read here.
    #[error("cannot read module {}: {source}", path.display())]
    Compressed {
        /// The module.
        path: PathBuf,
        /// What was wrong.
        source: DecompressError,
    },
    /// A module is no ELF file.
    #[error("cannot read module {}: {source}", path.display())]
    NotElf {
        /// The module.
        path: PathBuf,
        /// What was wrong.
        source: object::Error,
    },
    /// The stored index is damaged.
    #[error("damaged module index {}: {source}; delete it", path.display())]
    BadIndex {
        /// The index file.
        path: PathBuf,
        /// What was wrong.
        source: serde_json::Error,
    },
    /// A module that would be outside of the kernel's modules.
    #[error("a module of kernel {kernel}: {source}")]
    Outside {
        /// Release of the kernel.
        kernel: String,
        /// What is wrong with its name or path.
        source: UnsafeName,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The modules of one kernel on disk, and the index of them.
#[derive(Debug, Clone)]
pub struct ModuleTree {
    /// Release of the kernel, for messages.
    pub release: String,
    /// What `/lib/modules/RELEASE` would be.
    pub dir: PathBuf,
    /// The stored [`ModuleIndex`].
    pub index: PathBuf,
    /// Modules that are not of the kernel's packages: built from its source.
    pub built: Vec<PathBuf>,
}

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// Its name, with `_`.
    pub name: String,
    /// Its file, perhaps compressed.
    pub path: PathBuf,
}

/// What the modules of a kernel say of themselves. Names have `_`, never `-`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleIndex {
    modules: BTreeMap<String, Module>,
    /// Built in: names and aliases.
    builtin: BTreeSet<String>,
    /// Alias to module; without those of devices, which no softdep names.
    aliases: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Module {
    path: PathBuf,
    depends: Vec<String>,
    /// `softdep: pre:` wants, which need not exist.
    pre: Vec<String>,
}

/// The parts of a `.modinfo` section that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
struct ModInfo {
    depends: Vec<String>,
    pre: Vec<String>,
    aliases: Vec<String>,
}

impl ModuleTree {
    /// Those of `names` that this kernel has, as modules or built in.
    pub fn available<'n>(&self, names: &[&'n str]) -> Result<Vec<&'n str>, ModulesError> {
        let index = self.read_index()?;
        Ok(names.iter().copied().filter(|name| index.closure(&[name]).is_ok()).collect())
    }

    /// Whether this kernel surely lacks a module. An image without its modules' list tells nothing.
    ///
    /// # Errors
    /// When the stored index cannot be read.
    pub fn lacks(&self, name: &str) -> Result<bool, ModulesError> {
        let index = self.read_index()?;
        Ok(!index.builtin.is_empty() && index.closure(&[name]).is_err())
    }

    /// The file of a module that is not of the kernel's packages.
    pub fn built_as(&self, name: &str) -> Option<&Path> {
        self.built.iter().map(PathBuf::as_path).find(|path| module_name(path) == name)
    }

    fn read_index(&self) -> Result<ModuleIndex, ModulesError> {
        let bytes = fs::read(&self.index).at("read", &self.index)?;
        let bad = |source| ModulesError::BadIndex { path: self.index.clone(), source };
        let mut index: ModuleIndex = serde_json::from_slice(&bytes).map_err(bad)?;
        for module in &self.built {
            index.add(module, read_modinfo(module)?);
        }
        Ok(index)
    }

    /// The files to load for `wanted`, dependencies first; built-in ones need none.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<ModuleFile>, ModulesError> {
        let index = self.read_index()?;
        let names = index.closure(wanted).map_err(|(module, needed_by)| ModulesError::NotFound {
            kernel: self.release.clone(),
            module,
            needed_by,
        })?;
        let modules = names.iter().filter_map(|name| Some((name, index.modules.get(name)?)));
        let files = modules.map(|(name, module)| self.file(name, module));
        let outside = |source| ModulesError::Outside { kernel: self.release.clone(), source };
        files.collect::<Result<Vec<_>, _>>().map_err(outside)
    }

    /// The name becomes one of a file in the initramfs, and a word of its list; the path is below the kernel's modules,
    /// unless the lab built the module.
    fn file(&self, name: &str, module: &Module) -> Result<ModuleFile, UnsafeName> {
        let name = FileName::parse(name)?;
        if name.as_str().contains(char::is_whitespace) {
            return Err(UnsafeName { name: name.to_string(), why: "has a space in it" });
        }
        let path = if self.built.contains(&module.path) {
            module.path.clone()
        } else {
            self.dir.join(InnerPath::parse(&module.path.to_string_lossy())?)
        };
        Ok(ModuleFile { name: name.to_string(), path })
    }
}

/// What a module says of itself under `key`: `vermagic`, `depends`.
///
/// # Errors
/// When the file is no module.
pub fn modinfo(path: &Path, key: &str) -> Result<Option<String>, ModulesError> {
    let section = modinfo_section(path)?;
    Ok(fields(&section).find(|(name, _)| *name == key).map(|(_, value)| clean::line(value).into_owned()))
}

impl ModuleFile {
    /// The module itself, decompressed.
    pub fn read(&self) -> Result<Vec<u8>, ModulesError> {
        read_module(&self.path)
    }
}

impl ModuleIndex {
    /// Reads every module below `dir`; one thread for each processor, for decompression is what it costs.
    pub fn build(dir: &Path) -> Result<ModuleIndex, ModulesError> {
        let files = module_files(dir)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = files.len().div_ceil(threads).max(1);
        let infos = std::thread::scope(|scope| {
            let read = |part: &[PathBuf]| part.iter().map(|path| read_modinfo(path)).collect::<Vec<_>>();
            let started: Vec<_> = files.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
            let ended = started.into_iter().map(|thread| thread.join());
            ended.flat_map(|infos| infos.expect("reading a module does not panic")).collect::<Vec<_>>()
        });
        let mut index = ModuleIndex::default();
        for (path, info) in files.iter().zip(infos) {
            index.add(path.strip_prefix(dir).unwrap_or(path), info?);
        }
        index.add_builtin(dir)?;
        Ok(index)
    }

    /// Stores the index.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let json = serde_json::to_vec(self).map_err(std::io::Error::from).at("write", path)?;
        fs::write(path, json).at("write", path)
    }

    fn add(&mut self, path: &Path, info: ModInfo) {
        let name = module_name(path);
        // depmod.d(5): a module in updates/ takes the place of the kernel's own.
        if self.modules.contains_key(&name) && !path.starts_with("updates") {
            return;
        }
        // Of several modules with one alias the last in path order stays: crc32c of kernel/crypto rather than
        // of kernel/arch, which refuses processors without SSE 4.2 (crc32c_intel_mod_init).
        for alias in info.aliases {
            self.aliases.insert(alias, name.clone());
        }
        let module = Module { path: path.to_owned(), depends: info.depends, pre: info.pre };
        self.modules.insert(name, module);
    }

    /// `modules.builtin` has names; `modules.builtin.modinfo` (since 5.2) has aliases too.
    fn add_builtin(&mut self, dir: &Path) -> Result<(), FileError> {
        let names = dir.join("modules.builtin");
        if names.exists() {
            let text = fs::read_to_string(&names).at("read", &names)?;
            self.builtin.extend(text.lines().map(|line| module_name(Path::new(line))));
        }
        let infos = dir.join("modules.builtin.modinfo");
        if infos.exists() {
            let bytes = fs::read(&infos).at("read", &infos)?;
            let fields = fields(&bytes).filter_map(|(key, value)| Some((key.split_once('.')?.1, value)));
            self.builtin.extend(ModInfo::from_fields(fields).aliases);
        }
        Ok(())
    }

    /// Names in load order, or what is missing and who needs it.
    fn closure(&self, wanted: &[&str]) -> Result<Vec<String>, (String, Option<String>)> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in wanted {
            self.visit(&canonical(name), None, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    /// Depth first, so that a module comes after all it needs. `seen` ends the cycles softdeps can make.
    fn visit(
        &self,
        name: &str,
        needed_by: Option<&str>,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) -> Result<(), (String, Option<String>)> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(module) = self.modules.get(name) else {
            return Err((name.to_owned(), needed_by.map(str::to_owned)));
        };
        for pre in &module.pre {
            let target = self.aliases.get(pre).unwrap_or(pre);
            if !self.builtin.contains(pre) && self.modules.contains_key(target) {
                self.visit(target, Some(name), seen, order)?;
            }
        }
        for depends in &module.depends {
            self.visit(depends, Some(name), seen, order)?;
        }
        order.push(name.to_owned());
        Ok(())
    }
}

impl ModInfo {
    fn from_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> ModInfo {
        let mut info = ModInfo::default();
        for (key, value) in fields {
            match key {
                "depends" => info.depends.extend(value.split(',').filter(|d| !d.is_empty()).map(canonical)),
                "softdep" => info.pre.extend(softdep_pre(value)),
                // "pci:v00008086d...", "net-pf-*": patterns that match devices, not names.
                "alias" if !value.contains([':', '*']) => info.aliases.push(canonical(value)),
                _ => {}
            }
        }
        info
    }
}

/// The `pre:` part of a softdep: "pre: a b post: c".
fn softdep_pre(value: &str) -> impl Iterator<Item = String> {
    let mut in_pre = false;
    value.split_whitespace().filter_map(move |word| {
        if let Some(kind) = word.strip_suffix(':') {
            in_pre = kind == "pre";
            return None;
        }
        in_pre.then(|| canonical(word))
    })
}

/// `key=value` strings with a NUL after each.
fn fields(section: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let texts = section.split(|byte| *byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    texts.filter_map(|text| text.split_once('='))
}

fn read_modinfo(path: &Path) -> Result<ModInfo, ModulesError> {
    Ok(ModInfo::from_fields(fields(&modinfo_section(path)?)))
}

fn modinfo_section(path: &Path) -> Result<Vec<u8>, ModulesError> {
    let bytes = read_module(path)?;
    let not_elf = |source| ModulesError::NotElf { path: path.to_owned(), source };
    let elf = ElfFile64::<Endianness>::parse(&*bytes).map_err(not_elf)?;
    let Some(section) = elf.section_by_name(".modinfo") else {
        return Ok(Vec::new());
    };
    Ok(section.data().map_err(not_elf)?.to_owned())
}

fn read_module(path: &Path) -> Result<Vec<u8>, ModulesError> {
    let bytes = fs::read(path).at("read", path)?;
    decompress(bytes).map_err(|source| ModulesError::Compressed { path: path.to_owned(), source })
}

/// Every `.ko*` file below `dir`, sorted. Links are not followed: `build` leads out of the tree.
pub fn module_files(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).at("read", &dir)? {
            let entry = entry.at("read", &dir)?;
            let path = entry.path();
            if entry.file_type().at("read", &path)?.is_dir() {
                dirs.push(path);
            } else if is_module(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file is called like a module: `.ko`, perhaps with a compression's suffix.
pub fn is_module(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let plain = [".xz", ".zst", ".gz"].iter().find_map(|suffix| name.strip_suffix(suffix));
    plain.unwrap_or(&name).ends_with(".ko")
}

/// The name the kernel gives a module file: up to the first dot, with `_` for `-` (KBUILD_MODNAME).
fn module_name(path: &Path) -> String {
    let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    canonical(file.split('.').next().unwrap_or_default())
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn needed(by: &Option<String>) -> String {
    by.as_ref().map_or(String::new(), |by| format!(", which {by} needs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(modules: &[(&str, &str)], builtin: &[&str]) -> ModuleIndex {
        let mut index = ModuleIndex::default();
        for (file, modinfo) in modules {
            index.add(Path::new(file), ModInfo::from_fields(fields(modinfo.as_bytes())));
        }
        index.builtin.extend(builtin.iter().map(|name| canonical(name)));
        index
    }

    fn kernel() -> ModuleIndex {
        index(
            &[
                (
                    "kernel/drivers/net/bonding/bonding.ko.xz",
                    "license=GPL\0depends=tls\0alias=rtnl-link-bond\0",
                ),
                ("kernel/net/tls/tls.ko.xz", "depends=\0"),
                ("kernel/net/8021q/8021q.ko.xz", "depends=garp,mrp\0"),
                ("kernel/net/802/garp.ko.xz", "depends=stp\0"),
                ("kernel/net/802/mrp.ko.xz", "depends=\0"),
                ("kernel/net/802/stp.ko.xz", "depends=llc\0"),
                ("kernel/lib/libcrc32c.ko", "softdep=pre: crypto-crc32c post: tls\0"),
                ("kernel/arch/crc32c-intel.ko", "alias=crypto-crc32c\0"),
                ("kernel/crypto/crc32c_generic.ko", "alias=crypto-crc32c\0alias=pci:v00*\0"),
                ("kernel/arch/sha256-ssse3.ko", "alias=crypto-sha256\0"),
                ("kernel/fs/btrfs.ko", "softdep=pre: crypto-sha256\0"),
                ("kernel/a.ko", "softdep=pre: b\0"),
                ("kernel/b.ko", "softdep=pre: a nothing-such\0"),
                ("kernel/drivers/net/broken.ko", "depends=absent\0"),
            ],
            &["llc", "sch-fifo", "crypto-sha256"],
        )
    }

    #[rstest::rstest]
    #[case(&["bonding", "8021q"], "tls bonding stp garp mrp 8021q")]
    #[case(&["8021q", "garp"], "stp garp mrp 8021q")]
    #[case(&["llc", "sch_fifo"], "")]
    #[case(&["libcrc32c"], "crc32c_generic libcrc32c")]
    #[case(&["a"], "b a")]
    #[case(&["btrfs"], "btrfs")]
    fn load_order(#[case] wanted: &[&str], #[case] expected: &str) {
        assert_eq!(kernel().closure(wanted).unwrap().join(" "), expected);
    }

    #[test]
    fn names_what_is_missing() {
        let missing = |wanted| kernel().closure(&[wanted]).unwrap_err();
        assert_eq!(missing("dummy-hcd"), ("dummy_hcd".to_owned(), None));
        assert_eq!(missing("broken"), ("absent".to_owned(), Some("broken".to_owned())));
    }

    #[test]
    fn updates_win() {
        let both = [("kernel/x.ko", "depends=a\0"), ("updates/x.ko", "depends=b\0")];
        assert_eq!(index(&both, &[]).modules["x"].depends, ["b"]);
    }

    #[test]
    fn the_index_survives_storage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        kernel().write(&path).unwrap();
        let tree = ModuleTree { release: "6.12.57".into(), dir: "/m".into(), index: path, built: Vec::new() };
        let files = tree.closure(&["tls"]).unwrap();
        assert_eq!(files, [ModuleFile { name: "tls".into(), path: "/m/kernel/net/tls/tls.ko.xz".into() }]);
        let error = tree.closure(&["dummy-hcd"]).unwrap_err().to_string();
        assert!(error.starts_with("kernel 6.12.57 has no module dummy_hcd; "), "{error}");
        assert!(tree.lacks("dummy_hcd").unwrap());
        assert!(!tree.lacks("tls").unwrap());
        index(&[], &[]).write(&tree.index).unwrap();
        assert!(!tree.lacks("dummy_hcd").unwrap(), "an image of one's own may have it built in");
    }

    #[test]
    fn tells_modules_from_other_files() {
        for (name, expected) in [
            ("a.ko", true),
            ("a.ko.xz", true),
            ("a.ko.zst", true),
            ("a.o", false),
            ("ko", false),
            ("a.ko.cmd", false),
        ] {
            assert_eq!(is_module(Path::new(name)), expected, "{name}");
        }
        assert_eq!(module_name(Path::new("kernel/net/sch-x.ko.xz")), "sch_x");
    }
}
