//! bondlab: bonds, VLANs and VFs, broken on purpose, with an account of every frame.
//!
//! Reading order: the pure modules first, values in and values out; then what happens inside the kernel under test
//! (`guest`); then what starts and judges it (`host`).

pub mod attribution;
pub mod behaviour;
pub mod bisect;
pub mod clean;
pub mod cni;
pub mod dhcp;
pub mod document;
pub mod frames;
pub mod handshake;
pub mod hardware;
pub mod inner_path;
pub mod ip_address;
pub mod kernel_log;
pub mod ledger;
pub mod link;
pub mod matrix;
pub mod mitigation;
pub mod outcome;
pub mod plan;
pub mod protocol;
pub mod prove;
pub mod record;
pub mod repetitions;
pub mod report;
pub mod scenario;
pub mod separators;
pub mod snapshot;
pub mod stand_in;
pub mod state;
pub mod sysctl;
pub mod topology;
pub mod verdict;
pub mod version;
pub mod wire;

pub mod guest;
pub mod host;
