//! What the crate is for: it asks the kernel about bonds.

use std::fs;
use std::io;

/// The port that a bond sends on, if it has one.
///
/// # Errors
/// When the kernel has no such bond.
pub fn active_port(bond: &str) -> io::Result<Option<String>> {
    let name = fs::read_to_string(format!("/sys/class/net/{bond}/bonding/active_slave"))?;
    Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty()))
}
