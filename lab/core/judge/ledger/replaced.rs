//! Root queueing disciplines that were replaced or removed in the run: the kernel forgets their counters with them.

use crate::judge::account::{QdiscAccount, TrialAccount};
use crate::net::name::DeviceRef;
pub use crate::plan::record::REPLACED as PARENT;

/// Where a discipline was when counting began.
pub fn former_parent(parent: &str) -> &str {
    if parent == PARENT { "root" } else { parent }
}

/// Adds one. What it held went with it, and is no backlog.
pub fn add(account: &mut TrialAccount, device: &DeviceRef, mut qdisc: QdiscAccount) {
    qdisc.counters.retain(|name, _| !name.starts_with("backlog"));
    qdisc.below_zero.clear();
    account.replaced.push((device.clone(), qdisc));
}
