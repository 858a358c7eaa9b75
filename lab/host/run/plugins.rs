//! CNI plugins' own programs for a guest, and what those that are linked dynamically need to start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::file::{At, FileError};
use crate::vm::checksum;
use crate::vm::initramfs::Extra;
use bondlab_core::judge::account::PodAccount;
use bondlab_core::net::inner_path::FileName;
use bondlab_core::plan::RunOptions;
use bondlab_core::report::document;
use bondlab_core::report::document::AttachmentDocument;
use bondlab_core::topology::Topology;
use bondlab_core::topology::cni::Attached;

/// Where Debian's containernetworking-plugins has its programs.
pub const INSTALLED: &str = "/usr/lib/cni";

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

/// Whether a folder has the program of that name.
pub fn has(folder: Option<&Path>, name: &str) -> bool {
    folder.is_some_and(|folder| folder.join(name).is_file())
}

/// The programs `names` of `folder`, with their runtime. One that is not there is left out: [`lacking`] says so.
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

/// The attachments that are to be made by programs which are not there, as the reason why there is no run.
pub fn lacking(topology: &Topology, options: &RunOptions, folder: Option<&Path>) -> Option<String> {
    let place = folder.map_or_else(|| "no folder of plugins".into(), |folder| folder.display().to_string());
    let mut lines = Vec::new();
    for attachment in topology.attachments.by_step.values() {
        let is_run = |attached: &&Attached| options.runs_programs_of(&attached.network);
        for attached in attachment.delegates.iter().filter(is_run) {
            for name in attached.network.programs().filter(|name| !has(folder, name)) {
                let (pod, network) = (&attachment.pod, &attached.network.name);
                let line = format!("{network} ({} of pod {pod}): no program `{name}`", attached.ifname);
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
    }
    (!lines.is_empty()).then(|| {
        format!(
            "attachments that the plugins' own programs are to make cannot be made from {place}:\n  {}\n\
             next: give the folder that has them (--cni-plugins DIR), or have the lab make these (--cni auto)",
            lines.join("\n  ")
        )
    })
}

/// Who attaches the pods of a topology, with the path and checksum of each program.
pub fn attachments(
    topology: &Topology,
    options: &RunOptions,
    pods: &[PodAccount],
    folder: Option<&Path>,
) -> Vec<AttachmentDocument> {
    document::attachments(topology, options, pods, |name| {
        let path = folder.unwrap_or(Path::new("")).join(name);
        match fs::read(&path) {
            Ok(bytes) => {
                format!("program {} (sha256 {})", path.display(), checksum::hex(&Sha256::digest(bytes)))
            }
            Err(error) => format!("program {} ({error})", path.display()),
        }
    })
}
