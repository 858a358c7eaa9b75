//! What `lab --version` prints: the version, the commit of a release build, the pinned kernels, and the formats of topology files and results.

use std::sync::LazyLock;

use bondlab_core::report::format;
use bondlab_core::topology::NEWEST_FORMAT;
use bondlab_host::kernel::pins::Kernels;

/// The commit, where the build knew it.
const COMMIT: Option<&str> = option_env!("LAB_BUILT_FROM");

/// The version, and the commit in brackets.
pub static SHORT: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    COMMIT.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"))
});

/// [`SHORT`], which kernels are pinned, and which formats of topology files and results it knows.
pub static LONG: LazyLock<String> = LazyLock::new(|| {
    let kernels = Kernels::built_in().ok().and_then(|kernels| {
        let names: Vec<String> = kernels.select("all").ok()?.iter().map(|pin| pin.name()).collect();
        Some(format!("\n{} kernels pinned, {} to {}", names.len(), names.first()?, names.last()?))
    });
    let format = format!("\ntopology files of format {NEWEST_FORMAT}, results of format {}", format::NEWEST);
    format!("{}{}{format}", *SHORT, kernels.unwrap_or_default())
});
