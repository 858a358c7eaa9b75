//! CNI plugins' own programs for a guest, and what those that are linked dynamically need to start.

use std::io;
use std::path::{Path, PathBuf};

use super::file::{At, FileError};
use super::initramfs::Extra;
use crate::inner_path::FileName;

/// Where Debian's containernetworking-plugins has its programs.
const INSTALLED: &str = "/usr/lib/cni";

/// Where the guest looks for them.
const GUEST_FOLDER: &str = "opt/cni/bin";

/// What a program needs that is linked against libc and nothing else, as Debian's are: the loader by its path in the
/// program, the library where the loader looks for it.
const RUNTIME: [(&str, &[&str]); 2] = [
    ("lib64/ld-linux-x86-64.so.2", &["/lib64/ld-linux-x86-64.so.2"]),
    ("lib/x86_64-linux-gnu/libc.so.6", &["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"]),
];

/// The folder of this host's installed plugins, if there is one.
pub fn installed() -> Option<PathBuf> {
    Some(PathBuf::from(INSTALLED)).filter(|folder| folder.is_dir())
}

/// The programs `names` of `folder`, with their runtime. One that is not there is left out: the agent says so.
///
/// # Errors
/// A name is none of a file in the folder.
pub fn files(folder: &Path, names: &[String]) -> Result<Vec<Extra>, FileError> {
    let mut files = Vec::new();
    for name in names {
        let name = FileName::parse(name).map_err(io::Error::other).at("take a plugin from", folder)?;
        files.push(Extra { name: format!("{GUEST_FOLDER}/{name}"), file: folder.join(&name) });
    }
    files.retain(|extra| extra.file.is_file());
    if !files.is_empty() {
        for (name, places) in RUNTIME {
            let here = places.iter().map(PathBuf::from).find(|place| place.is_file());
            files.extend(here.map(|file| Extra { name: name.into(), file }));
        }
    }
    Ok(files)
}
