//! A kernel in the layouts of other distributions: packages and folders made of an image and modules.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bondlab_host::kernel::decompress::decompress;
use cpio::newc;
use flate2::Compression;
use flate2::read::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// What a kernel is made of.
pub struct Parts {
    /// `uname -r`.
    pub release: String,
    /// A bzImage.
    pub image: Vec<u8>,
    /// `kernel/drivers/net/dummy.ko`, and its bytes; compressed, if its name says so.
    pub modules: Vec<(String, Vec<u8>)>,
    /// `modules.builtin`.
    pub builtin: Vec<u8>,
}

type File = (String, Vec<u8>);

impl Parts {
    /// As Ubuntu has it: the image in one package, modules and configuration in another, each module in zstd.
    pub fn ubuntu(&self, dir: &Path) -> Vec<PathBuf> {
        let release = &self.release;
        let image = vec![(format!("./boot/vmlinuz-{release}"), self.image.clone())];
        let mut modules = vec![
            (format!("./boot/config-{release}"), b"CONFIG_BONDING=m\n".to_vec()),
            (format!("./boot/System.map-{release}"), b"0 A _text\n".to_vec()),
            (format!("./lib/modules/{release}/modules.builtin"), self.builtin.clone()),
        ];
        modules.extend(self.plain().map(|(path, bytes)| {
            (
                format!("./lib/modules/{release}/{path}.zst"),
                compress_to_vec(&bytes[..], CompressionLevel::Fastest),
            )
        }));
        let packages = [("linux-image-unsigned", deb(&image)), ("linux-modules", deb(&modules))];
        packages.map(|(name, bytes)| write(dir, &format!("{name}-{release}.deb"), &bytes)).into()
    }

    /// As Fedora and RHEL have it: image and configuration in kernel-core, modules beside them, in the same folder.
    pub fn fedora(&self, dir: &Path) -> Vec<PathBuf> {
        let folder = format!("./lib/modules/{}", self.release);
        let core = vec![
            (format!("{folder}/vmlinuz"), self.image.clone()),
            (format!("{folder}/config"), b"CONFIG_BONDING=m\n".to_vec()),
            (format!("{folder}/modules.builtin"), self.builtin.clone()),
        ];
        let modules: Vec<File> =
            self.modules.iter().map(|(path, bytes)| (format!("{folder}/{path}"), bytes.clone())).collect();
        let (net, rest) = modules.into_iter().partition::<Vec<File>, _>(|(path, _)| path.contains("/net/"));
        let packages = [("kernel-core", core), ("kernel-modules-core", net), ("kernel-modules", rest)];
        packages.map(|(name, files)| write(dir, &format!("{name}-{}.rpm", self.release), &rpm(&files))).into()
    }

    /// As Talos has it: an image, and a folder of modules; each module in gzip.
    pub fn folder(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let modules = dir.join("lib/modules").join(&self.release);
        for (path, bytes) in self.plain() {
            write(&modules, &format!("{path}.gz"), &gzip(&bytes));
        }
        write(&modules, "modules.builtin", &self.builtin);
        (write(dir, "boot/vmlinuz", &self.image), modules)
    }

    fn plain(&self) -> impl Iterator<Item = File> {
        self.modules.iter().map(|(path, bytes)| {
            let end = path.rfind(".ko").expect("a module's name") + ".ko".len();
            (path[..end].to_owned(), decompress(bytes.clone()).expect("a module"))
        })
    }
}

/// A bzImage of boot protocol 2.15 around an ELF kernel (Documentation/arch/x86/boot.rst).
pub fn bzimage(elf: &[u8], release: &str) -> Vec<u8> {
    let payload = gzip(elf);
    let mut image = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x20e, &0x100_u16.to_le_bytes());
    put(0x24c, &u32::try_from(payload.len()).expect("a small image").to_le_bytes());
    put(0x300, format!("{release} (lab@test)").as_bytes());
    image.extend(payload);
    image
}

/// A Debian package with these files, compressed with zstd.
pub fn deb(files: &[File]) -> Vec<u8> {
    let mut data = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        // The builder's own functions refuse the names that are tested.
        let (name, field) = (name.as_bytes(), &mut header.as_old_mut().name);
        if name.len() <= field.len() {
            field[..name.len()].copy_from_slice(name);
        } else {
            let mut long = tar::Header::new_gnu();
            long.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
            long.set_entry_type(tar::EntryType::GNULongName);
            long.set_size(name.len() as u64);
            long.set_cksum();
            data.append(&long, name).expect("memory");
        }
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        data.append(&header, &content[..]).expect("memory");
    }
    let data = data.into_inner().expect("memory");
    let data = compress_to_vec(&data[..], CompressionLevel::Fastest);
    let mut package = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("data.tar.zst", &data)] {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
        package.extend(header.as_bytes());
        package.extend(content);
        package.resize(package.len().next_multiple_of(2), b'\n');
    }
    package
}

/// An RPM package with these files: lead, signature, header, and a cpio archive in zstd.
pub fn rpm(files: &[File]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        let size = u32::try_from(content.len()).expect("a small file");
        let mut entry = newc::Builder::new(name).mode(0o100_644).write(&mut archive, size);
        entry.write_all(content).expect("memory");
        entry.finish().expect("memory");
    }
    newc::trailer(&mut archive).expect("memory");
    // A header of one string: RPMTAG_NAME (1000), of type STRING (6).
    let header = |text: &[u8]| {
        let words = [1, text.len() as u32, 1000, 6, 0, 1].map(u32::to_be_bytes).concat();
        [&b"\x8e\xad\xe8\x01\0\0\0\0"[..], &words, text].concat()
    };
    let mut package = b"\xed\xab\xee\xdb\x03\0".to_vec();
    package.resize(96, 0);
    package.extend(header(b"sig\0"));
    package.resize(package.len().next_multiple_of(8), 0);
    package.extend(header(b"kernel-core\0"));
    package.extend(compress_to_vec(&archive[..], CompressionLevel::Fastest));
    package
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut out).expect("memory");
    out
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
    fs::write(&path, bytes).expect("a temporary folder");
    path
}
