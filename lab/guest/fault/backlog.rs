//! net.core.netdev_max_backlog: the limit of each processor's queue of received frames.
//!
//! It stands in the table of the first network namespace alone (`net_core_table`, net/core/sysctl_net_core.c): a machine
//! has one, and it must be what it was when a trial ends. In namespaces on a user's own machine it is not to be seen.

use std::fs::{self, OpenOptions};

use bondlab_core::plan::record::OpError;

const LIMIT: &str = "/proc/sys/net/core/netdev_max_backlog";

/// The limit as it was; dropping it brings that back.
#[derive(Debug)]
pub struct Shortened {
    standing: String,
}

/// Sets the limit, in frames.
///
/// # Errors
/// The calling thread is in another network namespace than the first.
pub fn shorten(limit: u32) -> Result<Shortened, OpError> {
    let failed = |error: std::io::Error| OpError {
        what: format!("set net.core.netdev_max_backlog to {limit}"),
        errno: None,
        text: Some(error.to_string()),
    };
    let standing = fs::read_to_string(LIMIT).map_err(failed)?;
    fs::write(LIMIT, limit.to_string()).map_err(failed)?;
    Ok(Shortened { standing })
}

impl Drop for Shortened {
    fn drop(&mut self) {
        // What could be written once can be written again.
        let _ = fs::write(LIMIT, self.standing.trim());
    }
}

/// Why it cannot be set.
pub fn obstacle() -> Option<String> {
    OpenOptions::new().write(true).open(LIMIT).err().map(|error| error.to_string())
}
