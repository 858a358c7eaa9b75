//! What runs inside the kernel under test: as `/init` of a guest, or in namespaces of this host.

pub mod init;
pub mod channel;
pub mod modules;
pub mod power;
pub mod selftest;

pub mod wait;
