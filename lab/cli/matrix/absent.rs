//! Kernels that are not on this machine and may not be downloaded: a matrix runs the other cells.

use std::collections::BTreeSet;

use crate::cli::failure::Failure;
use crate::cli::{ProvisionArgs, provision};
use bondlab_host::cache::Cache;
use bondlab_host::kernel::pins::KernelPin;
use bondlab_host::kernel::store::{Kernel, Store, StoreError};

/// All kernels, and for each why it is not to be had, if it is not.
///
/// # Errors
/// Kernels that should be there and are not, all at once; or that none is to be had.
pub fn fetch_all(
    pins: &[&KernelPin],
    args: &ProvisionArgs,
    cache: &Cache,
) -> Result<(Vec<Kernel>, Vec<Option<String>>), Failure> {
    let store = Store::new(cache.clone(), args.mirror.clone());
    let absent: Vec<Option<String>> = pins.iter().map(|pin| why(pin, args, cache)).collect();
    let mut kernels = Vec::new();
    let mut failures = Vec::new();
    for (pin, why) in pins.iter().zip(&absent) {
        match provision::kernel(pin, args, cache) {
            Ok(kernel) => kernels.push(kernel),
            Err(_) if why.is_some() => kernels.push(store.kernel(pin)),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    // What is wrong with a mirror is wrong for each kernel.
    let mut said = BTreeSet::new();
    failures.retain(|failure| said.insert(failure.clone()));
    let whys: Vec<&str> = absent.iter().flatten().map(String::as_str).collect();
    if !failures.is_empty() {
        return Err(Failure::unavailable(failures.join("\n")));
    }
    if !pins.is_empty() && whys.len() == pins.len() {
        return Err(Failure::unavailable(format!("error: {}", whys.join("\nerror: "))));
    }
    for why in whys {
        eprintln!("note: cells are skipped: {why}");
    }
    Ok((kernels, absent))
}

/// Why a kernel is not to be had: it is not here, and may not be downloaded.
pub fn why(pin: &KernelPin, args: &ProvisionArgs, cache: &Cache) -> Option<String> {
    let store = Store::new(cache.clone(), args.mirror.clone());
    let is_absent = args.no_install && !store.is_cached(pin);
    is_absent.then(|| StoreError::NotCached { kernel: pin.name(), size: pin.size() }.to_string())
}
