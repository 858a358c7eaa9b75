//! What runs inside the kernel under test: as `/init` of a guest, or in namespaces of this host.

pub mod addresses;
pub mod bond;
pub mod counters;
mod decoder;
pub mod extack;
pub mod faults;
pub mod links;
pub mod netns;
pub mod probe;
pub mod ready;
pub mod rtnl;
pub mod tc;
pub mod testbed;
pub mod verify;
