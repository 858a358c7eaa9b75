//! What this machine has and lacks for the lab: each finding with what does not work without it, and what mends it.
//!
//! It only looks: it loads no module, makes no namespace and contacts no mirror.

use std::ffi::OsStr;
use std::path::Path;

use serde::Serialize;

use crate::cache::{Cache, CacheError};
use crate::exec::GUEST_PATH;
use crate::kernel::mirror::Mirrors;
use crate::kernel::pins::{Archive, KernelPin, Kernels};
use crate::kernel::store::Store;
use crate::prune;

mod machine;
mod running_kernel;
mod tools;

/// How much of a part is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is missing.
    Ok,
    /// Something does not work, or is slower.
    Limited,
    /// It is not there.
    Missing,
}

/// What gets what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// A package of the distribution.
    Package(&'static str),
    /// A pinned kernel's download.
    Kernel(String),
    /// Something else to type; the lab does not do it by itself.
    Command(String),
}

/// One part of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, as `qemu` or `kernel 6.12.57`.
    pub part: String,
    /// How much of it is there.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What does not work without it; nothing if nothing is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
    /// What gets it, if anything does.
    #[serde(skip)]
    pub mend: Option<Mend>,
    /// Whether `lab run` cannot do without it.
    pub required: bool,
}

impl Finding {
    fn ok(part: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            state: State::Ok,
            found: found.into(),
            without: None,
            mend: None,
            required: false,
        }
    }

    fn limited(part: impl Into<String>, found: impl Into<String>, without: impl Into<String>) -> Self {
        Self { state: State::Limited, without: Some(without.into()), ..Self::ok(part, found) }
    }

    fn missing(part: impl Into<String>, found: impl Into<String>, without: impl Into<String>) -> Self {
        Self { state: State::Missing, ..Self::limited(part, found, without) }
    }

    fn mended_by(self, mend: Mend) -> Self {
        Self { mend: Some(mend), ..self }
    }

    fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// All findings, in the order in which a run needs the parts.
#[must_use]
pub fn take(
    cache: Result<&Cache, &CacheError>,
    kernels: &Kernels,
    default: &[&KernelPin],
    mirror: Option<&str>,
) -> Vec<Finding> {
    let mut findings = vec![machine::privileges()];
    findings.extend(machine::qemu());
    findings.push(machine::accelerator(cache.ok().map(|cache| cache.path("")).as_deref()));
    findings.push(machine::processors());
    findings.push(cache.map_or_else(no_cache, |cache| cached(cache, kernels)));
    findings.extend(pinned(cache.ok(), default));
    findings.push(mirrors(mirror));
    findings.extend(running_kernel::findings(Path::new("/")));
    findings.extend(tools::findings(&std::env::var_os("PATH").unwrap_or_default(), OsStr::new(GUEST_PATH)));
    findings
}

fn pinned(cache: Option<&Cache>, default: &[&KernelPin]) -> Vec<Finding> {
    let store = cache.map(|cache| Store::new(cache.clone(), None));
    let finding = |pin: &&KernelPin| {
        let part = format!("kernel {}", pin.name());
        if store.as_ref().is_some_and(|store| store.is_cached(pin)) {
            return Finding::ok(part, "cached").required();
        }
        let size = pin.size().div_ceil(1_000_000);
        let without = "topologies with this kernel do not run offline; `lab run` downloads it";
        Finding::missing(part, format!("not cached ({size} MB)"), without)
            .mended_by(Mend::Kernel(pin.name()))
            .required()
    };
    default.iter().map(finding).collect()
}

fn mirrors(given: Option<&str>) -> Finding {
    let without = "kernels that are not cached cannot be downloaded";
    let found = Mirrors::find(given).and_then(|mirrors| mirrors.base(Archive::Debian).map(str::to_owned));
    match found {
        Ok(base) => Finding::ok("mirror", format!("{base}, not contacted")),
        Err(error) => Finding::missing("mirror", error.to_string(), without)
            .mended_by(Mend::Command("export LAB_MIRROR=URL, a mirror with dists and pool".to_owned())),
    }
}

/// The reason is the error's first line; a hint of its own would say the same as the command.
fn no_cache(error: &CacheError) -> Finding {
    let reason = error.to_string();
    let without = "no kernel can be kept, and no topology runs on a kernel other than the running one";
    Finding::missing("cache", reason.lines().next().unwrap_or_default(), without)
        .mended_by(Mend::Command(error.mend()))
        .required()
}

/// Below it a kernel with its saved machines may not fit any more.
const FREE_BYTES_MIN: u64 = 1_000_000_000;

/// The cache: what its parts take, what can go, and what is left of the disk.
fn cached(cache: &Cache, kernels: &Kernels) -> Finding {
    let keep = kernels.pins().map(KernelPin::key).collect();
    let parts = prune::survey(cache, &keep, prune::UNUSED_FOR).unwrap_or_default();
    let path = cache.path("");
    let free = machine::free_bytes(&path);
    let mut found = format!("{}: {}", path.display(), contents(&parts));
    if let Some(free) = free {
        found += &format!("; {} MB free", free / 1_000_000);
    }
    if cache.is_read_only() {
        return Finding::limited("cache", format!("{found}; read-only"), "only what is in it runs");
    }
    if free.is_some_and(|free| free < FREE_BYTES_MIN) {
        let without =
            "there may be no room for another kernel (up to 132 MB) and the machines that are saved of it";
        return Finding::limited("cache", found, without)
            .mended_by(Mend::Command("lab kernels prune --unused-days 0".to_owned()));
    }
    Finding::ok("cache", found)
}

/// What the parts take together and each, and which commands make how much room.
fn contents(parts: &[prune::Part]) -> String {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let sum = |of: fn(&prune::Part) -> u64| megabytes(parts.iter().map(of).sum());
    let mut text = format!("{} MB", sum(|part| part.bytes));
    let filled = parts.iter().filter(|part| part.bytes > 0);
    let each: Vec<String> =
        filled.map(|part| format!("{} {}", label(part.kind), megabytes(part.bytes))).collect();
    if !each.is_empty() {
        text += &format!(" ({})", each.join(", "));
    }
    let unused = sum(|part| part.unused);
    if unused > 0 {
        text += &format!("; {unused} MB unused for a week: lab kernels prune");
    }
    let not_pinned = sum(|part| part.not_pinned);
    if not_pinned > unused {
        text += &format!("; {not_pinned} MB can be made again: lab kernels prune --unused-days 0");
    }
    text
}

/// Several of a kind.
fn label(kind: &str) -> String {
    match kind {
        "initramfs" => "initramfs images".to_owned(),
        "module built from source" => "modules built from source".to_owned(),
        "kernel of your own" => "kernels of your own".to_owned(),
        "selftests of a kernel" => "selftests of kernels".to_owned(),
        other => format!("{other}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_has_its_parts_and_what_can_go() {
        let part = |kind, bytes: u64, unused: u64, not_pinned: u64| prune::Part {
            kind,
            bytes: bytes * 1_000_000,
            unused: unused * 1_000_000,
            not_pinned: not_pinned * 1_000_000,
        };
        let pinned = part("kernel", 95, 0, 0);
        assert_eq!(contents(&[]), "0 MB");
        assert_eq!(contents(&[pinned, part("initramfs", 0, 0, 0)]), "95 MB (kernels 95)");
        let all = [pinned, part("initramfs", 9, 3, 9), part("saved machine", 60, 20, 60)];
        assert_eq!(
            contents(&all),
            "164 MB (kernels 95, initramfs images 9, saved machines 60); 23 MB unused for a week: lab kernels prune; \
             69 MB can be made again: lab kernels prune --unused-days 0"
        );
    }
}
